"""The walk, the cache and their bounds, over a network in memory and on a virtual clock."""

from __future__ import annotations

import asyncio

import pytest

from dns_server.config import CacheOptions, WalkOptions
from dns_server.resolver import SLOW, Resolver, Walk
from dns_server.rules.query import parse
from dns_server.rules.rrset import Answer
from dns_server.rules.types import type_name
from dns_server.rules.walk import Referral
from stack.clock import settle
from tests.support.dns_network import Network, lines, question, whole, zones

ROOT = """
$ORIGIN .
$TTL 3600
@ IN SOA a.root hostmaster 1 1 1 1 60
@ IN NS a.root
a.root IN A 10.0.0.1
test. IN NS ns.test.
ns.test. IN A 10.0.0.2
other. IN NS ns.other.
ns.other. IN A 10.0.0.4
"""
TEST = """
$TTL 3600
@ IN SOA ns hostmaster 1 1 1 1 60
@ IN NS ns
ns IN A 10.0.0.2
shop IN NS ns1.shop
shop IN NS ns2.shop
ns1.shop IN A 10.0.0.3
ns2.shop IN A 10.0.0.33
glueless IN NS ns.hosting.other.
loop IN NS ns.loop.other.
"""
SHOP = """
$TTL 60
@ IN SOA ns1 hostmaster 1 1 1 1 30
@ IN NS ns1
@ IN NS ns2
ns1 IN A 10.0.0.3
ns2 IN A 10.0.0.33
www 20 IN A 192.0.2.1
www 20 IN A 192.0.2.2
zero 0 IN A 192.0.2.3
alias IN CNAME www
far IN CNAME target.other.
gone IN CNAME nope
round IN CNAME about
about IN CNAME round
"""
OTHER = """
$TTL 60
@ IN SOA ns hostmaster 1 1 1 1 30
@ IN NS ns
ns IN A 10.0.0.4
target IN A 192.0.2.9
ns.hosting IN A 10.0.0.5
loop IN NS ns.loop.test.
back IN CNAME far.shop.test.
"""
GLUELESS = """
$TTL 60
@ IN SOA ns.hosting.other. hostmaster 1 1 1 1 30
@ IN NS ns.hosting.other.
@ IN A 192.0.2.55
"""


@pytest.fixture
def net() -> Network:
    return Network(
        {
            "10.0.0.1": {".": ROOT},
            "10.0.0.2": {"test": TEST},
            "10.0.0.3": {"shop.test": SHOP},
            "10.0.0.33": {"shop.test": SHOP},
            "10.0.0.4": {"other": OTHER},
            "10.0.0.5": {"glueless.test": GLUELESS},
        }
    )


async def test_a_cold_name_is_walked_from_the_root(net: Network) -> None:
    resolver = net.resolver()
    answer = await net.resolve(resolver, "www.shop.test")
    assert lines(answer) == ["www.shop.test. 20 A 2"]
    assert [host for host, _, _ in net.asked[:2]] == ["10.0.0.1", "10.0.0.2"]
    assert net.asked[2][0] in ("10.0.0.3", "10.0.0.33")
    assert answer.marks == (("cache", "miss"), ("walk", "walked"))
    assert [line.split(" ", 1)[1] for line in answer.walk] == [
        ". referral test.",
        "test. referral shop.test.",
        "shop.test. answered",
    ]


async def test_ttl_counts_down_and_then_the_zone_alone_is_asked(net: Network) -> None:
    resolver = net.resolver()
    await net.resolve(resolver, "www.shop.test")
    net.asked.clear()
    await net.clock.advance(7.5)
    answer = await net.resolve(resolver, "WWW.shop.test")
    assert lines(answer) == ["WWW.shop.test. 12 A 2"]
    assert answer.marks == (("cache", "hit"),)
    assert net.asked == []
    await net.clock.advance(12.5)
    assert lines(await net.resolve(resolver, "www.shop.test")) == ["www.shop.test. 20 A 2"]
    assert len(net.asked) == 1


async def test_a_ttl_of_zero_is_answered_and_not_kept(net: Network) -> None:
    resolver = net.resolver()
    for _ in range(2):
        assert lines(await net.resolve(resolver, "zero.shop.test")) == ["zero.shop.test. 0 A 1"]
    assert sum(name == "zero.shop.test." and host.startswith("10.0.0.3") for host, name, _ in net.asked) == 2


