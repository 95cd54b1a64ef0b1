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
