"""Response rate limiting: who is limited, for how long, in what way, and who never is."""

from __future__ import annotations

import dns.message
import pytest

from dns_server.book import Book
from dns_server.config import RrlOptions
from dns_server.cookies import Cookies, Given
from dns_server.edns import Edns
from dns_server.handler import Authority, Handler
from dns_server.query_log import QueryLog
from dns_server.rrl import Limiter
from stack.clock import VirtualClock
from stack.errors import ConfigError
from stack.telemetry.metrics import Metrics
from tests.support.dns_network import edns, question, zones

TEXT = """$TTL 60
@ IN SOA ns h 1 1 1 1 30
@ IN NS ns
ns IN A 192.0.2.1
www IN A 192.0.2.2
other IN A 192.0.2.3
*.wild IN A 192.0.2.4
sub IN NS ns.sub
ns.sub IN A 192.0.2.5
old IN DNAME wild
"""
OTHER = "$TTL 60\n@ IN SOA ns h 1 1 1 1 30\n@ IN NS ns.z.test.\n"


class Server:
    def __init__(self, *, rate: int = 5, cookies: bool = True, **options: object) -> None:
        self.clock = VirtualClock()
        self.metrics = Metrics()
        self.limiter = Limiter(RrlOptions(rate=rate, **options), self.clock.now)  # type: ignore[arg-type]
        self.cookies = Cookies(Given([b"k" * 16]), time=self.clock.time)
        self.log = QueryLog("off", hop="dns", clock=self.clock, metrics=self.metrics)
        self.handler = Handler(
            Authority(Book(zones({"z.test": TEXT, "o.test": OTHER}))), payload=1232, responses=100,
            now=self.clock.now, log=self.log, limiter=self.limiter,
            edns=Edns(nsid=b"", cookies=self.cookies, require=False, idle=10.0),
        )  # fmt: skip
        self.id = 0

    def ask(
        self,
        name: str = "www.z.test",
        *,
        client: str = "192.0.2.9",
        protocol: str = "udp",
        opt: bytes = b"",
        type: str = "A",
        flags: int = 0,
    ) -> str:
        """`full`, `truncated` or `dropped`."""
        self.id += 1
        response = self.handler.answer(question(name, type, id=self.id, opt=opt), client, protocol)
        if response is None:
            return "dropped"
        assert isinstance(response, bytes)
        message = dns.message.from_wire(response)
        assert message.id == self.id
        if not message.flags & 0x0200:
            return "full"
        assert not message.answer
        assert not message.authority
        assert message.question
        assert (message.edns == 0) == bool(opt)
        return "truncated"

    def several(self, count: int, **options: object) -> list[str]:
        return [self.ask(**options) for _ in range(count)]  # type: ignore[arg-type]


def test_more_than_the_rate_is_dropped_or_truncated() -> None:
    server = Server()
    assert server.several(5) == ["full"] * 5
    assert server.several(6) == ["dropped", "truncated"] * 3
    assert server.limiter.statistics() == {"limited": 6, "truncated": 3, "accounts": 1}
    assert server.log.statistics()["words"] == {"answered": 5, "rate-limited": 6}


@pytest.mark.parametrize(("slip", "expected"), [(0, {"dropped"}), (1, {"truncated"}), (3, {"dropped", "truncated"})])
def test_slip(slip: int, expected: set[str]) -> None:
    server = Server(slip=slip)
    server.several(5)
    limited = server.several(9)
    assert set(limited) == expected
    assert limited.count("truncated") == (9 // slip if slip else 0)


async def test_a_rate_that_is_kept_is_never_limited() -> None:
    server = Server()
    for _ in range(200):
        assert server.ask() == "full"
        await server.clock.advance(0.2)


async def test_a_flood_has_to_be_over_for_the_window() -> None:
    server = Server(window=15.0)
    server.several(1000)
    await server.clock.advance(14.9)
    assert server.ask() != "full"
    await server.clock.advance(15.2)
    assert server.several(1) == ["full"]


async def test_a_little_too_much_is_forgiven_soon() -> None:
    server = Server()
    server.several(7)
    await server.clock.advance(0.7)
    assert server.ask() == "full"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.9", "192.0.2.200", True), ("192.0.2.9", "192.0.3.9", False), ("2001:db8::1", "2001:db8:0:ff::2", True),
        ("2001:db8::1", "2001:db8:0:100::2", False), ("::ffff:192.0.2.9", "192.0.2.1", True), ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
    ids=["ipv4-24", "ipv4-other", "ipv6-56", "ipv6-other", "mapped", "scope"],
)  # fmt: skip
def test_addresses_of_one_network_are_one(first: str, second: str, same: bool) -> None:
    server = Server()
    server.several(20, client=first)
    assert (server.ask(client=second) != "full") == same


