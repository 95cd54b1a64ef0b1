"""How many bytes a store may hold, so that the process takes no more than it was given for it.

Memory that was freed is not always memory that can be used for something else: an arena of small blocks stays as long
as one of them is in use, and a heap has holes. Where what is stored changes from many small responses to a few large
ones, that can be half of all. So the process is looked at now and then, and what it takes for nothing is taken off.
"""

from __future__ import annotations

from typing import Final, Protocol

_SLACK: Final = 0.07
"""Of the limit: what an allocator may keep for itself before anything is taken off."""
_LOOKS: Final = 128
"""In the time in which as many bytes are stored as the store has room for."""
_TRIMS: Final = 2
"""Looks for one time that memory is given back."""
_BATCH: Final = 0.1
_MOST_AT_ONCE: Final = 8 * 1024 * 1024
_BELIEVED: Final = 16
"""Looks after which most of what is seen is believed."""
_LEAST: Final = 0.25
"""Of the limit: what is never taken off."""


class Memory(Protocol):
    def grown(self) -> int | None:
        """Bytes that the process takes above those it took when empty; None where that cannot be known."""

    def trim(self) -> None:
        """Give back what can be."""


class Room:
    """`bytes` is what may be stored now: at most `limit`."""

    __slots__ = ("_every", "_left", "_limit", "_looks", "_memory", "_most_small", "batch", "bytes")

    def __init__(self, limit: int, memory: Memory | None) -> None:
        self._limit = limit
        self._memory = memory
        self._every = limit // _LOOKS
        self._left = self._every
        self._looks = 0
        self._most_small = 0
        """The most bytes that were in small blocks, as far as their arenas may still be there."""
        self.bytes = limit
        self.batch = 0
        """Bytes to take out at once, besides. What was stored together lies together: where only a little of it goes,
        what comes next takes its place, and no arena is ever empty."""

    def look(self, size: int, held: int, small: int) -> None:
        """To be called with each response that is stored, of `size` bytes; now and then it looks.

        Of `held` bytes in use, stored or coming in, `small` are in small blocks.
        """
        self._left -= size
        if small > self._most_small:
            self._most_small = small
        if self._left < 0 and self._memory is not None:
            self._left = self._every
            self._looks += 1
            self._measure(self._memory, held, small)

    def _measure(self, memory: Memory, held: int, small: int) -> None:
        slack = int(self._limit * _SLACK)
        wasted = (memory.grown() or held) - held
        if wasted > slack and self._looks >= _TRIMS:
            self._looks = 0
            memory.trim()
            wasted = (memory.grown() or held) - held
        unused = self._most_small - small
        if wasted < unused:  # arenas have been given back, or others are in them; slowly, since counts are rough
            self._most_small -= (unused - max(0, wasted)) // _BELIEVED
        # what is more than that is not the allocator's: connections, and what is on its way through them
        wasted = min(wasted, unused + slack)
        self.bytes = max(int(self._limit * _LEAST), self._limit - max(0, wasted - slack))
        if wasted > slack:
            self.batch = min(int(self._limit * _BATCH), _MOST_AT_ONCE)
