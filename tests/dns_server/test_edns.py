"""What is answered to the options of a query, by a whole handler."""

from __future__ import annotations

import dns.edns
import dns.message
import dns.rcode
import pytest

from dns_server.book import Book
from dns_server.cookies import Cookies, Given
from dns_server.edns import Edns
from dns_server.handler import Authority, Handler
from dns_server.query_log import QueryLog
from dns_server.rules.chaos import Chaos
from dns_server.rules.edns import ERRORS
from stack.clock import VirtualClock
from stack.telemetry.metrics import Metrics
from tests.support.dns_network import edns, question, zones

LONG = " ".join(['"' + "x" * 200 + '"'] * 5)
TEXT = f'$TTL 60\n@ IN SOA ns h 1 1 1 1 30\n@ IN NS ns\nns IN A 192.0.2.1\nwww IN A 192.0.2.2\nlong IN TXT {LONG} "{"y" * 155}"\n'
CLIENT = "192.0.2.9"
CK = b"\0\x0a\0\x08abcdefgh"
NSID = b"\0\3\0\0"


class Server:
    """`ask` gives the response, which an independent parser reads, with its options by number."""

    def __init__(self, *, require: bool = False, cookies: bool = True, nsid: bytes = b"dns-shop") -> None:
        self.clock = VirtualClock()
        self.cookies = Cookies(Given([b"k" * 16]), time=self.clock.time) if cookies else None
        self.handler = Handler(
            Authority(Book(zones({"z.test": TEXT}))), payload=1232, responses=100, now=self.clock.now,
            log=QueryLog("off", hop="dns", clock=self.clock, metrics=Metrics()),
            edns=Edns(nsid=nsid, cookies=self.cookies, require=require, idle=10.0),
            chaos=Chaos(identity=nsid, version=b"1.0"),
        )  # fmt: skip

    def raw(self, message: bytes, protocol: str = "udp") -> bytes:
        response = self.handler.answer(message, CLIENT, protocol)
        assert isinstance(response, bytes)
        return response

    def ask(self, message: bytes, protocol: str = "udp") -> tuple[str, dict[int, bytes], dns.message.Message]:
        read = dns.message.from_wire(self.raw(message, protocol))
        options = {int(option.otype): option.to_wire() or b"" for option in read.options}
        return dns.rcode.to_text(read.rcode()).replace("BADSIG", "BADVERS"), options, read  # type: ignore[dict-item]

    def cookie(self) -> bytes:
        found = self.ask(question("www.z.test", opt=edns(options=CK)))[1][10]
        return b"\0\x0a\0\x18" + found


def test_a_client_cookie_gets_a_server_cookie_and_that_is_believed() -> None:
    server = Server()
    rcode, options, response = server.ask(question("www.z.test", opt=edns(options=CK)))
    assert (rcode, len(response.answer), list(options)) == ("NOERROR", 1, [10])
    assert options[10][:8] == b"abcdefgh"
    assert server.ask(question("www.z.test", opt=edns(options=server.cookie())))[1] == options


@pytest.mark.parametrize("size", [0, 7, 9, 15, 41])
def test_a_cookie_of_no_possible_length_is_formerr_with_opt(size: int) -> None:
    sent = edns(options=b"\0\x0a\0" + bytes((size,)) + bytes(size))
    rcode, options, response = Server().ask(question("www.z.test", opt=sent))
    assert (rcode, options, response.answer, response.edns) == ("FORMERR", {}, [], 0)
    assert Server(cookies=False).ask(question("www.z.test", opt=sent))[0] == "NOERROR"


@pytest.mark.parametrize("client", [True, False])
def test_a_cookie_is_found_only_in_an_opt(client: bool) -> None:
    """What is kept for a query that ends with two zeros of another record has no OPT to which a cookie belongs."""
    server = Server()
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\1\0\0"
    asked = question("www.z.test", opt=record)
    cookie = CK if client else server.cookie()
    sent = asked[:-2] + len(cookie).to_bytes(2, "big") + cookie
    assert server.ask(asked)[0] == "NOERROR"
    assert server.ask(sent)[0] == "FORMERR"


@pytest.mark.parametrize("first", ["bare", "cookie"])
def test_a_query_about_a_cookie_alone_and_one_about_nothing_are_two(first: str) -> None:
    server = Server()
    head = b"\0\1\0\0\0\0\0\0\0\0\0\1"
    for kind in (first, "bare", "cookie", "bare", "cookie"):
        rcode = server.ask(head + edns(options=CK if kind == "cookie" else b""))[0]
        assert rcode == ("NOERROR" if kind == "cookie" else "FORMERR")


