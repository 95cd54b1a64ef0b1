"""Coarse deadlines for many connections: one timer that looks at all, instead of a timer for each request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from stack.clock import Clock, Handle

TICK: Final = 0.25
"""Seconds between two looks: a deadline is noticed at most this late."""


class Expiring(Protocol):
    deadline: float

    def expire(self) -> None: ...


class Sweeper:
    """Looks at every member of `members` each tick while it runs, and tells those whose deadline is past."""

    def __init__(self, clock: Clock, members: Iterable[Expiring]) -> None:
        self._clock = clock
        self._members = members
        self._handle: Handle | None = None

    def start(self) -> None:
        if self._handle is None:
            self._handle = self._clock.call_later(TICK, self._sweep)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _sweep(self) -> None:
        self._handle = self._clock.call_later(TICK, self._sweep)
        now = self._clock.now()
        for member in [member for member in self._members if member.deadline <= now]:
            member.expire()
