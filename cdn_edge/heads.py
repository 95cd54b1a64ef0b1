"""The heads that fresh hits are answered with: kept for a second, for what is asked for just now."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from cdn_edge.rules.vary import Names, Selection
from cdn_edge.stored import NEVER, NO_HEAD, Stored

_COST: Final = 224
"""Bytes of a head besides those that the stored one has as well, and of its places here."""
_UNIT: Final = 64
"""Bytes; costs are counted in small numbers, which are no objects."""
_AT_ONCE: Final = 2
"""Looked at with each new one: more than come, so that the old ones go without a sweep."""


class Heads:
    """Counts them, and takes out those that have had their second, or the oldest above `limit` bytes.

    They are known by their places: what has left the store, with its content, is not kept alive here.
    """

    __slots__ = ("_at", "_costs", "_limit", "_places", "_units", "_untils")

    def __init__(self, limit: int, at: Callable[[bytes, Names, Selection], Stored | None]) -> None:
        """`at` finds what is stored at a place."""
        self._limit = limit // _UNIT
        self._at = at
        self._places: deque[bytes | tuple[bytes, Names, Selection]] = deque()
        """A key alone, where there is no Vary."""
        self._untils: deque[float] = deque()
        self._costs: deque[int] = deque()
        self._units = 0

    @property
    def bytes(self) -> int:
        return self._units * _UNIT

    def add(self, stored: Stored, now: float) -> None:
        """Its head was made just now."""
        for _ in range(_AT_ONCE):
            if not self._untils or self._untils[0] > now:
                break
            self._drop_oldest(stored)
        cost = (len(stored.head) + _COST) // _UNIT
        while self._units + cost > self._limit and self._units:
            self._drop_oldest(stored)
        self._places.append(stored.identity if stored.names else stored.key)
        self._untils.append(stored.hit_until)
        self._costs.append(cost)
        self._units += cost

    def _drop_oldest(self, renewed: Stored) -> None:
        """But what is `renewed`: its new head may end when the old one did."""
        self._units -= self._costs.popleft()
        place, until = self._places.popleft(), self._untils.popleft()
        stored = self._at(place, (), ()) if isinstance(place, bytes) else self._at(*place)
        if stored is not None and stored is not renewed and stored.hit_until == until:
            # else it was made anew, and stands further behind
            stored.hit, stored.hit_until = NO_HEAD, NEVER