def test_a_kept_response_brings_each_client_its_own_cookie() -> None:
    server = Server()
    for name in ("www.z.test", "nope.z.test", "other.test"):
        server.raw(question(name, opt=edns()))
        for number in range(3):
            own = number.to_bytes(8, "big")
            rcode, options, response = server.ask(question(name, id=number, opt=edns(options=b"\0\x0a\0\x08" + own)))
            assert (options[10][:8], response.id) == (own, number)
            assert server.cookies is not None
            assert server.cookies.judge(options[10], CLIENT) == (options[10], True)
            again = server.ask(question(name, opt=edns(options=b"\0\x0a\0\x18" + options[10])))
            assert (again[0], again[1], again[2].answer) == (rcode, options, response.answer)
    assert len(server.handler._datagrams) == 3


def test_of_two_cookies_the_first_counts() -> None:
    options = Server().ask(question("www.z.test", opt=edns(options=CK + b"\0\x0a\0\x01x")))[1]
    assert options[10][:8] == b"abcdefgh"


@pytest.mark.parametrize(
    ("cookie", "rcode"),
    [("none", "FORMERR"), ("client", "NOERROR"), ("right", "NOERROR"), ("wrong", "BADCOOKIE")],
)
def test_rfc7873_5_4_a_query_about_a_cookie_alone(cookie: str, rcode: str) -> None:
    server = Server()
    options = {"none": b"", "client": CK, "right": server.cookie(), "wrong": b"\0\x0a\0\x18" + bytes(24)}[cookie]
    sent = b"\0\1\0\0\0\0\0\0\0\0\0\1" + edns(options=options)
    found, answered, response = server.ask(sent)
    assert (found, response.question, response.answer, response.edns) == (rcode, [], [], 0)
    assert (10 in answered) == (cookie != "none")


@pytest.mark.parametrize(
    ("protocol", "cookie", "rcode", "answers", "truncated"),
    [
        ("udp", "none", "NOERROR", 0, True), ("udp", "client", "BADCOOKIE", 0, False), ("udp", "wrong", "BADCOOKIE", 0, False),
        ("udp", "right", "NOERROR", 1, False), ("tcp", "none", "NOERROR", 1, False), ("tcp", "client", "NOERROR", 1, False),
        ("tcp", "wrong", "NOERROR", 1, False),
    ],
)  # fmt: skip
def test_where_cookies_are_required(protocol: str, cookie: str, rcode: str, answers: int, truncated: bool) -> None:
    server = Server(require=True)
    right = server.cookie()
    opt = {"none": b"", "client": CK, "right": right, "wrong": right[:-1] + b"?"}[cookie]
    for _ in range(2):
        for other in (right, CK, b""):  # what is kept for one is not given to another
            server.raw(question("www.z.test", opt=edns(options=other)), protocol)
        found, options, response = server.ask(question("www.z.test", opt=edns(options=opt)), protocol)
        assert (found, len(response.answer), bool(response.flags & 0x0200)) == (rcode, answers, truncated)
        assert (10 in options) == (cookie != "none")
        if cookie in ("client", "wrong"):
            assert server.cookies is not None
            assert server.cookies.judge(options[10], CLIENT) == (options[10], True)


def test_a_cookie_makes_a_response_no_longer_than_the_client_takes() -> None:
    """The text fits into 1232 octets, but not with a cookie: then all of it is left out."""
    server = Server()
    bare = server.raw(question("long.z.test", "TXT", opt=edns()))
    assert 1232 - 28 < len(bare) <= 1232
    for _ in range(2):
        response = server.raw(question("long.z.test", "TXT", opt=edns(options=CK)))
        read = dns.message.from_wire(response)
        assert read.flags & 0x0200
        assert not read.answer
        assert len(response) <= 1232
        assert read.options[0].otype == 10
        assert server.raw(question("long.z.test", "TXT", opt=edns())) == bare


@pytest.mark.parametrize(("options", "told"), [(NSID, True), (b"", False), (b"\0\3\0\2xy", True), (NSID * 2, True)])
def test_rfc5001_who_asks_is_told_the_name_of_the_server(options: bytes, told: bool) -> None:
    for _ in range(2):
        assert Server().ask(question("www.z.test", opt=edns(options=options)))[1] == ({3: b"dns-shop"} if told else {})
    assert Server(nsid=b"").ask(question("www.z.test", opt=edns(options=options)))[1] == {}


