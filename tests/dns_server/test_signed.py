"""Ordinary queries with TSIG, asked by dnspython: answered signed, or told what is wrong (RFC 8945 §5.2, §5.3)."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import pytest

from dns_server.book import Book
from dns_server.handler import Authority, Handler
from dns_server.query_log import QueryLog
from dns_server.rules.names import from_text
from dns_server.rules.zone import Zones
from dns_server.signed import SignedQueries
from dns_server.tsig import Keyring
from dns_server.tsig_keys import make_key
from dns_server.zonefile import load_text
from stack.clock import SystemClock
from stack.telemetry.metrics import Metrics

SECRET = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
CLOCK = SystemClock()
ZONE = "\n".join(
    (
        "$TTL 60",
        "@ IN SOA ns1 host 1 3600 600 86400 30",
        "@ IN NS ns1",
        "ns1 IN A 192.0.2.53",
        "www IN A 192.0.2.1",
        *tuple(f"big IN TXT {'x' * 100}{number}" for number in range(10)),
    )
)


def handler(*keys: str) -> Handler:
    zone, _ = load_text(from_text("shop.test"), ZONE + "\n")
    log = QueryLog("off", hop="x", clock=CLOCK, metrics=Metrics())
    made = Handler(Authority(Book(Zones([zone]))), payload=1232, responses=100, now=CLOCK.now, log=log)
    ring = Keyring([make_key(name, "hmac-sha256", SECRET) for name in keys], CLOCK.time)
    made.signed = SignedQueries(made, ring, payload=1232)
    return made


def ask(made: Handler, name: str, type: str = "A", *, key: str = "k", protocol: str = "udp", edns: Any = None) -> Any:
    query = dns.message.make_query(name, type, use_edns=edns)
    query.use_tsig(dns.tsigkeyring.from_text({key: SECRET}), key, algorithm="hmac-sha256")
    response = made.answer(query.to_wire(), "127.0.0.1", protocol)
    assert isinstance(response, bytes)
    return query, response


@pytest.mark.parametrize("edns", [None, 0], ids=["plain", "edns"])
@pytest.mark.parametrize(("name", "rcode"), [("www.shop.test", 0), ("nope.shop.test", 3), ("example", 5)])
def test_it_is_answered_signed_and_again_from_what_is_finished(name: str, rcode: int, edns: int | None) -> None:
    made = handler("k")
    for _ in range(2):
        query, response = ask(made, name, edns=edns)
        got = dns.message.from_wire(response, keyring=query.keyring, request_mac=query.mac)
        assert got.had_tsig
        assert got.rcode() == rcode
        assert got.id == query.id
        assert bool(got.answer) is (rcode == 0)
    assert made.statistics() == {"responses": {"datagrams": 1, "streams": 0}}


@pytest.mark.parametrize(("protocol", "cut"), [("udp", True), ("tcp", False)])
def test_what_has_no_room_for_the_signature_is_asked_by_tcp(protocol: str, cut: bool) -> None:
    made = handler("k")
    query, response = ask(made, "big.shop.test", "TXT", protocol=protocol, edns=0)
    got = dns.message.from_wire(response, keyring=query.keyring, request_mac=query.mac)
    assert got.had_tsig
    assert bool(got.flags & dns.flags.TC) is cut
    assert len(response) <= 1232 or not cut
    assert bool(got.answer) is not cut


def test_an_unknown_key_is_told_unsigned() -> None:
    query, response = ask(handler(), "www.shop.test")
    got = dns.message.from_wire(response, keyring=False)
    assert got.rcode() == dns.rcode.NOTAUTH
    assert got.tsig is not None
    assert got.tsig[0].error == dns.rcode.BADKEY
    assert not got.tsig[0].mac
    assert not got.answer
    with pytest.raises(dns.tsig.PeerBadKey):
        dns.message.from_wire(response, keyring=query.keyring, request_mac=query.mac)


def test_a_wrong_signature_gives_nothing_away() -> None:
    query = dns.message.make_query("www.shop.test", "A")
    query.use_tsig(dns.tsigkeyring.from_text({"k": SECRET.replace("M", "N")}), "k", algorithm="hmac-sha256")
    response = handler("k").answer(query.to_wire(), "127.0.0.1", "udp")
    assert isinstance(response, bytes)
    got = dns.message.from_wire(response, keyring=False)
    assert (got.rcode(), got.answer) == (dns.rcode.NOTAUTH, [])
