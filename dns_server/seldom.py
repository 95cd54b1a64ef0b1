"""Log lines that a client can cause are written seldom: a flood of them must not fill a disk."""

from __future__ import annotations

from collections.abc import Callable


class Seldom:
    """`told(...)` for each event; gives how many there were since the last line, or 0 when it is too soon for one."""

    def __init__(self, now: Callable[[], float], every: float = 10.0) -> None:
        """`every`: the least seconds from one line to the next."""
        self._now = now
        self._every = every
        self._next = float("-inf")
        self._count = 0

    def told(self) -> int:
        self._count += 1
        now = self._now()
        if now < self._next:
            return 0
        self._next = now + self._every
        count, self._count = self._count, 0
        return count
