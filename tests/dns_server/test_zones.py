"""The default stack's zones are read without a warning and lead from the root to the shop."""

from __future__ import annotations

import pytest

from dns_server.build import default_zones
from dns_server.rules.names import from_text
from dns_server.zonefile import load_text
from stack.errors import ConfigError
from tests.support.dns_network import Network, lines

EDGES = {"edge-fra": "127.0.1.1", "edge-nrt": "127.0.1.2"}
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
