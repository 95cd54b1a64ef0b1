"""S3-FIFO by bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn_edge.eviction import Queue, S3Fifo
from tests.support.hit_ratios import Lru, Thing, ratios, zipf


def test_a_queue_gives_up_any_item() -> None:
    for order in itertools.permutations(range(4)):
        queue = Queue()
        things = [Thing(n, 10) for n in range(4)]
        for thing in things:
            queue.push(thing)
        for n, left in zip(order, (3, 2, 1, 0), strict=True):
            queue.remove(things[n])
            assert (queue.count, queue.bytes) == (left, left * 10)
        assert queue.oldest is None
        assert queue.newest is None


def test_what_is_used_again_stays_and_a_scan_passes_through() -> None:
    policy: S3Fifo[Thing] = S3Fifo(1000)
    loved = [Thing(n, 10) for n in range(50)]
    for thing in loved:
        policy.add(thing)
        policy.used(thing)
    gone: set[int] = set()
    for n in range(1000, 3000):
        policy.add(Thing(n, 10))
        while policy.bytes > 1000:
            victim = policy.evict()
            assert victim is not None
            gone.add(victim.identity)
    assert not gone & {thing.identity for thing in loved}


def test_what_comes_back_soon_goes_to_the_main_queue() -> None:
    policy: S3Fifo[Thing] = S3Fifo(10_000)
    policy.add(Thing(1, 10))
    policy.add(kept := Thing(2, 10))
    policy.used(kept)
    assert policy.evict().identity == 1  # type: ignore[union-attr]
    policy.add(again := Thing(1, 10))
    assert again.queue is policy._main


@pytest.mark.parametrize("in_main", [False, True])
def test_where_all_are_in_use_one_look_does_not_go_round_all_of_them(in_main: bool) -> None:
    policy: S3Fifo[Thing] = S3Fifo(1_000_000 if in_main else 50_000)
    things = [Thing(n, 10) for n in range(5000)]
    for thing in things:
        policy.add(thing)
        if in_main:
            policy._small.remove(thing)
            policy._main.push(thing)
        for _ in range(3):
            policy.used(thing)
    for _ in range(3):
        before = sum(thing.uses for thing in things)
        victim = policy.evict()
        assert victim is not None
        assert before - sum(thing.uses for thing in things) <= 3000 + victim.uses
        things.remove(victim)


def test_nothing_left() -> None:
    policy: S3Fifo[Thing] = S3Fifo(100)
    assert policy.evict() is None
    policy.add(thing := Thing(1, 10))
    policy.remove(thing)
    policy.remove(thing)
    assert policy.evict() is None
    assert policy.bytes == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aurv"), st.integers(0, 12), st.integers(1, 40)), max_size=120))
def test_it_holds_what_was_added_and_not_taken_out(steps: list[tuple[str, int, int]]) -> None:
    policy: S3Fifo[Thing] = S3Fifo(400)
    held: dict[int, Thing] = {}
    for what, name, size in steps:
        if what == "a" and name not in held:
            held[name] = Thing(name, size)
            policy.add(held[name])
        elif what == "u" and name in held:
            policy.used(held[name])
        elif what == "r" and name in held:
            policy.remove(held.pop(name))
        elif what == "v":
            victim = policy.evict()
            assert (victim is None) == (not held)
            if victim is not None:
                assert held.pop(victim.identity) is victim
        assert len(policy) == len(held)
        assert policy.bytes == sum(thing.size for thing in held.values())


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("web", [False, True], ids=["equal", "web-like"])
@pytest.mark.parametrize("scans", [0, 10], ids=["", "scans"])
def test_it_hits_more_than_lru_on_a_web_like_stream(share: float, web: bool, scans: int) -> None:
    stream = zipf(4000, 30_000, web=web, scans=scans)
    limit = int(sum(stream.sizes[:4000]) * share)
    requests, content = ratios(stream, S3Fifo(limit), limit)
    lru_requests, lru_content = ratios(stream, Lru(limit), limit)
    assert requests > lru_requests + 0.03
    assert content > lru_content + 0.03


def test_what_is_large_has_to_be_asked_for_twice_before_much_goes_for_it() -> None:
    policy: S3Fifo[Thing] = S3Fifo(20_000_000)
    assert policy.admits(Thing(1, 100_000))
    large = Thing(2, 130_000)
    assert not policy.admits(large)
    assert policy.admits(large)
    policy.add(large)
    assert large.queue is policy._main


def test_in_a_small_store_little_is_large() -> None:
    policy: S3Fifo[Thing] = S3Fifo(100_000)
    assert policy.admits(Thing(1, 65_536))
    assert not policy.admits(Thing(2, 65_537))
