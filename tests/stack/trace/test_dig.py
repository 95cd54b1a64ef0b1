"""What `hopstack dig` makes of a response: its values, its outcome and what it is said to mean."""

from __future__ import annotations

from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from stack.errors import ConfigError
from stack.trace.dig_message import Unreadable, Wish, query, question, read, reverse
from stack.trace.dig_says import meaning, outcome

SOA = "shop.test. 60 IN SOA ns.shop.test. h.shop.test. 1 3600 600 86400 30"


def response(
    name: str = "www.shop.test.", type: str = "A", *, status: str = "NOERROR", flags: str = "", answer: str = "",
    authority: str = "", additional: str = "", options: list[Any] | None = None,
) -> bytes:  # fmt: skip
    """Records as `;`-separated lines."""
    message: Any = dns.message.make_response(dns.message.make_query(name, type, use_edns=0 if options else -1))
    message.flags |= dns.flags.from_text(flags.upper())
    message.set_rcode(dns.rcode.from_text(status))
    for section, text in ((message.answer, answer), (message.authority, authority), (message.additional, additional)):
        for line in filter(None, text.split(";")):
            owner, ttl, cls, kind, data = line.strip().split(" ", 4)
            section.append(dns.rrset.from_text(owner, int(ttl), cls, kind, data))
    if options:
        message.use_edns(0, 0, 1232, options=options)
    wire: bytes = message.to_wire()
    return wire


@pytest.mark.parametrize(
    ("wire", "came_to", "means"),
    [
        (response(flags="aa", answer="www.shop.test. 60 IN A 192.0.2.1"), "answered", "1 record, from the zone itself"),
        (response(flags="ra", answer="www.shop.test. 60 IN A 192.0.2.1; www.shop.test. 60 IN A 192.0.2.2"), "answered",
         "2 records, from the resolver"),
        (response(answer="www.shop.test. 60 IN A 192.0.2.1"), "answered", "without authority"),
        (response(flags="aa", answer="www.shop.test. 60 IN CNAME Shop.test.; shop.test. 60 IN A 192.0.2.1"), "answered",
         "an alias of shop.test., which has 1 record"),
        (response(flags="aa", answer="www.shop.test. 60 IN CNAME cdn.example."), "absent", "an alias of cdn.example., and no more is said"),
        (response(authority="test. 60 IN NS ns.test.", additional="ns.test. 60 IN A 192.0.2.53"), "referral",
         "a referral: ask the servers of test.: ns.test. at 192.0.2.53"),
        (response(authority=". 60 IN NS a.root-servers.net."), "failed", "lame: it refers up, to ., for it has not got"),
        (response(flags="aa", authority=SOA), "absent", "NODATA: www.shop.test. exists and has no A records; that may be kept 30 s"),
        (response(flags="aa", status="NXDOMAIN", authority=SOA), "absent", "www.shop.test. does not exist, and nothing below it"),
        (response(flags="aa", status="NXDOMAIN", answer="www.shop.test. 60 IN CNAME no.shop.test.", authority=SOA), "absent",
         "an alias of no.shop.test., which does not exist"),
        (response(flags="tc"), "failed", "truncated: what came is not to be used; ask over TCP"),
        (response(status="REFUSED"), "failed", "it has no zone with this name, or this client may not ask"),
        (response(status="SERVFAIL"), "failed", "the server failed"),
        (response(status="FORMERR"), "failed", "could not read the query"),
        (response(status="NOTIMP"), "failed", "does not know this kind of query"),
        (response(status="YXDOMAIN"), "failed", "the server says YXDOMAIN"),
        (response(status="SERVFAIL", options=[dns.edns.EDEOption(22, "at test."), dns.edns.EDEOption(23)]), "failed",
         "it says: no reachable authority (at test.); network error"),
        (response(status="REFUSED", options=[dns.edns.EDEOption(49152, "odd")]), "failed", "it says: extended error 49152 (odd)"),
    ],
)  # fmt: skip
def test_what_a_response_means(wire: bytes, came_to: str, means: str) -> None:
    found = read(wire)
    assert outcome(found) == came_to
    assert means in meaning(found)
    assert "\n" not in meaning(found)


def test_options_of_edns_as_values() -> None:
    options = [
        dns.edns.GenericOption(3, b"dns-shop"), dns.edns.GenericOption(10, bytes(range(16))),
        dns.edns.EDEOption(0, "injected: late, cut"), dns.edns.GenericOption(65001, b"\1"),
    ]  # fmt: skip
    found = read(response(options=options))
    assert found.edns is not None
    assert (found.edns.nsid, found.edns.client_cookie) == ("dns-shop", "0001020304050607")
    assert found.edns.server_cookie == "08090a0b0c0d0e0f"
    assert found.edns.errors == ((0, "injected: late, cut"),)
    assert found.edns.others == ((65001, "01"),)
    assert found.injected == ("late", "cut")
    assert read(response(options=[dns.edns.GenericOption(3, b"\xff\x00")])).edns.nsid == "ff00"  # type: ignore[union-attr]


def test_a_query_is_what_was_wished_for() -> None:
    asked = question("WWW.shop.test", "aaaa")
    assert (asked.name, asked.type) == ("WWW.shop.test.", "AAAA")
    sent: Any = dns.message.from_wire(query(asked, Wish(dnssec=True, checking_disabled=True, cookie=b"12345678"), 7))
    assert (sent.id, sent.flags, sent.ednsflags, sent.payload) == (7, dns.flags.RD | dns.flags.CD, dns.flags.DO, 1232)
    assert {int(option.otype) for option in sent.options} == {3, 10}
    bare: Any = dns.message.from_wire(query(asked, Wish(recurse=False, edns=False), 0))
    assert (bare.flags, bare.edns) == (0, -1)


@pytest.mark.parametrize("text", ["shop.test", "shop.test.", "SHOP.test"])
def test_the_final_dot_makes_no_difference(text: str) -> None:
    assert question(text, "A").name.lower() == "shop.test."
    assert question(".", "NS").name == "."
    assert question("bücher.test", "A").name == "xn--bcher-kva.test."
    assert question("x", "TYPE65280").type == "TYPE65280"


def test_reverse_names() -> None:
    assert reverse("192.0.2.1") == "1.2.0.192.in-addr.arpa."
    assert reverse("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa.")
    with pytest.raises(ConfigError, match="wanted an address"):
        reverse("shop.test")


@pytest.mark.parametrize("name", ["www..test", "a" * 64 + ".test", ".".join(["a" * 60] * 5)])
def test_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="is no domain name: "):
        question(name, "A")


@pytest.mark.parametrize("wire", [b"", b"short", b"\0\0\x80\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"])
def test_what_is_no_message(wire: bytes) -> None:
    with pytest.raises(Unreadable):
        read(wire)
