"""The algorithm of RFC 1034 §4.3.2, question by question."""

from __future__ import annotations

import pytest

from dns_server.rules.authority import answer
from dns_server.rules.names import from_text, to_text
from dns_server.rules.rrset import Answer
from dns_server.rules.types import NUMBERS, type_name
from tests.support.dns_network import zones

ZONES = zones(
    {
        "z.test": r"""
$TTL 300
@ 600 IN SOA ns hostmaster 7 3600 600 86400 60
@ IN NS ns
@ IN MX 10 mail
ns IN A 192.0.2.1
mail IN A 192.0.2.2
mail IN AAAA 2001:db8::2
deep.er.ent IN TXT "x"
alias IN CNAME mail
chain IN CNAME alias
gone IN CNAME nowhere
out IN CNAME www.example.
ring1 IN CNAME ring2
ring2 IN CNAME ring1
into IN CNAME host.cut
*.wild IN A 192.0.2.9
*.wild IN MX 5 mail
a.b.wild IN A 192.0.2.10
*.wcn IN CNAME mail
cut IN NS ns.cut
cut IN NS ns.sibling
cut IN DS 1 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF
ns.cut IN A 192.0.2.20
sibling IN NS ns.sibling
ns.sibling IN A 192.0.2.30
dn IN DNAME target
x.target IN A 192.0.2.40
under.dn IN A 192.0.2.41
_svc IN SRV 0 0 80 mail
web IN HTTPS 1 . alpn=h2
web IN A 192.0.2.50
web IN AAAA 2001:db8::50
""",
        "sub.z.test": """
$TTL 300
@ IN SOA ns hostmaster 1 1 1 1 5
@ IN NS ns
ns IN A 192.0.2.60
""",
    }
)


def ask(name: str, type: str = "A") -> Answer:
    wire = from_text(name)
    return answer(ZONES, wire, wire.lower(), NUMBERS[type])


def shown(section: list) -> list[str]:  # type: ignore[type-arg]
    return [f"{to_text(owner)} {type_name(rrset.type)}" for owner, rrset in section]


