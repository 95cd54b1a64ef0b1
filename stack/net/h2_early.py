"""Streams that were answered before their requests had ended (RFC 9113 §8.1).

RST_STREAM with NO_ERROR says that the rest is not wanted. Sent in one go with the answer it makes some clients lose
that (curl 7.88 in the middle of an upload), so it comes a moment later: most have ended or reset the stream by then.
"""

from __future__ import annotations

from typing import Final

from stack.http import h2_wire as wire
from stack.http.h2 import Connection

PATIENCE: Final = 1.0
"""Seconds in which a client may read the answer. Its stream's window stays as it is: no more than that comes."""


class EarlyAnswers:
    """Of one server's connection. The streams count as open until they are let go of here."""

    __slots__ = ("_h2", "_held")

    def __init__(self, h2: Connection) -> None:
        self._h2 = h2
        self._held: dict[int, tuple[float, int]] = {}
        """Until when, and the bytes received that nobody has credited."""

    def hold(self, stream: int, owed: int, now: float) -> float:
        """The answer is written, and `owed` bytes are not credited yet; returns when the time is over."""
        self._held[stream] = (now + PATIENCE, owed)
        return now + PATIENCE

    def received(self, stream: int, size: int, *, ended: bool) -> bool:
        """Content came; whether it was for one of these."""
        held = self._held.get(stream)
        if held is None:
            return False
        self._held[stream] = (held[0], held[1] + size)
        if ended:
            self.let_go(stream)
        return True

    def let_go(self, stream: int) -> None:
        """The client has ended or reset it."""
        held = self._held.pop(stream, None)
        if held is not None:
            self._h2.release(stream, answered=True)
            self._h2.credit(stream, held[1])

    def expire(self, now: float) -> float:
        """Reset those whose time is over; returns when the next one's is, infinity for none."""
        for stream, (until, _) in list(self._held.items()):
            if until <= now:
                self._h2.reset(stream, wire.NO_ERROR)
                self.let_go(stream)
        return min((until for until, _ in self._held.values()), default=float("inf"))
