"""The Date field's value, formatted once a second."""

from __future__ import annotations

from stack.clock import Clock
from stack.http.dates import http_date


class CurrentDate:
    """Call it: now as an HTTP date (RFC 9110 §5.6.7)."""

    __slots__ = ("_clock", "_now", "_text", "_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now = clock.now
        self._text = b""
        self._until = float("-inf")

    def __call__(self) -> bytes:
        now = self._now()
        if now >= self._until:
            wall = self._clock.time()
            self._text = http_date(wall)
            self._until = now + 1.0 - wall % 1.0
        return self._text
