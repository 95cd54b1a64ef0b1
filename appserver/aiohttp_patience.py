"""Time-outs that aiohttp lacks: it waits for ever for heads and content that trickle in, and for who does not read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from stack.clock import Clock
from stack.config.base import Timeouts
from stack.net.pace import Pace, takes, unsent

INFINITY: Final = float("inf")
_408: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Patience(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol, and looks at the clock when the server's sweeper says so."""

    def __init__(self, handler: RequestHandler, *, timeouts: Timeouts, clock: Clock, members: set[Patience]) -> None:
        self._handler = handler
        self._times = timeouts
        self._now = clock.now
        self._members = members
        self._transport: asyncio.Transport
        self._received = 0
        self._pace: Pace | None = None
        """Of the content that a request is waiting for."""
        self._request: object = None
        self._unsent = 0
        self._full = False
        self._partial = False
        """Bytes of a head have come, and not its end."""
        self._head_due = INFINITY
        self.deadline = INFINITY

    # Events of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._members.add(self)
        self._head_due = self.deadline = self._now() + self._times.head
        self._handler.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._members.discard(self)
        self.deadline = INFINITY
        self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        handler, now = self._handler, self._now()
        idle = not self._busy
        self._received += len(data)
        if self._pace is not None:
            self._pace.heard = now
        handler.data_received(data)
        if not idle:
            return
        if self._busy:
            self._partial, self._head_due, self._pace = False, INFINITY, None
            self._look_by(now + self._times.body)
        else:
            self._partial = True  # what follows does not prolong it
            if self._head_due == INFINITY:
                self._head_due = now + self._times.head
                self._look_by(self._head_due)

    @property
    def _busy(self) -> bool:
        handler = self._handler
        return handler._request_in_progress or bool(handler._messages)

    def _look_by(self, at: float) -> None:
        if not self._full:
            self.deadline = at

    def eof_received(self) -> None:
        self._handler.eof_received()

    def pause_writing(self) -> None:
        self._full = True
        self._unsent = unsent(self._transport)
        self.deadline = self._now() + self._times.send
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        self.deadline = self._now() + self._times.body
        self._handler.resume_writing()

    # What time brings.

    def expire(self) -> None:
        times, now = self._times, self._now()
        self.deadline = INFINITY
        if self._full:
            before, self._unsent = self._unsent, unsent(self._transport)
            if takes(before, self._unsent, times.send, times.send_rate):
                self.deadline = now + times.send
            else:
                self._reset()
        elif self._busy:
            self._expire_content(self._handler._current_request, now)
        elif self._head_due <= now:
            if self._partial:
                self._transport.write(_408)
            self._handler.force_close()
        else:
            self.deadline = self._head_due  # idle: aiohttp closes it

    def _expire_content(self, request: web.BaseRequest | None, now: float) -> None:
        times = self._times
        content = request.content if request is not None else None
        if content is None or content.is_eof() or content.exception() is not None:
            self.deadline = now + times.body  # look again: another request may follow
            return
        if self._pace is None or self._request is not request or content._waiter is None:
            self._pace, self._request = Pace(now), request
            self._pace.restart(self._received, now)
            self.deadline = now + times.body
            return
        due = self._pace.due(self._received, now, times.body, times.body_rate)
        if due:
            self.deadline = due
        else:
            content.set_exception(web.HTTPRequestTimeout())
            self.deadline = now + times.body

    def _reset(self) -> None:
        if (raw := self._transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
