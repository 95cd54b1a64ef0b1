"""What comes along: addresses, glue, services; and what stands in an answer only once."""

from __future__ import annotations

import random

import pytest

from dns_server.rules.authority import MAX_LINKS, answer
from dns_server.rules.names import from_text, to_text
from dns_server.rules.rrset import Answer
from dns_server.rules.types import NUMBERS, type_name
from tests.support.dns_network import respond, zones
from tests.support.dns_reading import read
from tests.support.dns_servers import query
from tests.support.dns_worlds import to_wire

ZONES = zones(
    {
        "z.test": r"""
$TTL 300
@ IN SOA ns hostmaster 7 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.1
host IN A 192.0.2.2
host IN AAAA 2001:db8::2
*.wild IN A 192.0.2.3
*.wild IN AAAA 2001:db8::3
mail IN MX 1 a.wild
mail IN MX 2 b.wild
mail IN MX 3 A.Wild
same IN MX 1 host
same IN MX 2 host
cut IN NS ns.cut
cut IN NS host
cut IN NS c.wild
ns.cut IN A 192.0.2.4
below IN MX 1 ns.cut
dn IN DNAME host
hidden IN MX 1 x.dn
alias IN CNAME host
toalias IN MX 1 alias
s1 IN HTTPS 0 s2
s2 IN HTTPS 0 s3
s3 IN HTTPS 1 . alpn=h2
s3 IN A 192.0.2.5
s3 IN SVCB 1 host
none IN HTTPS 0 .
none IN A 192.0.2.6
ring1 IN SVCB 0 ring2
ring2 IN SVCB 0 ring1
ring2 IN A 192.0.2.7
own IN HTTPS 1 own alpn=h2
own IN A 192.0.2.8
*.svc IN HTTPS 1 . alpn=h2
*.svc IN A 192.0.2.9
other IN HTTPS 1 s1 alpn=h2
grow IN DNAME up.grow
*.deleg IN NS ns.far.
"""
    }
)


def ask(name: str, type: str = "A") -> Answer:
    wire = from_text(f"{name}.z.test")
    return answer(ZONES, wire, wire.lower(), NUMBERS[type])


def shown(section: list) -> list[str]:  # type: ignore[type-arg]
    return [f"{to_text(owner).removesuffix('.z.test.')} {type_name(rrset.type)}" for owner, rrset in section]


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("mail", "MX", ["a.wild A", "a.wild AAAA", "b.wild A", "b.wild AAAA"]),
        ("same", "MX", ["host A", "host AAAA"]),
        ("below", "MX", ["ns.cut A"]),
        ("hidden", "MX", []),
        ("toalias", "MX", []),
        ("s1", "HTTPS", ["s2 HTTPS", "s3 A", "s3 HTTPS"]),
        ("none", "HTTPS", []),
        ("ring1", "SVCB", ["ring2 A", "ring2 SVCB"]),
        ("own", "HTTPS", ["own A"]),
        ("q.svc", "HTTPS", ["q.svc A"]),
        ("other", "HTTPS", []),
        ("s3", "SVCB", ["host A", "host AAAA"]),
    ],
    ids=[
        "4592 a wildcard's, under each name once", "2181-5 once", "glue", "6672 nothing below a DNAME",
        "2181-10.3 an alias is not followed", "9460-4.1 a chain of services", "9460-2.5.1 no service",
        "9460 a ring", "9460 the owner by name", "9460-2.5.2 the owner is the name that was asked",
        "9460 only AliasMode is followed", "9460 of the same type",
    ],
)  # fmt: skip
def test_what_comes_along(name: str, type: str, expected: list[str]) -> None:
    found = ask(name, type)
    assert shown(found.additional) == expected
    assert not found.glue


def test_a_referral_has_addresses_of_all_its_servers_and_needs_those_in_the_domain() -> None:
    found = ask("x.cut")
    assert shown(found.glue) == ["ns.cut A"]
    assert shown(found.additional) == ["host A", "host AAAA", "c.wild A", "c.wild AAAA"]


def test_a_dname_is_in_an_answer_once_however_often_it_was_used() -> None:
    found = ask("x.grow")
    kinds = [type_name(rrset.type) for _, rrset in found.answer]
    assert kinds == ["DNAME", *["CNAME"] * MAX_LINKS]
    assert (found.word, found.rcode) == ("answered", 0)


@pytest.mark.parametrize(
    ("name", "type", "expected", "authority"),
    [
        ("x.dn", "ANY", ["dn DNAME", "x.dn CNAME"], ["z.test. SOA"]),
        ("alias", "ANY", ["alias CNAME"], []),
        ("q.deleg", "A", [], ["*.deleg NS"]),
        ("q.deleg", "DS", [], ["z.test. SOA"]),
        ("*.deleg", "DS", [], ["z.test. SOA"]),
    ],
    ids=["6672 ANY goes on", "8482 ANY matches the CNAME", "4592-4.2", "4035-3.1.4.1 synthesised", "4035-3.1.4.1"],
)
def test_an_edge(name: str, type: str, expected: list[str], authority: list[str]) -> None:
    found = ask(name, type)
    assert (shown(found.answer), shown(found.authority)) == (expected, authority)


def test_names_beyond_the_reach_of_a_pointer() -> None:
    """RFC 1035 §4.1.4: 14 bits. Every name of a response of 60,000 octets is whole."""
    draw = random.Random(3)
    names = ["".join(draw.choices("abcdefghij", k=draw.randint(1, 20))) + str(number) for number in range(1500)]
    text = "$TTL 300\n@ IN SOA ns h 1 2 3 4 5\n@ IN NS ns\n" + "".join(
        f"m IN MX {number} {name}.s{number % 7}\n{name}.s{number % 7} IN A 10.1.{number >> 8}.{number & 255}\n"
        for number, name in enumerate(names)
    )
    message = respond(zones({"z.test": text}), query((b"m", b"z", b"test"), 15, payload=0), stream=True)
    assert message is not None
    assert 40_000 < len(message) <= 65_535
    response = read(message)
    assert {rdata for _, _, _, rdata in response.answer} == {
        number.to_bytes(2, "big") + to_wire((name.encode(), b"s%d" % (number % 7), b"z", b"test"))
        for number, name in enumerate(names)
    }
    assert not response.truncated
    assert len(response.additional) > 500
    for owner, _, _, rdata in response.additional:
        assert owner[0].decode() == names[rdata[2] << 8 | rdata[3]]


def test_a_set_that_no_message_holds_is_truncated_over_tcp_too() -> None:
    text = "$TTL 300\n@ IN SOA ns h 1 2 3 4 5\n@ IN NS ns\n" + "".join(
        f'huge IN TXT "{number:05d}{"x" * 200}"\n' for number in range(400)
    )
    served = zones({"z.test": text})
    for stream in (True, False):
        message = respond(served, query((b"huge", b"z", b"test"), 16), stream=stream)
        assert message is not None
        response = read(message)
        assert (response.rcode, response.truncated, response.answer) == (0, True, [])