@pytest.mark.parametrize(
    ("name", "type", "word"),
    [("nope.shop.test", "A", "nxdomain"), ("www.shop.test", "TXT", "nodata")],
    ids=["rfc2308-nxdomain", "rfc2308-nodata"],
)
async def test_absence_is_kept_by_the_soa(net: Network, name: str, type: str, word: str) -> None:
    resolver = net.resolver()
    first = await net.resolve(resolver, name, type)
    assert (first.word, first.authority[0][1].ttl) == (word, 30)
    net.asked.clear()
    await net.clock.advance(10)
    again = await net.resolve(resolver, name, type)
    assert (again.word, again.authority[0][1].ttl) == (word, 20)
    assert net.asked == []
    await net.clock.advance(20.5)
    assert (await net.resolve(resolver, name, type)).word == word
    assert net.asked


async def test_nxdomain_holds_for_every_type(net: Network) -> None:
    resolver = net.resolver()
    await net.resolve(resolver, "nope.shop.test")
    net.asked.clear()
    assert (await net.resolve(resolver, "nope.shop.test", "TXT")).word == "nxdomain"
    assert net.asked == []


@pytest.mark.parametrize("type", [0, 1, 249, 250, 253, 254, 256, 65535])
async def test_what_is_missing_or_failed_for_one_type_holds_for_that_type_alone(net: Network, type: int) -> None:
    """QTYPE 0 and meta types are legal questions: none of them may take a name off the resolver."""
    resolver = net.resolver()
    assert (await net.resolve(resolver, "shop.test", f"TYPE{type}")).word == "nodata"
    assert (await net.resolve(resolver, "shop.test", "NS")).word == "answered"
    assert [row["type"] for row in resolver.cache.rows(10)] == ["NS", type_name(type)]
    resolver.cache.flush()
    net.silent |= {"10.0.0.3", "10.0.0.33"}
    assert (await net.resolve(resolver, "www.shop.test", f"TYPE{type}")).word == "servfail"
    net.silent.clear()
    assert (await net.resolve(resolver, "www.shop.test", "CNAME")).word == "nodata"


async def test_aliases_are_followed_into_other_zones(net: Network) -> None:
    resolver = net.resolver()
    expected = ["far.shop.test. 60 CNAME 1", "target.other. 60 A 1"]
    assert lines(await net.resolve(resolver, "far.shop.test")) == expected
    net.asked.clear()
    assert lines(await net.resolve(resolver, "far.shop.test")) == expected
    assert net.asked == []
    assert lines(await net.resolve(resolver, "back.other"))[0] == "back.other. 60 CNAME 1"


async def test_an_alias_to_nowhere_has_the_rcode_of_its_target(net: Network) -> None:
    resolver = net.resolver()
    for _ in range(2):
        answer = await net.resolve(resolver, "gone.shop.test")
        assert (answer.word, lines(answer)) == ("nxdomain", ["gone.shop.test. 60 CNAME 1"])


async def test_an_alias_is_data_to_who_asks_for_it(net: Network) -> None:
    resolver = net.resolver()
    for _ in range(2):
        assert lines(await net.resolve(resolver, "far.shop.test", "CNAME")) == ["far.shop.test. 60 CNAME 1"]


async def test_aliases_in_a_circle_fail(net: Network) -> None:
    assert (await net.resolve(net.resolver(), "round.shop.test")).word == "servfail"


async def test_a_name_server_without_glue_is_looked_up(net: Network) -> None:
    answer = await net.resolve(net.resolver(), "glueless.test")
    assert lines(answer) == ["glueless.test. 60 A 1"]


async def test_name_servers_that_need_each_other_end(net: Network) -> None:
    resolver = net.resolver()
    assert (await net.resolve(resolver, "www.loop.test")).word == "servfail"
    assert len(net.asked) <= WalkOptions().queries


async def test_a_silent_server_is_passed_over_and_then_asked_last(net: Network) -> None:
    net.silent.add("10.0.0.3")
    resolver = net.resolver()
    for number in range(6):
        assert (await net.resolve(resolver, f"n{number}.shop.test")).word == "nxdomain"
    assert sum(host == "10.0.0.3" for host, _, _ in net.asked) <= 1


