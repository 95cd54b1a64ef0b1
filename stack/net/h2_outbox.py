"""Content on its way out over HTTP/2: held back by the windows of its receiver and by the transport, in fair turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stack.http.h2 import Connection
from stack.http.message import Fields

BURST: Final = 4
"""Frames of one stream before it is another one's turn."""


class Sending:
    """What one stream still has to send."""

    __slots__ = ("_left", "ended", "sent", "since", "stream", "trailers", "waiter")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self._left = memoryview(b"")
        self.ended = False
        self.trailers: Fields = []
        self.sent = 0
        """Bytes of content handed to the connection."""
        self.since = 0.0
        """When a byte went last, or the first had to wait."""
        self.waiter: asyncio.Future[None] | None = None

    def load(self, content: bytes, *, ended: bool, trailers: Fields) -> None:
        self._left = memoryview(content)
        self.ended = ended
        self.trailers = trailers

    def push(self, h2: Connection) -> bool:
        """Send what the windows allow, at most a burst; whether all is sent."""
        last = self.ended and not self.trailers
        turns = BURST
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
    """The streams of one connection that have content waiting. `finished(stream)`: its end has been sent."""

    def __init__(self, h2: Connection, now: Callable[[], float], finished: Callable[[int], None]) -> None:
        self._h2 = h2
        self._now = now
        self._finished = finished
        self._waiting: dict[int, Sending] = {}
        self.paused = False
        """The transport takes no more for now."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, sending: Sending, content: bytes, *, ended: bool = False, trailers: Fields | None = None) -> bool:
        """Send, or keep what cannot be sent yet; whether all is sent. Not again before it is."""
        sending.load(content, ended=ended, trailers=trailers or [])
        if not self.paused and sending.push(self._h2):
            if ended:
                self._finished(sending.stream)
            return True
        sending.since = self._now()
        self._waiting[sending.stream] = sending
        return False

    async def wait(self, sending: Sending) -> None:
        """Until what was put is sent. The exception given to `discard` when it never will be."""
        if sending.stream in self._waiting:
            sending.waiter = asyncio.get_running_loop().create_future()
            await sending.waiter

    def flush(self, write: Callable[[], None]) -> None:
        """A window or the transport opened: each stream in turn sends a burst, until nobody can."""
        progress = True
        while progress and self._waiting and not self.paused:
            progress = False
            now = self._now()
            for stream, sending in list(self._waiting.items()):
                before = sending.sent
                whole = sending.push(self._h2)
                if sending.sent > before:
                    sending.since = now
                    progress = True
                if whole:
                    self._complete(stream, sending)
            write()

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

    def stalled(self, before: float) -> list[int]:
        """Streams of which no byte went since."""
        return [stream for stream, sending in self._waiting.items() if sending.since <= before]

    def oldest(self) -> float:
        """When the stream that waits longest last sent a byte; infinity when none waits."""
        return min((sending.since for sending in self._waiting.values()), default=float("inf"))
