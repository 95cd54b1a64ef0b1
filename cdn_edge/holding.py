"""Slices that answers under way keep hold of, bounded in bytes: clients that read slowly would else keep as many alive
as there are clients, though the store has evicted them.
"""

from __future__ import annotations

from collections import OrderedDict


class Held:
    """`body` is empty once it has been taken away: others need the room."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


class Holding:
    """Where there are too many, who has not moved on for longest loses its hold; what it was of may still be stored."""

    def __init__(self, limit: int) -> None:
        """Bytes; one slice may always be held."""
        self._limit = limit
        self._held: OrderedDict[Held, None] = OrderedDict()
        self.bytes = 0

    def hold(self, body: bytes) -> Held:
        held = Held(body)
        self._held[held] = None
        self.bytes += len(body)
        while self.bytes > self._limit and len(self._held) > 1:
            self.release(next(iter(self._held)))
        return held

    def used(self, held: Held) -> None:
        if held in self._held:
            self._held.move_to_end(held)

    def release(self, held: Held) -> None:
        """Safe to call again."""
        if held in self._held:
            del self._held[held]
            self.bytes -= len(held.body)
            held.body = b""
