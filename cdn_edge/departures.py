"""What was taken out of the store by order, when, and by whose: the latest, for who asks why it is a miss."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from stack.clock import Clock

_MOST: Final = 1024


@dataclass(frozen=True, slots=True)
class Departure:
    at: float
    """Monotonic seconds."""
    by: bytes
    """The method of the request that changed it (RFC 9111 §4.4); empty: a purge."""
    count: int
    """Variants that went."""


class Departures:
    def __init__(self, clock: Clock, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._known: OrderedDict[bytes, Departure] = OrderedDict()

    def note(self, key: bytes, by: bytes, count: int) -> None:
        self._known[key] = Departure(self._clock.now(), by, count)
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def get(self, key: bytes) -> Departure | None:
        return self._known.get(key)
