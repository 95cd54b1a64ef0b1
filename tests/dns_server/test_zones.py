"""The default stack's zones are read without a warning and lead from the root to the shop."""

from __future__ import annotations

import ipaddress
from typing import Any

import dns.name
import dns.rdata
import pytest

from dns_server.build import default_zones
from dns_server.rules.names import from_text
from dns_server.zonefile import load_text
from dns_server.zones import Edge
from stack.errors import ConfigError
from tests.support.dns_network import Network, lines

EDGES: dict[str, str | Edge] = {"edge-fra": "127.0.1.1", "edge-nrt": "127.0.1.2"}
SERVERS = {"root": "10.0.0.1", "tld": "10.0.0.2", "shop": "10.0.0.3"}


@pytest.mark.parametrize("name", ["shop.test", "shop.test.", "a.b.example"])
def test_zones_have_no_faults(name: str) -> None:
    texts = default_zones(name, edges=EDGES, servers=SERVERS)
    assert len(texts) == 3
    for origin, text in texts.items():
        assert load_text(from_text(origin), text)[1] == []


@pytest.mark.parametrize("name", ["shop.test", "a.b.example"])
async def test_the_walk_leads_to_every_name(name: str) -> None:
    root, tld, site = default_zones(name, edges=EDGES, servers=SERVERS).items()
    net = Network({SERVERS["root"]: dict([root]), SERVERS["tld"]: dict([tld]), SERVERS["shop"]: dict([site])})
    resolver = net.resolver()
    assert lines(await net.resolve(resolver, name)) == [f"{name}. 60 A 2"]
    assert lines(await net.resolve(resolver, f"www.{name}", "HTTPS")) == [f"www.{name}. 60 HTTPS 1"]
    assert lines(await net.resolve(resolver, f"edge-fra.{name}")) == [f"edge-fra.{name}. 60 A 1"]
    assert [host for host, _, _ in net.asked[:3]] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize("name", ["test", "a..b", "."])
def test_a_site_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match=r"name|label"):
        default_zones(name, edges=EDGES, servers=SERVERS)


def _site(edges: dict[str, str | Edge]) -> list[str]:
    return default_zones(edges=edges, servers=SERVERS)["shop.test."].splitlines()


def _https(edges: dict[str, str | Edge], owner: str) -> list[str]:
    return [line.partition(" IN HTTPS ")[2] for line in _site(edges) if line.startswith(f"{owner} IN HTTPS ")]


TWO = 'alpn="h2,http/1.1" port=8443 ipv4hint=127.0.1.1,127.0.1.2'


@pytest.mark.parametrize(
    ("edges", "owner", "expected"),
    [
        (EDGES, "@", [f"1 . {TWO}"]),
        (EDGES, "edge-nrt", ['1 . alpn="h2,http/1.1" port=8443 ipv4hint=127.0.1.2']),
        (EDGES, "_8443._https", [f"1 @ {TWO}"]),
        (EDGES, "_8443._https.www", [f"1 www {TWO}"]),
        ({"e": Edge(("2001:db8::1", "192.0.2.1"), 443)}, "@",
         ['1 . alpn="h2,http/1.1" port=443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1']),
        ({"e": Edge(("192.0.2.1",), 443)}, "_443._https", []),
        ({"e": Edge(("192.0.2.1",), None)}, "@", []),
        ({"a": Edge(("127.0.0.1",), 8443), "b": Edge(("127.0.0.1",), 8444)}, "@",
         ['1 a alpn="h2,http/1.1" port=8443 ipv4hint=127.0.0.1', '1 b alpn="h2,http/1.1" port=8444 ipv4hint=127.0.0.1']),
        ({"a": Edge(("192.0.2.1",), 8443), "b": Edge(("192.0.2.2",), None)}, "www",
         ['1 a alpn="h2,http/1.1" port=8443 ipv4hint=192.0.2.1']),
        ({"a": Edge(("127.0.0.1",), 8443), "b": Edge(("127.0.0.1",), 8444)}, "_8444._https",
         ['1 b alpn="h2,http/1.1" port=8444 ipv4hint=127.0.0.1']),
    ],
    ids=[
        "all edges in one", "an edge", "9460-9.1 port in the URL", "9460-9.1 www", "both families", "443 needs no prefix",
        "no HTTPS, no record", "ports of their own", "one without HTTPS", "9460-9.1 the edge of that port",
    ],
)  # fmt: skip
def test_https_records_say_what_the_edges_speak(edges: dict[str, str | Edge], owner: str, expected: list[str]) -> None:
    assert _https(edges, owner) == expected
    for origin, text in default_zones(edges=edges, servers=SERVERS).items():
        assert load_text(from_text(origin), text)[1] == []


@pytest.mark.parametrize(
    "edges",
    [
        EDGES,
        {"a": Edge(("127.0.0.1",), 8443), "b": Edge(("127.0.0.1",), 8444)},
        {"a": Edge(("192.0.2.1", "2001:db8::1")), "b": Edge(("2001:db8::2",)), "c": Edge(("192.0.2.3",), None)},
    ],
)
def test_a_hint_never_names_an_address_that_its_target_has_not(edges: dict[str, str | Edge]) -> None:
    zone, _ = load_text(from_text("shop.test"), default_zones(edges=edges, servers=SERVERS)["shop.test."])
    seen = 0
    for rrset in zone.rrsets():
        if rrset.type != 65:
            continue
        for rdata in rrset.rdatas:
            record: Any = dns.rdata.from_wire("IN", "HTTPS", rdata, 0, len(rdata))
            target = record.target.to_wire() if record.target != dns.name.root else rrset.owner
            here = {
                str(ipaddress.ip_address(address))
                for type in (1, 28)
                if (addresses := zone.rrset(target.lower(), type)) is not None
                for address in addresses.rdatas
            }
            hints = {hint for key in (4, 6) if key in record.params for hint in record.params[key].addresses}
            assert hints
            assert hints <= here
            seen += 1
    assert seen


def test_addresses_of_both_families_are_records_of_their_type() -> None:
    lines = _site({"edge-fra": "2001:db8::1"})
    assert {"@ IN AAAA 2001:db8::1", "www IN AAAA 2001:db8::1", "edge-fra IN AAAA 2001:db8::1"} <= set(lines)
    texts = default_zones(edges=EDGES, servers={**SERVERS, "shop": "2001:db8::53"})
    assert "ns1.shop.test. IN AAAA 2001:db8::53" in texts["test."].splitlines()
