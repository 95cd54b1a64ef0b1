"""S3-FIFO by bytes."""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict

from hypothesis import given, settings
from hypothesis import strategies as st

from cdn_edge.eviction import Item, Queue, S3Fifo


class Thing:
    def __init__(self, name: int, size: int = 10) -> None:
        self.name, self.size = name, size
        self.uses = 0
        self.queue: Queue | None = None
        self.older: Item | None = None
        self.newer: Item | None = None

    @property
    def identity(self) -> int:
        return self.name


def test_a_queue_gives_up_any_item() -> None:
    for order in itertools.permutations(range(4)):
        queue = Queue()
        things = [Thing(n) for n in range(4)]
        for thing in things:
            queue.push(thing)
        for n, left in zip(order, (3, 2, 1, 0), strict=True):
            queue.remove(things[n])
            assert (queue.count, queue.bytes) == (left, left * 10)
        assert queue.oldest is None
        assert queue.newest is None


def test_what_is_used_again_stays_and_a_scan_passes_through() -> None:
    policy: S3Fifo[Thing] = S3Fifo(1000)
    loved = [Thing(n) for n in range(50)]
    for thing in loved:
        policy.add(thing)
        policy.used(thing)
    gone: set[int] = set()
    for n in range(1000, 3000):
        policy.add(Thing(n))
        while policy.bytes > 1000:
            victim = policy.evict()
            assert victim is not None
            gone.add(victim.name)
    assert not gone & {thing.name for thing in loved}


def test_what_comes_back_soon_goes_to_the_main_queue() -> None:
    policy: S3Fifo[Thing] = S3Fifo(10_000)
    policy.add(Thing(1))
    policy.add(kept := Thing(2))
    policy.used(kept)
    assert policy.evict().name == 1  # type: ignore[union-attr]
    policy.add(again := Thing(1))
    assert again.queue is policy._main


def test_nothing_left() -> None:
    policy: S3Fifo[Thing] = S3Fifo(100)
    assert policy.evict() is None
    policy.add(thing := Thing(1))
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
                assert held.pop(victim.name) is victim
        assert len(policy) == len(held)
        assert policy.bytes == sum(thing.size for thing in held.values())


def hit_ratio_lru(names: list[int], room: int) -> float:
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for name in names:
        if name in cache:
            hits += 1
            cache.move_to_end(name)
        else:
            cache[name] = None
            if len(cache) > room:
                cache.popitem(last=False)
    return hits / len(names)


def hit_ratio(names: list[int], room: int) -> float:
    policy: S3Fifo[Thing] = S3Fifo(room * 10_000)
    cache: dict[int, Thing] = {}
    hits = 0
    for name in names:
        if (thing := cache.get(name)) is not None:
            hits += 1
            policy.used(thing)
            continue
        cache[name] = Thing(name, 10_000)
        policy.add(cache[name])
        while len(policy) > room:
            victim = policy.evict()
            assert victim is not None
            del cache[victim.name]
    return hits / len(names)


def test_it_hits_more_than_lru_on_a_web_like_stream() -> None:
    objects = 5000
    weights = [1 / rank for rank in range(1, objects + 1)]
    stream = random.Random(3).choices(range(objects), weights, k=60_000)
    for share in (0.01, 0.1):
        room = int(objects * share)
        assert hit_ratio(stream, room) > hit_ratio_lru(stream, room) + 0.03
