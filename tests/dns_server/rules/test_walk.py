"""What of a response is believed: nothing that its server is not in charge of."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rrset
import pytest

from dns_server.rules.names import from_text
from dns_server.rules.reply import Reply, answers, least_ttl, parse
from dns_server.rules.walk import Found, Missing, Referral, Useless, read_step

SOA = "shop.test. 300 IN SOA ns.shop.test. h.shop.test. 1 2 3 4 30"


def wire(
    *,
    answer: str = "",
    authority: str = "",
    additional: str = "",
    rcode: int = 0,
    aa: bool = True,
    name: str = "www.shop.test",
) -> bytes:
    message = dns.message.make_response(dns.message.make_query(name, "A"))
    message.flags = dns.flags.QR | (dns.flags.AA if aa else 0)
    message.set_rcode(rcode)
    for section, text in ((message.answer, answer), (message.authority, authority), (message.additional, additional)):
        for line in filter(None, (line.strip() for line in text.splitlines())):
            owner, ttl, _, kind, rdata = line.split(None, 4)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, rdata))
    return message.to_wire()


def step(zone: str, reply: bytes, *, name: str = "www.shop.test") -> object:
    return read_step(parse(reply), zone=from_text(zone), key=from_text(name), type=1)


def test_an_answer() -> None:
    found = step("shop.test", wire(answer="www.shop.test. 60 IN A 192.0.2.1"))
    assert isinstance(found, Found)
    assert found.data is not None
    assert found.data.rdatas == (bytes([192, 0, 2, 1]),)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (wire(answer="www.shop.test. 60 IN A 192.0.2.1", aa=False), "lame"),
        (wire(aa=False), "lame"),
        (wire(authority="test. 60 IN NS ns.evil.", aa=False), "lame"),
        (wire(authority="shop.test. 60 IN NS ns.evil.", aa=False), "lame"),
        (wire(authority="other.test. 60 IN NS ns.evil.", aa=False), "lame"),
        (wire(rcode=2), "servfail"),
        (wire(rcode=5), "refused"),
        (wire(answer="www.shop.test. 1 IN CNAME a.shop.test.\na.shop.test. 1 IN CNAME www.shop.test."), "alias-loop"),
    ],
    ids=[
        "answer-without-aa",
        "empty",
        "referral-up",
        "referral-to-itself",
        "referral-aside",
        "servfail",
        "refused",
        "loop",
    ],
)
def test_another_server_is_tried(reply: bytes, reason: str) -> None:
    assert step("shop.test", reply) == Useless(reason)


def test_records_of_other_zones_are_not_believed() -> None:
    reply = wire(answer="www.shop.test. 60 IN CNAME www.bank.example.\nwww.bank.example. 60 IN A 192.0.2.66")
    found = step("shop.test", reply)
    assert isinstance(found, Found)
    assert (found.data, found.target) == (None, from_text("www.bank.example"))


def test_a_referral_and_its_glue() -> None:
    reply = wire(
        authority="shop.test. 3600 IN NS ns.shop.test.\nshop.test. 3600 IN NS ns.example.",
        additional="ns.shop.test. 3600 IN A 192.0.2.53\nns.example. 3600 IN A 192.0.2.66\nwww.test. 1 IN A 192.0.2.67",
        aa=False,
    )
    found = step("test", reply)
    assert isinstance(found, Referral)
    assert found.zone == from_text("shop.test")
    # ns.example is outside of test., www.test is nobody's server: neither is taken
    assert found.glue == {from_text("ns.shop.test"): ("192.0.2.53",)}


@pytest.mark.parametrize(("rcode", "ttl"), [(3, 30), (0, 30)], ids=["nxdomain", "nodata"])
def test_absence(rcode: int, ttl: int) -> None:
    found = step("shop.test", wire(authority=SOA, rcode=rcode))
    assert isinstance(found, Missing)
    assert found.soa is not None
    assert (found.rcode, found.soa.ttl) == (rcode, ttl)


def test_absence_without_soa_is_not_kept() -> None:
    assert step("shop.test", wire(rcode=3)) == Missing((), 3, None)


def test_a_soa_of_another_zone_is_not_taken() -> None:
    found = step("shop.test", wire(authority="evil.test. 300 IN SOA a. b. 1 2 3 4 99999", rcode=3))
    assert found == Missing((), 3, None)


def test_a_response_is_for_its_question_only() -> None:
    reply = wire()
    id, question = int.from_bytes(reply[:2], "big"), reply[12 : 12 + 15 + 4]
    assert answers(reply, id, question)
    assert not answers(reply, id ^ 1, question)
    assert not answers(reply, id, question.replace(b"www", b"wwW"))
    assert not answers(reply[:2] + b"\0" + reply[3:], id, question)
    assert not answers(reply[:14], id, question)


@pytest.mark.parametrize(
    ("reply", "ttl"),
    [
        (wire(answer="www.shop.test. 60 IN CNAME a.shop.test.\na.shop.test. 20 IN A 192.0.2.1"), 20),
        (wire(authority=SOA, rcode=3), 30),
        (wire(answer="www.shop.test. 60 IN A 192.0.2.1", rcode=2), 0),
        (wire(), 0),
        (b"\0" * 12, 0),
    ],
    ids=["rfc8484-5.1-answer", "soa-minimum", "servfail", "empty", "no-response"],
)
def test_least_ttl(reply: bytes, ttl: int) -> None:
    assert least_ttl(reply) == ttl


def test_rcode_is_extended_by_opt() -> None:
    message = dns.message.make_response(dns.message.make_query("a.", "A", use_edns=0))
    message.set_rcode(16)
    assert isinstance(read := parse(message.to_wire()), Reply)
    assert read.rcode == 16