@pytest.mark.parametrize(("protocol", "told"), [("udp", False), ("tcp", True), ("tls", True), ("https", False)])
def test_rfc7828_a_connection_is_told_how_long_it_may_be_idle(protocol: str, told: bool) -> None:
    server = Server()
    assert server.ask(question("www.z.test", opt=edns()), protocol)[1] == {}
    for sent in (b"\0\x0b\0\0", b"\0\x0b\0\2\0\1"):
        options = server.ask(question("www.z.test", opt=edns(options=sent)), protocol)[1]
        assert options == ({11: b"\0\x64"} if told else {})


@pytest.mark.parametrize(("protocol", "padded"), [("udp", False), ("tcp", False), ("tls", True), ("https", True)])
@pytest.mark.parametrize("name", ["www.z.test", "nope.z.test", "x" * 60 + ".z.test", "other.test"])
def test_rfc8467_where_nobody_listens_responses_are_padded_to_468(protocol: str, padded: bool, name: str) -> None:
    server = Server()
    for options in (b"\0\x0c\0\0", b"\0\x0c\0\x05" + bytes(5), NSID + CK + b"\0\x0c\0\0"):
        sent = question(name, opt=edns(options=options))
        response = server.raw(sent, protocol)
        assert (len(response) % 468 == 0) == padded
        assert (12 in server.ask(sent, protocol)[1]) == padded
        assert len(server.raw(question(name, opt=edns()), protocol)) % 468


def test_options_that_nobody_knows_are_ignored_and_do_not_come_back() -> None:
    """RFC 6891 §6.1.2. Client subnets too, whatever is in them."""
    server = Server()
    plain = server.raw(question("www.z.test", opt=edns()))
    for options in (
        b"\xfd\xe9\0\0", b"\0\x08\0\7\0\1\x18\0\xc0\0\2", b"\0\x08\0\1\0", b"\0\x12\0\1\0", b"\0\x64\0\3abc",
    ):  # fmt: skip
        assert server.raw(question("www.z.test", opt=edns(options=options))) == plain


def test_options_of_another_version_are_not_looked_at() -> None:
    rcode, options, _ = Server().ask(question("www.z.test", opt=edns(version=1, options=NSID + b"\0\x0a\0\1x")))
    assert (rcode, options) == ("BADVERS", {})


@pytest.mark.parametrize(
    ("sent", "rcode", "code"),
    [
        (question("other.test", opt=edns()), "REFUSED", 20),
        (question("www.z.test", cls=4, opt=edns()), "REFUSED", 21),
        (question("www.z.test", opt=edns(), flags=0x1000), "NOTIMP", 21),
        (question("nope.z.test", opt=edns()), "NXDOMAIN", None),
        (question("other.test"), "REFUSED", None),
    ],
    ids=["foreign", "class", "opcode", "nxdomain", "without-edns"],
)
def test_rfc8914_a_client_with_edns_is_told_why(sent: bytes, rcode: str, code: int | None) -> None:
    server = Server()
    for _ in range(2):
        found, options, response = server.ask(sent)
        assert found == rcode
        if code is None:
            assert (options, len(response.options)) == ({}, 0)
        else:
            error = response.options[0]
            assert isinstance(error, dns.edns.EDEOption)
            assert (int(error.code), bool(error.text)) == (code, True)
            assert code in ERRORS


def test_an_extended_error_and_a_cookie_go_together() -> None:
    server = Server()
    for _ in range(2):
        assert list(server.ask(question("other.test", opt=edns(options=CK)))[1]) == [15, 10]


@pytest.mark.parametrize(
    ("name", "type", "rcode", "text"),
    [
        ("id.server", "TXT", "NOERROR", '"dns-shop"'), ("HOSTNAME.bind", "TXT", "NOERROR", '"dns-shop"'),
        ("version.bind", "TXT", "NOERROR", '"1.0"'), ("version.server", "ANY", "NOERROR", '"1.0"'),
        ("id.server", "A", "REFUSED", ""), ("authors.bind", "TXT", "REFUSED", ""), ("www.z.test", "A", "REFUSED", ""),
    ],
)  # fmt: skip
def test_rfc4892_class_chaos(name: str, type: str, rcode: str, text: str) -> None:
    found, _, response = Server().ask(question(name, type, cls=3))
    assert found == rcode
    assert [(rrset[0].to_text(), rrset.ttl, rrset.rdclass) for rrset in response.answer] == (
        [(text, 0, 3)] if text else []
    )
    assert not response.flags & 0x0400


def test_a_version_that_is_not_given_is_not_told() -> None:
    server = Server()
    server.handler._chaos = Chaos(identity=b"", version=b"")
    for name in ("version.bind", "id.server"):
        assert server.ask(question(name, "TXT", cls=3))[0] == "REFUSED"