async def test_failures_are_remembered_for_a_moment(net: Network) -> None:
    net.silent |= {"10.0.0.3", "10.0.0.33"}
    resolver = net.resolver()
    answer = await net.resolve(resolver, "www.shop.test")
    assert (answer.word, answer.marks[-1]) == ("servfail", ("walk", "failed"))
    net.asked.clear()
    assert (await net.resolve(resolver, "www.shop.test")).word == "servfail"
    assert net.asked == []
    net.silent.clear()
    await net.clock.advance(CacheOptions().failure_ttl + 10)
    assert (await net.resolve(resolver, "www.shop.test")).word == "answered"


async def test_the_whole_walk_has_a_time(net: Network) -> None:
    net.silent |= {"10.0.0.1"}
    resolver = net.resolver(walk=WalkOptions(attempt=4.0, total=5.0))
    began = net.clock.now()
    assert (await net.resolve(resolver, "www.shop.test")).word == "servfail"
    assert net.clock.now() - began < 5.3


async def test_the_same_question_is_walked_once(net: Network) -> None:
    net.delay = 0.05
    resolver = net.resolver()
    answers = await asyncio.gather(*(net.resolve(resolver, "www.shop.test") for _ in range(20)))
    assert {tuple(lines(answer)) for answer in answers} == {("www.shop.test. 20 A 2",)}
    assert len(net.asked) == 3


async def test_without_recursion_only_what_is_known_is_said(net: Network) -> None:
    resolver = net.resolver()
    assert (await net.resolve(resolver, "www.shop.test", recurse=False)).word == "refused"
    assert net.asked == []
    await net.resolve(resolver, "www.shop.test")
    assert (await net.resolve(resolver, "www.shop.test", recurse=False)).word == "answered"


async def test_glue_is_not_answered_with(net: Network) -> None:
    resolver = net.resolver()
    await net.resolve(resolver, "www.shop.test")
    net.asked.clear()
    assert lines(await net.resolve(resolver, "ns1.shop.test")) == ["ns1.shop.test. 60 A 1"]
    assert len(net.asked) == 1


async def test_the_cache_is_bounded(net: Network) -> None:
    resolver = net.resolver(cache=CacheOptions(entries=10))
    for number in range(30):
        await net.resolve(resolver, f"n{number}.shop.test")
    assert resolver.cache.statistics()["entries"] == 10


async def test_the_cache_is_bounded_in_bytes_too(net: Network) -> None:
    long = "".join(f'long{number} IN TXT "{number}{"x" * 250}"\n' for number in range(30))
    for host in ("10.0.0.3", "10.0.0.33"):
        net.servers[host] = zones({"shop.test": SHOP + long})
    resolver = net.resolver(cache=CacheOptions(bytes=12_000))
    for number in range(30):
        assert (await net.resolve(resolver, f"long{number}.shop.test", "TXT")).word == "answered"
    statistics = resolver.cache.statistics()
    assert 4 <= statistics["entries"] <= 12_000 // 250
    assert statistics["bytes"] <= 12_000
    assert statistics["evicted"] == 30 - statistics["entries"]
    assert next(resolver.cache.rows(1))["name"] == "long29.shop.test."
    resolver.cache.flush()
    assert resolver.cache.statistics()["bytes"] == 0


async def test_the_ways_to_zones_are_bounded_in_bytes_too(net: Network) -> None:
    resolver = net.resolver(cache=CacheOptions(bytes=24_000))
    for number in range(30):
        resolver.cache.keep_referral(Referral(b"%c" % number, (b"ns",), 60, {b"ns": ("192.0.2.1",)}), 53)
    statistics = resolver.cache.statistics()
    assert 4 <= statistics["delegations"] < 30
    assert statistics["bytes"] <= 6_000


async def test_flush_forgets_below_a_name(net: Network) -> None:
    resolver = net.resolver()
    await net.resolve(resolver, "www.shop.test")
    await net.resolve(resolver, "target.other")
    assert resolver.cache.flush(b"\x04shop\x04test\0") == 2
    net.asked.clear()
    await net.resolve(resolver, "target.other")
    assert net.asked == []
    await net.resolve(resolver, "www.shop.test")
    assert len(net.asked) == 2


@pytest.mark.parametrize("type", ["AXFR", "RRSIG"])
async def test_what_no_cache_can_tell_is_refused(net: Network, type: str) -> None:
    assert (await net.resolve(net.resolver(), "www.shop.test", type)).word == "refused"


