"""Hit ratios of eviction policies over drawn streams of requests: nothing but arithmetic."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cdn_edge.eviction import Eviction, Item, Queue, S3Fifo


class Thing:
    """What is cached."""

    __slots__ = ("identity", "newer", "older", "queue", "size", "uses")

    def __init__(self, identity: int, size: int) -> None:
        self.identity, self.size = identity, size
        self.uses = 0
        self.queue: Queue | None = None
        self.older: Item | None = None
        self.newer: Item | None = None


class Lru:
    """The least recently used goes."""

    memory: Final = 0

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self._items: OrderedDict[Thing, None] = OrderedDict()

    def admits(self, item: Thing) -> bool:
        return True

    def add(self, item: Thing) -> None:
        self._items[item] = None
        self.bytes += item.size

    def replace(self, old: Thing, new: Thing) -> None:
        self.remove(old)
        self.add(new)

    def used(self, item: Thing) -> None:
        self._items.move_to_end(item)

    def remove(self, item: Thing) -> None:
        del self._items[item]
        self.bytes -= item.size

    def evict(self) -> Thing | None:
        item, _ = self._items.popitem(last=False)
        self.bytes -= item.size
        return item


class Sieve(Lru):
    """Zhang et al., NSDI 2024: one queue, and a hand that walks from old to new and spares what was used."""

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self._queue = Queue()
        self._hand: Item | None = None

    def add(self, item: Thing) -> None:
        self._queue.push(item)
        self.bytes += item.size

    def used(self, item: Thing) -> None:
        item.uses = 1

    def evict(self) -> Thing | None:
        hand = self._hand or self._queue.oldest
        while hand is not None and hand.uses:
            hand.uses = 0
            hand = hand.newer or self._queue.oldest
        if hand is None:
            return None
        self._hand = hand.newer
        self._queue.remove(hand)
        self.bytes -= hand.size
        return hand  # type: ignore[return-value]  # only things are ever added


POLICIES: Final[dict[str, Callable[[int], Eviction[Thing]]]] = {"LRU": Lru, "SIEVE": Sieve, "S3-FIFO": S3Fifo}


@dataclass(frozen=True, slots=True)
class Stream:
    """`names` in the order they are asked for, `sizes` by name."""

    names: Sequence[int]
    sizes: Sequence[int]

    @property
    def bytes(self) -> int:
        """Of all that is ever asked for, each once."""
        return sum(self.sizes[name] for name in set(self.names))


def zipf(objects: int, requests: int, *, web: bool = False, scans: int = 0, seed: int = 7) -> Stream:
    """Popularity by Zipf 1.0. Contents of 10 kB, or `web`: lognormal, median 8 KB, at most 20 MB.

    `scans`: so often in between somebody asks for a fifth as many others as there are objects, each once.
    """
    chance = random.Random(seed)
    each = objects // 5
    total = objects + scans * each
    sizes = [min(int(chance.lognormvariate(9, 1.8)) + 500, 20_000_000) if web else 10_000 for _ in range(total)]
    sums = list(itertools.accumulate(1 / rank for rank in range(1, objects + 1)))
    drawn = [bisect(sums, chance.random() * sums[-1]) for _ in range(requests)]
    return Stream(list(_with_scans(drawn, objects, scans, each)), sizes)


def _with_scans(drawn: list[int], objects: int, scans: int, each: int) -> Iterator[int]:
    every = len(drawn) // scans if scans else len(drawn) + 1
    for at, name in enumerate(drawn):
        yield name
        if scans and at % every == every // 2:
            first = objects + at // every * each
            yield from range(first, first + each)


def ratios(stream: Stream, policy: Eviction[Thing], limit: int) -> tuple[float, float]:
    """Of the requests, and of the bytes. Things larger than an eighth of `limit` are not kept, as in the store."""
    held: dict[int, Thing] = {}
    hits = bytes_hit = asked = 0
    for name in stream.names:
        size = stream.sizes[name]
        asked += size
        thing = held.get(name)
        if thing is not None:
            hits += 1
            bytes_hit += size
            policy.used(thing)
            continue
        if size > limit // 8:
            continue
        thing = Thing(name, size)
        full = policy.bytes + size > limit
        if full and not policy.admits(thing):
            continue
        while policy.bytes + size > limit:
            victim = policy.evict()
            assert victim is not None
            del held[victim.identity]
        held[name] = thing
        policy.add(thing)
    return hits / len(stream.names), bytes_hit / asked


def in_turn(stream: Stream, workers: int, seed: int = 11) -> list[Stream]:
    """What each of several processes is asked for, where any of them may get any request."""
    chance = random.Random(seed)
    names: list[list[int]] = [[] for _ in range(workers)]
    for name in stream.names:
        names[chance.randrange(workers)].append(name)
    return [Stream(own, stream.sizes) for own in names]
