"""A mapping that knows what it weighs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shelf(Generic[K, V]):
    """Bounded by number and by bytes: what was written longest ago gives way."""

    def __init__(self, *, entries: int, bytes: int, size: Callable[[V], int]) -> None:
        """`size`: of a value, in bytes; it must not change."""
        self._max_entries = entries
        self._max_bytes = bytes
        self._size = size
        self._items: dict[K, V] = {}
        self.bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        self.drop(key)  # to the end: the order is that of writing
        self._items[key] = value
        self.bytes += self._size(value)
        while len(self._items) > self._max_entries or self.bytes > self._max_bytes:
            self.drop(next(iter(self._items)))
            self.evicted += 1

    def drop(self, key: K) -> None:
        value = self._items.pop(key, None)
        if value is not None:
            self.bytes -= self._size(value)

    def drop_where(self, condition: Callable[[K], bool]) -> None:
        for key in [key for key in self._items if condition(key)]:
            self.drop(key)

    def latest(self) -> Iterable[tuple[K, V]]:
        return reversed(self._items.items())

    def values(self) -> Iterable[V]:
        return self._items.values()
