"""Exchanges that have ended, told to log and metrics many at a time.

Code that runs a hundred times in a row costs less than the same code run once within each of a hundred requests, and
no request waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from stack.clock import Clock, Handle
from stack.telemetry.brief import Brief
from stack.telemetry.exchange import Exchange

MOST: Final = 32
"""Exchanges that are told of at once without waiting. With more of them kept, each request finds its memory colder."""
Reader = Callable[[Sequence[Exchange | Brief]], object]
HELD: Final = 4096
"""Bytes of content that a request may have had to be kept until then."""


class Ended:
    """Call it with each. `readers` get them in order; who is asked for what came of them has to call `tell` before."""

    __slots__ = ("_clock", "_timer", "_waiting", "_within", "readers")

    def __init__(self, clock: Clock, readers: Sequence[Reader], *, within: float | None) -> None:
        """`within`: seconds after which the readers are told at the latest. None: when they are asked."""
        self._clock = clock
        self.readers = readers
        self._within = within
        self._waiting: list[Exchange | Brief] = []
        self._timer: Handle | None = None

    def __call__(self, exchange: Exchange) -> None:
        waiting = self._waiting
        waiting.append(exchange)
        if len(waiting) >= MOST or exchange.bytes_in > HELD:
            self.tell()
        elif self._timer is None and self._within is not None:
            self._timer = self._clock.call_later(self._within, self._due)

    def brief(self, told: Brief) -> None:
        """The same of one in its short form."""
        waiting = self._waiting
        waiting.append(told)
        if len(waiting) >= MOST:
            self.tell()
        elif self._timer is None and self._within is not None:
            self._timer = self._clock.call_later(self._within, self._due)

    def _due(self) -> None:
        self._timer = None
        self.tell()

    def tell(self) -> None:
        if waiting := self._waiting:
            self._waiting = []
            for reader in self.readers:
                reader(waiting)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.tell()
