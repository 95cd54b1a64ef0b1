"""Where a fault acts: in which process, on which of its links, and which processes need not know of it."""

from __future__ import annotations

import pytest

from loadbalancer.config import Config
from stack.config import flags
from stack.faults.places import Standing, concerns
from stack.faults.spec import parse

EDGE = Standing("edge-fra", "cdn_edge", ("lb-a",))
BALANCER = Standing("lb-a", "loadbalancer", ("proxy-1", "proxy-2"))
PROXY = Standing("proxy-1", "proxy", ("app-1",))
APP = Standing("app-1", "appserver")
RESOLVER = Standing("resolver", "dns_server", ("dns-root", "dns-tld"))
AUTHORITY = Standing("dns-tld", "dns_server")


@pytest.mark.parametrize(
    ("on", "standing", "places"),
    [
        ("lb-a>proxy-2", BALANCER, ["lb-a>proxy-2"]),
        ("lb-a>proxy-*", BALANCER, ["lb-a>proxy-1", "lb-a>proxy-2"]),
        ("lb-a>proxy-2", PROXY, []),
        ("edge-*>lb-a", EDGE, ["edge-fra>lb-a"]),
        ("edge-*>lb-a", BALANCER, []),
        ("client>edge-fra", EDGE, ["client>edge-fra"]),
        ("client>*", BALANCER, ["client>lb-a"]),
        ("proxy-1", PROXY, ["proxy-1"]),
        ("proxy-1", BALANCER, []),
        ("app-1", PROXY, ["proxy-1>app-1"]),
        ("app-1", APP, []),
        ("client>app-1", APP, []),
        ("client>app-1", PROXY, []),
        ("*>*", BALANCER, ["lb-a>proxy-1", "lb-a>proxy-2", "client>lb-a"]),
    ],
)
def test_places(on: str, standing: Standing, places: list[str]) -> None:
    fault = parse(f"{on} refused")
    assert standing.places(fault) == places
    assert concerns(fault, standing.name, standing.kind) or not places


def test_what_is_known_is_what_a_fault_can_be_on() -> None:
    for standing in (EDGE, BALANCER, PROXY, APP):
        for place in standing.known():
            assert standing.places(parse(f"{place} refused"))
    assert list(PROXY.known()) == ["proxy-1>app-1", "client>proxy-1", "proxy-1", "app-1"]


def test_in_the_environment_semicolons_stand_for_blanks() -> None:
    environ = {"HOPSTACK_FAULT": "lb-a>proxy-1;refused;first=3 lb-a>proxy-2;latency=1s"}
    made = flags.parse("loadbalancer", Config, ["--backend", "b=http://a:1"], environ)
    assert [(fault.on, fault.kinds, fault.first) for fault in map(parse, made.fault)] == [
        ("lb-a>proxy-1", ("refused",), 3),
        ("lb-a>proxy-2", ("latency",), None),
    ]


@pytest.mark.parametrize(
    ("text", "standing", "places", "refusal"),
    [
        ("resolver>dns-tld drop", RESOLVER, ["resolver>dns-tld"], ""),
        ("resolver>dns-* drop", RESOLVER, ["resolver>dns-root", "resolver>dns-tld"], ""),
        ("resolver>192.0.2.1 drop", RESOLVER, ["resolver>192.0.2.1"], ""),
        ("resolver>2001:db8::1 drop", RESOLVER, ["resolver>2001:db8::1"], ""),
        ("resolver>dns-tdl drop", RESOLVER, [], ""),
        ("resolver>dns-tld drop", AUTHORITY, [], ""),
        ("dns-tld>dns-root drop", AUTHORITY, [], ""),
        ("client>resolver delay=1s", RESOLVER, ["client>resolver"], ""),
        ("dns-* lame", AUTHORITY, ["dns-tld"], ""),
        ("*>* delay=1s", RESOLVER, ["resolver>dns-root", "resolver>dns-tld", "client>resolver"], ""),
        ("*>* proto=udp drop", RESOLVER, ["client>resolver"], ""),
        ("dns-tld status=503", AUTHORITY, [], "dns-tld: status (here: rcode) is of HTTP alone, and this speaks DNS"),
        ("dns-tld truncate=10", AUTHORITY, [], "dns-tld: a DNS response is truncated as a whole: truncate, without a number"),
        ("resolver>dns-tld down=10", RESOLVER, [], "resolver>dns-tld: down is for what a DNS server serves: put it on that server, as dns-shop"),
        ("edge-fra>lb-a rcode=SERVFAIL", EDGE, [], "edge-fra>lb-a: rcode (here: status) is of DNS alone, and this speaks HTTP"),
        ("client>edge-fra qname=a drop", EDGE, [],
         "client>edge-fra: drop (here: blackhole) and qname (here: path) are of DNS alone, and this speaks HTTP"),
    ],
)  # fmt: skip
def test_dns_and_http_each_have_their_kinds(text: str, standing: Standing, places: list[str], refusal: str) -> None:
    fault = parse(text)
    assert standing.places(fault) == places
    assert standing.refusal(fault) == refusal
    assert concerns(fault, standing.name, standing.kind) or not places
