"""What leaves the store when it is full: S3-FIFO (Yang et al., SOSP 2023), counted in bytes.

Most objects of the web are asked for once. So a new one enters a small queue and leaves it soon, unless it was asked
for again; what comes back shortly after it left goes to the main queue at once. A hit bumps one small number, and a
scan over many objects passes through the small queue without touching the main one.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

from cdn_edge.ghost import Ghost

SMALL_SHARE: Final = 0.1
"""Of the bytes: the small queue's."""
LARGE_SHARE: Final = 0.06
"""Of the small queue: what is larger has to be asked for twice, as it takes the place of much that is small."""
LARGE_LEAST: Final = 65_536
"""Bytes: what is no larger than this is never large."""
MOST_USES: Final = 3
_MOST_SPARED: Final = 1000
"""Items that one look for a victim spares: where all are in use, it does not go round them all, up to three times."""
REMEMBERED_FOR: Final = 1024
"""Bytes of the store for which one name of what has left is remembered, at most."""


class Item(Protocol):
    """What the policy orders. The slots are the policy's own, so that no second object is needed for each."""

    size: int
    uses: int
    queue: Queue | None
    older: Item | None
    newer: Item | None

    @property
    def identity(self) -> Hashable:
        """Equal for the same thing stored anew."""


class Queue:
    """First in, first out; takes any item out in the same time."""

    __slots__ = ("bytes", "count", "newest", "oldest")

    def __init__(self) -> None:
        self.oldest: Item | None = None
        self.newest: Item | None = None
        self.bytes = self.count = 0

    def push(self, item: Item) -> None:
        item.queue, item.older, item.newer = self, self.newest, None
        if self.newest is None:
            self.oldest = item
        else:
            self.newest.newer = item
        self.newest = item
        self.bytes += item.size
        self.count += 1

    def replace(self, old: Item, new: Item) -> None:
        """At the same place."""
        new.queue, new.older, new.newer = self, old.older, old.newer
        if old.older is None:
            self.oldest = new
        else:
            old.older.newer = new
        if old.newer is None:
            self.newest = new
        else:
            old.newer.older = new
        old.queue = old.older = old.newer = None
        self.bytes += new.size - old.size

    def remove(self, item: Item) -> None:
        older, newer = item.older, item.newer
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self.newest = older
        else:
            newer.older = older
        item.queue = item.older = item.newer = None
        self.bytes -= item.size
        self.count -= 1


T = TypeVar("T", bound=Item)


class Eviction(Protocol[T]):
    """What a store needs of a policy. LRU, SIEVE and others fit it as well."""

    @property
    def bytes(self) -> int:
        """Sizes of all items."""

    @property
    def memory(self) -> int:
        """Bytes that the policy itself takes, full or empty."""

    def admits(self, item: T) -> bool:
        """Whether it is worth what would have to leave for it. Asked once, before `add`, where there is no room."""

    def add(self, item: T) -> None: ...

    def replace(self, old: T, new: T) -> None:
        """The same thing anew: it keeps its place and its uses."""

    def used(self, item: T) -> None: ...

    def remove(self, item: T) -> None: ...

    def evict(self) -> T | None:
        """Take out what is worth least; None when nothing is left."""


class S3Fifo(Generic[T]):
    """See the module. `limit` is the store's bound in bytes: the queues' shares are measured by it."""

    def __init__(self, limit: int) -> None:
        self._small_limit = int(limit * SMALL_SHARE)
        self._large = max(int(self._small_limit * LARGE_SHARE), LARGE_LEAST)
        self._small = Queue()
        self._main = Queue()
        self._ghost = Ghost(limit // REMEMBERED_FOR)

    def __len__(self) -> int:
        return self._small.count + self._main.count

    @property
    def bytes(self) -> int:
        return self._small.bytes + self._main.bytes

    @property
    def memory(self) -> int:
        return self._ghost.bytes

    def admits(self, item: T) -> bool:
        if item.size <= self._large:
            return True
        name = hash(item.identity)
        known = self._ghost.take(name, self._remembered)
        self._ghost.add(name)  # if it is let in, for `add`: it has been asked for again
        return known

    def add(self, item: T) -> None:
        item.uses = 0
        if self._ghost.take(hash(item.identity), self._remembered):
            self._main.push(item)
        else:
            self._small.push(item)

    @property
    def _remembered(self) -> int:
        """Names: as many as there are objects."""
        return len(self) + 1

    def replace(self, old: T, new: T) -> None:
        assert old.queue is not None
        new.uses = old.uses
        old.queue.replace(old, new)

    def used(self, item: T) -> None:
        if item.uses < MOST_USES:
            item.uses += 1

    def remove(self, item: T) -> None:
        if item.queue is not None:
            item.queue.remove(item)

    def evict(self) -> T | None:
        spared = 0
        while True:
            small = self._small.oldest
            if small is not None and (self._small.bytes > self._small_limit or self._main.oldest is None):
                self._small.remove(small)
                if small.uses > 0 and spared < _MOST_SPARED:
                    spared += 1
                    small.uses = 0
                    self._main.push(small)
                    continue
                self._ghost.add(hash(small.identity))
                return small  # type: ignore[return-value]  # only items of this type are ever added
            main = self._main.oldest
            if main is None:
                return None
            self._main.remove(main)
            if main.uses == 0 or spared >= _MOST_SPARED:
                return main  # type: ignore[return-value]
            spared += 1
            main.uses -= 1
            self._main.push(main)