@pytest.mark.parametrize(
    ("names", "limited"),
    [
        (["www.z.test"], True),
        (["WWW.z.test", "www.z.test"], True),
        (["www.z.test", "other.z.test", "ns.z.test", "z.test"], False),
        ([f"n{number}.z.test" for number in range(10)], True),
        ([f"n{number}.wild.z.test" for number in range(10)], True),
        ([f"n{number}.sub.z.test" for number in range(10)], True),
        ([f"n{number}.old.z.test" for number in range(10)], True),
        ([f"n{number}.foreign" for number in range(10)], True),
        (["a.z.test", "a.o.test", "b.z.test", "b.o.test", "a.sub.z.test", "a.wild.z.test", "b.foreign", "www.z.test"], False),
    ],
    ids=["name", "letter-case", "names", "nxdomain-by-zone", "wildcard", "referral-by-cut", "dname", "errors", "kinds"],
)  # fmt: skip
def test_what_counts_as_the_same_answer(names: list[str], limited: bool) -> None:
    server = Server()
    said = [server.ask(names[number % len(names)]) for number in range(10)]
    assert (set(said) != {"full"}) == limited


def test_nodata_and_kept_responses_count_too() -> None:
    server = Server()
    assert server.several(5, type="AAAA") == ["full"] * 5
    assert server.ask("other.z.test", type="AAAA") == "dropped"


@pytest.mark.parametrize("protocol", ["tcp", "tls", "https"])
def test_streams_are_never_limited(protocol: str) -> None:
    server = Server()
    server.several(20)
    assert server.several(20, protocol=protocol) == ["full"] * 20


def test_a_right_cookie_is_never_limited_and_a_truncated_response_brings_one() -> None:
    server = Server(slip=1)
    first = edns(options=b"\0\x0a\0\x08abcdefgh")
    server.several(5, opt=first)
    assert server.ask(opt=first) == "truncated"
    message = server.handler.answer(question("www.z.test", opt=first), "192.0.2.9", "udp")
    assert isinstance(message, bytes)
    [cookie] = dns.message.from_wire(message).options
    right = edns(options=b"\0\x0a\0\x18" + cookie.to_wire())  # type: ignore[operator]
    assert server.several(50, opt=right) == ["full"] * 50
    assert server.ask(client="192.0.2.10", opt=right) == "truncated"  # it is another's


def test_a_right_cookie_speaks_for_nobody_else() -> None:
    """What is kept from an answer to one who has a cookie is given to others, who have none."""
    server = Server(slip=0)
    first = server.handler.answer(question("ns.z.test", opt=edns(options=b"\0\x0a\0\x08abcdefgh")), "192.0.2.9", "udp")
    assert isinstance(first, bytes)
    [cookie] = dns.message.from_wire(first).options
    assert server.ask(opt=edns(options=b"\0\x0a\0\x18" + cookie.to_wire())) == "full"  # type: ignore[operator]
    assert server.several(20, opt=edns(), client="198.51.100.7") == ["full"] * 5 + ["dropped"] * 15


@pytest.mark.parametrize("again", [True, False], ids=["kept", "made"])
def test_each_query_is_counted_once_as_made_or_kept(again: bool) -> None:
    server = Server()
    for number in range(20):
        server.ask("www.z.test" if again else f"n{number}.z.test")
    samples = server.metrics.samples()
    made, kept = (samples[f'hopstack_dns_responses_total{{how="{how}"}}'] for how in ("made", "kept"))
    assert (made, kept) == ((1, 19) if again else (20, 0))


def test_who_is_exempt() -> None:
    server = Server(exempt=("192.0.2.8/31", "2001:db8::/32"))
    for client in ("192.0.2.9", "2001:db8::1", "::ffff:192.0.2.8"):
        assert server.several(20, client=client) == ["full"] * 20
    assert "dropped" in server.several(20, client="192.0.2.10")
    with pytest.raises(ConfigError, match="--rrl-exempt home"):
        Limiter(RrlOptions(rate=1, exempt=("home",)), lambda: 0.0)


def test_memory_is_bounded_and_those_seen_last_are_kept() -> None:
    server = Server(entries=50)
    server.several(20)
    for number in range(500):
        server.ask(client=f"10.{number // 256}.{number % 256}.1")
        server.ask()
        assert server.limiter.statistics()["accounts"] <= 50
        assert len(server.limiter._networks) <= 50
    assert server.ask() != "full"


def test_a_flood_is_told_seldom(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.several(1000)
    assert [record.message for record in caplog.records] == [
        "rate limit: 192.0.2.0/24 is sent the same too often; its responses are dropped or truncated"
    ]
