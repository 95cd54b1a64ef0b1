"""Responses as bytes: well-formed for an independent parser, complete or truncated by whole sets, never too long."""

from __future__ import annotations

import dns.flags
import dns.message
import dnslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dns_server.rules.reply import parse as parse_reply
from tests.support import dns_cases
from tests.support.dns_network import edns, question, respond, zones

AUTH = zones(dns_cases.load()["zonesets"]["auth"])
TLD = zones(dns_cases.load()["zonesets"]["tld"])


def reply(name: str, type: str = "A", *, opt: bytes = b"", stream: bool = False, flags: int = 0) -> dns.message.Message:
    response = respond(AUTH, question(name, type, opt=opt, flags=flags), stream=stream)
    assert response is not None
    return dns.message.from_wire(response)


@pytest.mark.parametrize(
    ("opt", "limit"),
    [(b"", 512), (edns(512), 512), (edns(100), 512), (edns(900), 900), (edns(4096), 1232), (edns(65535), 1232)],
    ids=["rfc1035-4.2.1", "rfc6891-512", "rfc6891-6.2.3", "client", "ours", "ours-max"],
)
@pytest.mark.parametrize(
    ("name", "type"), [("big.example.test", "A"), ("mid.example.test", "A"), ("hugetxt.example.test", "TXT")]
)
def test_no_datagram_is_longer_than_both_sides_take(name: str, type: str, opt: bytes, limit: int) -> None:
    response = respond(AUTH, question(name, type, opt=opt), stream=False)
    assert response is not None
    assert len(response) <= limit
    message = dns.message.from_wire(response)
    truncated = bool(message.flags & dns.flags.TC)
    whole = reply(name, type, stream=True)
    assert truncated == (len(whole.to_wire()) + len(opt) > limit)
    assert message.answer == ([] if truncated else whole.answer)  # RFC 2181 §9: all of a set or none
    assert (message.edns == 0) == bool(opt)  # RFC 6891 §7: OPT stays


def test_missing_in_domain_glue_truncates() -> None:
    response = respond(TLD, question("www.many.com", opt=edns(512)), stream=False)
    assert response is not None
    assert dns.message.from_wire(response).flags & dns.flags.TC  # RFC 9471 §3.1


def test_additional_records_give_way_silently() -> None:
    message = reply("example.test", "MX", opt=edns(512))
    assert not message.flags & dns.flags.TC


@pytest.mark.parametrize("name", ["wWw.eXample.tEst", "NOPE.example.test", "X.wILD.example.test"])
def test_letter_case_comes_back(name: str) -> None:
    sent = question(name)
    response = respond(AUTH, sent, stream=False)
    assert response is not None
    assert response[12 : 12 + len(sent) - 12] == sent[12:]


def test_flags() -> None:
    message = reply("www.example.test", flags=0x07F0)
    assert int(message.flags) == 0x8500  # QR AA RD: TC, RA, Z, AD, CD of the query do not come back


def test_badvers_has_no_answer_and_version_0() -> None:
    message = reply("www.example.test", opt=edns(version=3))
    assert (message.rcode(), message.edns, message.answer) == (16, 0, [])


def test_do_is_copied_and_other_edns_flags_are_not() -> None:
    assert reply("www.example.test", opt=edns(flags=0xFFFF)).ednsflags & 0xFFFF == 0x8000


def test_names_are_compressed_only_in_types_of_rfc_1035() -> None:
    srv = respond(AUTH, question("_sip._tcp.example.test", "SRV"), stream=True)
    assert srv is not None
    assert b"\3sip\7example\4test\0" in srv  # RFC 3597 §4
    mx = respond(AUTH, question("example.test", "MX"), stream=True)
    assert mx is not None
    assert b"\4mail\xc0" in mx


labels = st.sampled_from(
    ["example", "test", "www", "sub", "wild", "alias", "c1", "dn", "ent", "a", "b", "*", "x", "big", "xn", "loop1"]
)
kinds = st.sampled_from(
    ["A", "AAAA", "NS", "SOA", "MX", "TXT", "CNAME", "DNAME", "DS", "HTTPS", "SRV", "ANY", "TYPE65280"]
)


@given(st.lists(labels, max_size=5), kinds, st.booleans(), st.sampled_from([b"", edns(512), edns(1232)]))
@settings(max_examples=1500)
def test_every_response_is_well_formed(prefix: list[str], kind: str, stream: bool, opt: bytes) -> None:
    sent = question(".".join([*prefix, "example", "test"]), kind, opt=opt)
    response = respond(AUTH, sent, stream=stream)
    assert response is not None
    message = dns.message.from_wire(response)
    assert response[12 : len(sent) - len(opt)] == sent[12 : len(sent) - len(opt)]
    ours = parse_reply(response)
    for mine, theirs in ((ours.answer, message.answer), (ours.authority, message.authority)):
        assert sum(len(rrset.rdatas) for rrset in mine) == sum(len(rrset) for rrset in theirs)
    record = dnslib.DNSRecord.parse(response)
    assert len(record.rr) == sum(len(rrset) for rrset in message.answer)


@given(st.integers(0, 200), st.binary(max_size=6), st.integers(0, 60))
@settings(max_examples=3000)
def test_no_bytes_ever_crash_it(at: int, noise: bytes, cut: int) -> None:
    good = question("x.wild.example.test", "MX", opt=edns(1232, options=b"\0\x0a\0\x08abcdefgh"))
    message = good[:at] + noise + good[at + len(noise) :]
    for candidate in (message, message[: len(message) - cut], noise + good):
        response = respond(AUTH, candidate, stream=False)
        if response is not None and len(response) > 12:
            dns.message.from_wire(response)


@given(st.binary(max_size=120))
@settings(max_examples=3000)
def test_a_reply_of_any_bytes_is_read_or_refused(rest: bytes) -> None:
    from dns_server.rules.rdata import RdataFault

    response = respond(AUTH, question("www.example.test", opt=edns()), stream=False)
    assert response is not None
    for candidate in (response[:12] + rest, response[:-11] + rest, response[: len(rest)] + rest):
        try:
            parse_reply(candidate)
        except RdataFault:
            continue