@pytest.mark.parametrize(
    ("name", "type", "word", "authoritative", "expected"),
    [
        ("mail.z.test", "A", "answered", True, ["mail.z.test. A"]),
        ("MaIl.z.test", "A", "answered", True, ["MaIl.z.test. A"]),
        ("mail.z.test", "TXT", "nodata", True, []),
        ("nope.z.test", "A", "nxdomain", True, []),
        ("er.ent.z.test", "A", "nodata", True, []),
        ("nope.er.ent.z.test", "A", "nxdomain", True, []),
        ("chain.z.test", "A", "answered", True, ["chain.z.test. CNAME", "alias.z.test. CNAME", "mail.z.test. A"]),
        ("chain.z.test", "TXT", "nodata", True, ["chain.z.test. CNAME", "alias.z.test. CNAME"]),
        ("chain.z.test", "CNAME", "answered", True, ["chain.z.test. CNAME"]),
        ("gone.z.test", "A", "nxdomain", True, ["gone.z.test. CNAME"]),
        ("out.z.test", "A", "answered", True, ["out.z.test. CNAME"]),
        ("ring1.z.test", "A", "answered", True, ["ring1.z.test. CNAME", "ring2.z.test. CNAME"]),
        ("into.z.test", "A", "referral", True, ["into.z.test. CNAME"]),
        ("x.wild.z.test", "A", "answered", True, ["x.wild.z.test. A"]),
        ("x.y.wild.z.test", "A", "answered", True, ["x.y.wild.z.test. A"]),
        ("x.wild.z.test", "TXT", "nodata", True, []),
        ("x.b.wild.z.test", "A", "nxdomain", True, []),
        ("b.wild.z.test", "A", "nodata", True, []),
        ("*.wild.z.test", "A", "answered", True, ["*.wild.z.test. A"]),
        ("x.*.wild.z.test", "A", "nxdomain", True, []),
        ("x.wcn.z.test", "A", "answered", True, ["x.wcn.z.test. CNAME", "mail.z.test. A"]),
        ("cut.z.test", "A", "referral", False, []),
        ("cut.z.test", "NS", "referral", False, []),
        ("ns.cut.z.test", "A", "referral", False, []),
        ("cut.z.test", "DS", "answered", True, ["cut.z.test. DS"]),
        ("sibling.z.test", "DS", "nodata", True, []),
        ("x.cut.z.test", "DS", "referral", False, []),
        ("sub.z.test", "SOA", "answered", True, ["sub.z.test. SOA"]),
        ("sub.z.test", "DS", "nxdomain", True, []),
        ("dn.z.test", "DNAME", "answered", True, ["dn.z.test. DNAME"]),
        ("dn.z.test", "A", "nodata", True, []),
        ("x.dn.z.test", "A", "answered", True, ["dn.z.test. DNAME", "x.dn.z.test. CNAME", "x.target.z.test. A"]),
        ("under.dn.z.test", "A", "nxdomain", True, ["dn.z.test. DNAME", "under.dn.z.test. CNAME"]),
        ("z.test", "ANY", "answered", True, ["z.test. SOA"]),
        ("ent.z.test", "ANY", "nodata", True, []),
        ("example", "A", "refused", False, []),
        ("notz.test", "A", "refused", False, []),
        ("z.test", "AXFR", "refused", False, []),
        ("mail.z.test", "AXFR", "notauth", False, []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answer(name: str, type: str, word: str, authoritative: bool, expected: list[str]) -> None:
    found = ask(name, type)
    assert (found.word, found.authoritative, shown(found.answer)) == (word, authoritative, expected)


@pytest.mark.parametrize(
    ("name", "type", "ttl"),
    [("nope.z.test", "A", 60), ("mail.z.test", "TXT", 60), ("nope.sub.z.test", "A", 5)],
    ids=["rfc2308-3-nxdomain", "rfc2308-3-nodata", "rfc2308-3-child"],
)
def test_a_negative_answer_has_the_lesser_of_ttl_and_minimum(name: str, type: str, ttl: int) -> None:
    [(_, soa)] = ask(name, type).authority
    assert (type_name(soa.type), soa.ttl) == ("SOA", ttl)


def test_a_referral_has_in_domain_glue_as_needed_and_sibling_glue_as_help() -> None:
    found = ask("host.cut.z.test")
    assert shown(found.authority) == ["cut.z.test. NS"]
    assert shown(found.glue) == ["ns.cut.z.test. A"]
    assert shown(found.additional) == ["ns.sibling.z.test. A"]


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("z.test", "MX", ["mail.z.test. A", "mail.z.test. AAAA"]),
        ("z.test", "NS", ["ns.z.test. A"]),
        ("_svc.z.test", "SRV", ["mail.z.test. A", "mail.z.test. AAAA"]),
        ("x.wild.z.test", "MX", ["mail.z.test. A", "mail.z.test. AAAA"]),
        ("web.z.test", "HTTPS", ["web.z.test. A", "web.z.test. AAAA"]),
        ("mail.z.test", "A", []),
    ],
    ids=["rfc1035-3.3.9", "rfc1035-3.3.11", "rfc2782", "rfc4592", "rfc9460-2.5", "none"],
)
def test_addresses_come_along(name: str, type: str, expected: list[str]) -> None:
    assert shown(ask(name, type).additional) == expected


def test_a_dname_that_makes_too_long_a_name() -> None:
    label = "a" * 60
    far = zones(
        {
            "z.test": f"$TTL 1\n@ IN SOA a b 1 1 1 1 1\n@ IN NS ns.x.\nd IN DNAME {label}.{label}.example.\n",
        }
    )
    wire = from_text(f"{label}.{label}.{label}.d.z.test")
    found = answer(far, wire, wire, 1)
    assert (found.word, found.rcode, shown(found.answer)) == ("yxdomain", 6, ["d.z.test. DNAME"])


def test_a_dname_that_leads_to_itself_is_answered_once() -> None:
    up = zones({"z.test": "$TTL 1\n@ IN SOA a b 1 1 1 1 1\n@ IN NS ns.x.\nup IN DNAME @\n"})
    wire = from_text("up.up.z.test")
    found = answer(up, wire, wire, NUMBERS["DNAME"])
    assert shown(found.answer) == ["up.z.test. DNAME", "up.up.z.test. CNAME"]  # RFC 2181 §5
