"""Content on its way out over HTTP/2: held back by the windows of its receiver and by the transport, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stack.http.h2 import Connection
from stack.http.h2_priority import DEFAULT, Priority
from stack.http.message import Fields

BURST: Final = 4
"""Frames of one stream before it is looked at whose turn it is."""
LAP: Final = 1024 * 1024
"""Bytes after which a stream steps back behind the others of its urgency: a download never holds up what is small."""


class Sending:
    """What one stream still has to send."""

    __slots__ = (
        "_left", "around", "counted", "ended", "moved", "priority", "sent", "since", "stream", "trailers", "waiter",
    )  # fmt: skip

    def __init__(self, stream: int, priority: Priority = DEFAULT) -> None:
        self.stream = stream
        self.priority = priority
        self._left = memoryview(b"")
        self.ended = False
        self.trailers: Fields = []
        self.sent = 0
        """Bytes of content handed to the connection."""
        self.moved = 0.0
        """When a byte went last, or the first had to wait."""
        self.since = 0.0
        """When it had to wait, or was last looked at and had gone on."""
        self.counted = self.around = 0
        """What had been sent then of this stream, and of all together."""
        self.waiter: asyncio.Future[None] | None = None

    def load(self, content: bytes, *, ended: bool, trailers: Fields) -> None:
        self._left = memoryview(content)
        self.ended = ended
        self.trailers = trailers

    def push(self, h2: Connection, turns: int) -> bool:
        """Send what the windows allow, at most `turns` frames; whether all is sent."""
        last = self.ended and not self.trailers
        while self._left:
            if not turns or (room := h2.room(self.stream)) <= 0:
                return False
            turns -= 1
            piece, self._left = self._left[:room], self._left[room:]
            self.sent += len(piece)
            h2.send_data(self.stream, piece, ended=last and not self._left)
            if last and not self._left:
                return True
        if last:
            h2.send_data(self.stream, b"", ended=True)
        elif self.ended:
            h2.send_head(self.stream, self.trailers, ended=True)
        return True


class Outbox:
    """The streams of one connection that have content waiting. `finished(stream)`: its end has been sent.

    The most urgent go first (RFC 9218 §10). Of one urgency the oldest goes on its own, a lap at most, and those that
    are incremental take turns beside it.
    """

    def __init__(self, h2: Connection, now: Callable[[], float], finished: Callable[[int], None]) -> None:
        self._h2 = h2
        self._now = now
        self._finished = finished
        self._waiting: dict[int, Sending] = {}
        self._moved = 0.0
        """When a byte of any of them went last."""
        self._sent = 0
        """Bytes of content of all that had to wait."""
        self.paused = False
        """The transport takes no more for now."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, sending: Sending, content: bytes, *, ended: bool = False, trailers: Fields | None = None) -> bool:
        """Send, or keep what cannot be sent yet; whether all is sent. Not again before it is.

        Where others wait already, `flush` decides who goes first.
        """
        sending.load(content, ended=ended, trailers=trailers or [])
        if not self.paused and not self._waiting and sending.push(self._h2, BURST):
            if ended:
                self._finished(sending.stream)
            return True
        sending.moved = now = self._now()
        self._look(sending, now)
        self._waiting[sending.stream] = sending
        return False

    async def wait(self, sending: Sending) -> None:
        """Until what was put is sent. The exception given to `discard` when it never will be."""
        if sending.stream in self._waiting:
            sending.waiter = asyncio.get_running_loop().create_future()
            await sending.waiter

    def flush(self, write: Callable[[], None]) -> None:
        """A window or the transport opened, or more has come: send until nobody can."""
        while self._waiting and not self.paused and self._round():
            write()
        write()

    def _round(self) -> bool:
        """One turn for each whose turn it is; whether anybody could send."""
        now = self._now()
        waiting = list(self._waiting.values())
        if len(waiting) > 1:
            waiting.sort(key=_order)
        progress = alone = False
        urgency = -1
        for sending in waiting:
            if sending.priority.urgency != urgency:
                if progress:
                    break  # the others wait until nobody here can send
                urgency = sending.priority.urgency
            incremental = sending.priority.incremental
            if alone and not incremental:
                continue
            if sending.stream not in self._waiting:
                continue  # gone by what another one's end has brought about
            before = sending.sent
            whole = sending.push(self._h2, 1 if incremental else BURST)
            if whole:
                self._complete(sending.stream, sending)
            if whole or sending.sent > before:
                self._sent += sending.sent - before
                sending.moved = self._moved = now
                progress = True
                alone = alone or not incremental
        return progress

    def _complete(self, stream: int, sending: Sending) -> None:
        self._waiting.pop(stream, None)
        if sending.waiter is not None and not sending.waiter.done():
            sending.waiter.set_result(None)
        if sending.ended:
            self._finished(stream)

    def discard(self, stream: int, error: BaseException) -> None:
        """The stream is gone."""
        sending = self._waiting.pop(stream, None)
        if sending is not None and sending.waiter is not None and not sending.waiter.done():
            sending.waiter.set_exception(error)

    def _look(self, sending: Sending, now: float) -> None:
        sending.since, sending.counted, sending.around = now, sending.sent, self._sent

    def stalled(self, now: float, window: float, rate: int) -> list[int]:
        """Streams of which nothing went for `window`, or too little in it, though it was their turn: their receiver
        opens no window, or one byte at a time.
        """
        return [sending.stream for sending in self._waiting.values() if self._is_stalled(sending, now, window, rate)]

    def _is_stalled(self, sending: Sending, now: float, window: float, rate: int) -> bool:
        least = max(1.0, rate * window)
        shut = self._h2.is_shut(sending.stream)
        if sending.moved + window <= now and (shut or self._moved + window <= now):
            return True
        if sending.since + window <= now:
            if sending.sent - sending.counted < least and (shut or self._sent - sending.around < least):
                return True
            self._look(sending, now)
        return False

    def oldest(self) -> float:
        """Since when the stream waits that has to be looked at first; infinity when none waits."""
        moved = self._moved
        waiting = self._waiting.values()
        return min((min(sending.since, max(sending.moved, moved)) for sending in waiting), default=float("inf"))


def _order(sending: Sending) -> tuple[int, int, int]:
    return sending.priority.urgency, sending.sent // LAP, sending.stream
