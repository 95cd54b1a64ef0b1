"""Outside cases: BIND, NSD, Knot and PowerDNS answered these questions; so do the compiled zones."""

from __future__ import annotations

from functools import cache

import pytest

from dns_server.rules.names import from_text
from dns_server.rules.zone import Zones
from dns_server.zonefile import load_text
from tests.support import dns_cases
from tests.support.dns_network import respond


@cache
def zones(zoneset: str) -> Zones:
    texts = dns_cases.load()["zonesets"][zoneset]
    return Zones(load_text(from_text(name), text, name)[0] for name, text in texts.items())


@pytest.mark.parametrize("case", dns_cases.load()["cases"], ids=lambda case: case["id"])
def test_answer_is_what_four_servers_give(case: dns_cases.Case) -> None:
    response = respond(zones(case["zoneset"]), dns_cases.query(case), stream=case.get("transport") == "tcp")
    assert not list(dns_cases.complaints(case, response))
