"""What waits to be written to disk, or to be taken out there: by key, the newest of each place, bounded in bytes."""

from __future__ import annotations

from collections.abc import Iterator

from cdn_edge.rules.vary import Names, Selection
from cdn_edge.stored import Stored

At = tuple[Names, Selection]
"""A place under a key."""


class Queue:
    """First in, first out. Until it is written a response is found here, as it may have left the memory by then."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._waiting: dict[bytes, dict[At, Stored]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, key: bytes) -> bool:
        return key in self._waiting

    def add(self, stored: Stored) -> bool:
        """In place of what waits there. False when there is no room, and then nothing waits there."""
        at = (stored.names, stored.selection)
        old = self._waiting.get(stored.key, {}).get(at)
        size = stored.size if old is None else stored.size - old.size
        if self.bytes + size > self.limit:
            self.remove(stored.key, at)
            return False
        # where the old one was in the row, so that a head that is renewed stays before its pieces
        self._waiting.setdefault(stored.key, {})[at] = stored
        self.bytes += size
        return True

    def remove(self, key: bytes, at: At | None = None) -> None:
        """What waits under a key, or at one place there, if anything does."""
        under = self._waiting.get(key)
        if under is None:
            return
        for place in list(under) if at is None else [at]:
            if (stored := under.pop(place, None)) is not None:
                self.bytes -= stored.size
        if not under:
            del self._waiting[key]

    def under(self, key: bytes) -> Iterator[Stored]:
        yield from self._waiting.get(key, {}).values()

    def oldest(self, count: int, size: int) -> list[Stored]:
        """The next to be written: at most so many, and so many bytes unless it is one. They go on waiting."""
        batch: list[Stored] = []
        total = 0
        for under in self._waiting.values():
            for stored in under.values():
                total += stored.size
                if batch and (len(batch) == count or total > size):
                    return batch
                batch.append(stored)
        return batch

    def written(self, batch: list[Stored]) -> None:
        """They are on disk: gone from here, but for what was replaced meanwhile."""
        for stored in batch:
            at = (stored.names, stored.selection)
            if self._waiting.get(stored.key, {}).get(at) is stored:
                self.remove(stored.key, at)

    def all(self) -> list[Stored]:
        return [stored for under in self._waiting.values() for stored in under.values()]

    def clear(self) -> list[Stored]:
        """Nothing waits any more; what did."""
        lost = self.all()
        self._waiting.clear()
        self.bytes = 0
        return lost