async def test_the_epoch_changes_with_the_second_and_with_the_cache(net: Network) -> None:
    resolver = net.resolver()
    first = resolver.epoch()
    assert resolver.epoch() is first
    await net.clock.advance(1)
    second = resolver.epoch()
    assert second is not first
    await net.resolve(resolver, "www.shop.test")
    assert resolver.epoch() is not second


async def test_a_class_other_than_in_is_refused(net: Network) -> None:
    query = parse(question("www.shop.test", cls=3, flags=0x0100))
    assert query is not None
    assert net.resolver().answer(query).word == "refused"  # type: ignore[union-attr]


async def test_a_referral_to_a_hundred_names_costs_their_zone_a_few_queries(net: Network) -> None:
    """NXNSAttack: the names are all missing from the zone of a third party."""
    names = "".join(f"many IN NS x{number}.hosting.other.\n" for number in range(100))
    net.servers["10.0.0.2"] = zones({"test": TEST + names})
    resolver = net.resolver()
    answer = await net.resolve(resolver, "a.many.test")
    assert (answer.word, answer.marks[-1]) == ("servfail", ("walk", "failed"))
    assert sum(host == "10.0.0.4" for host, _, _ in net.asked) == WalkOptions().glueless == 3


async def test_one_question_costs_so_many_queries_and_no_more(net: Network) -> None:
    net.silent |= {"10.0.0.3", "10.0.0.33"}
    resolver = net.resolver(walk=WalkOptions(queries=4))
    answer = await net.resolve(resolver, "www.shop.test")
    assert len(net.asked) == 4
    assert (answer.word, answer.walk[-1]) == ("servfail", "too many queries")


async def test_queries_for_name_servers_are_of_the_same_budget(net: Network) -> None:
    """Nested lookups do not begin with a budget of their own."""
    resolver = net.resolver(walk=WalkOptions(queries=3))
    answer = await net.resolve(resolver, "glueless.test")
    assert len(net.asked) == 3
    assert answer.word == "servfail"


def flood(net: Network, resolver: Resolver, count: int) -> list[asyncio.Task[Answer]]:
    """Questions to which nobody replies, each for a name of its own."""
    queries = [parse(question(f"q{number}.shop.test", flags=0x0100)) for number in range(count)]
    walks = [resolver.answer(query) for query in queries if query is not None]
    assert all(isinstance(walk, Walk) for walk in walks)
    return [net.tasks.spawn(whole(walk), name="flood") for walk in walks]


async def test_a_flood_of_walks_without_end_keeps_nobody_from_being_answered(net: Network) -> None:
    net.silent |= {"10.0.0.3", "10.0.0.33"}
    resolver = net.resolver(walk=WalkOptions(concurrent=20))
    waiting = flood(net, resolver, 100)
    await settle(100)
    # at first nobody has had any time: what is too much fails at once
    refused = [task for task in waiting if task.done()]
    assert len(refused) == 80
    assert {(task.result().word, task.result().marks[-1]) for task in refused} == {("servfail", ("walk", "failed"))}
    assert resolver.statistics()["in_flight"] == 20
    await net.clock.advance(0.3)
    for number in range(5):
        assert (await net.resolve(resolver, f"n{number}.other")).word == "nxdomain"
        assert resolver.statistics()["in_flight"] <= 20
    statistics = resolver.statistics()
    assert (statistics["refused"], statistics["displaced"]) == (80, 1)  # the answered walk left its place to the next
    assert (await waiting[0]).word == "servfail"
    for task in waiting:
        task.cancel()


async def test_a_walk_that_is_dropped_before_it_began_asks_nobody(net: Network) -> None:
    query = parse(question("www.shop.test", flags=0x0100))
    assert query is not None
    resolver = net.resolver()
    resolver.answer(query)
    await settle(10)
    assert net.asked == []
    assert resolver.statistics()["in_flight"] == 0


async def test_what_is_noted_of_slow_servers_is_bounded(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dns_server.resolver.MAX_SLOW", 10)
    resolver = net.resolver()
    for number in range(30):
        resolver._avoid((f"192.0.2.{number}", 53))
    assert list(resolver._slow) == [(f"192.0.2.{number}", 53) for number in range(20, 30)]
    await net.clock.advance(SLOW)
    resolver._avoid(("192.0.2.99", 53))
    assert list(resolver._slow) == [("192.0.2.99", 53)]
