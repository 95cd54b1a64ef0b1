"""How long a downstream HTTP/1.1 connection waits for its client, and how it ends (RFC 9112 §9)."""

from __future__ import annotations

import asyncio
from typing import Final

from stack.errors import HopError, RequestTimeout
from stack.http.message import Peer
from stack.net.context import Context
from stack.net.h1_sender import INFINITY, H1Sender
from stack.net.pace import patience, takes, too_slow, unsent
from stack.telemetry.exchange import Exchange

LINGER: Final = 2.0
LINGER_MOST: Final = 30.0
"""What still comes after the last response is read and dropped, so that no reset eats it (RFC 9112 §9.6): for so many
seconds of silence, and in all."""


class H1Patience(H1Sender):
    """The waiting half of `H1ServerConnection`. The server's sweeper calls `expire` when a deadline is past."""

    __slots__ = (
        "__weakref__", "_buffer", "_eof", "_exchange", "_linger_until", "_lingering", "_loop", "_paused_reading",
        "_resting", "_unsent", "deadline", "peer",
    )  # fmt: skip

    def __init__(self, context: Context, peer: Peer) -> None:
        super().__init__(context)
        self.peer = peer
        self._loop: asyncio.AbstractEventLoop
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._paused_reading = False
        self._lingering = False
        self._linger_until = INFINITY
        self._eof = False
        self._unsent = 0
        self._resting = False
        """The time of an idle connection is over, and `_unsent` what its kernel still held."""
        self.deadline = INFINITY

    def _after(self) -> None:
        raise NotImplementedError

    def refuse(self, error: HopError) -> None:
        raise NotImplementedError

    # Events of the transport.

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
            self._unsent = unsent(self.transport)
            self.deadline = self._ctx.now() + self._ctx.timeouts.send

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if self._closing or self._lingering:
            return
        if self._content is not None and not self._content.done:
            self._await_content()
        elif self._request is not None:
            self.deadline = INFINITY
        else:
            self.deadline = self._ctx.now() + self._ctx.timeouts.idle
            self._after()

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self._closing:
            self._paused_reading = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused_reading and not self._closing:
            self._paused_reading = False
            if self._content is not None and not self._content.done and self._writable is None:
                self._await_content()
            self.transport.resume_reading()

    def _await_content(self) -> None:
        """From now on the client is waited for: until now it was us who did not read."""
        content = self._content
        if content is not None and content.pace is not None:
            now = self._ctx.now()
            content.pace.restart(content.received, now)
            self.deadline = now + self._ctx.timeouts.body

    # The end.

    def _close(self, *, linger: bool = False) -> None:
        """Close after what is written; with `linger` read on a little, so that no reset eats the answer (§9.6)."""
        now = self._ctx.now()
        self._unsent = unsent(self.transport)
        if linger and not self._eof and not self._closing:
            self._lingering = True
            self._linger_until = now + LINGER_MOST
            self.deadline = now + (self._ctx.timeouts.send if self.transport.get_write_buffer_size() else LINGER)
            self._resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            return
        self._lingering = False
        self._closing = True
        self.transport.close()
        self.deadline = now + self._ctx.timeouts.send  # for a client that never takes the rest

    def expire(self) -> None:
        ctx = self._ctx
        self.deadline = INFINITY
        if self._closing or self._lingering or self._writable is not None:
            self._expire_sending()
        elif self._request is not None:
            self._expire_content()
        elif self._buffer:
            self.refuse(RequestTimeout(f"The head was not complete after {ctx.timeouts.head:g} s."))
        elif left := unsent(self.transport):
            self._expire_rest(left)
        else:
            self._close()

    def _expire_rest(self, left: int) -> None:
        """Idle for us, while the kernel holds a response that the client does not take."""
        times = self._ctx.timeouts
        before, self._unsent = self._unsent, left
        if self._resting and not takes(before, left, times.send, times.send_rate):
            self._reset_transport()
            return
        self._resting = True
        self.deadline = self._ctx.now() + times.send

    def _expire_sending(self) -> None:
        times = self._ctx.timeouts
        if self._lingering and not self.transport.get_write_buffer_size():
            self._close()
            return
        before, self._unsent = self._unsent, unsent(self.transport)
        if takes(before, self._unsent, times.send, times.send_rate):
            self.deadline = self._ctx.now() + times.send  # slow, but taking
            return
        if self._exchange is not None:
            self._exchange.termination = "timeout"
            self._exchange.detail = f"the client took less than {times.send_rate} bytes/s for {times.send:g} s"
        self._reset_transport()  # a FIN would stand behind all that the kernel holds

    def _expire_content(self) -> None:
        content = self._content
        if content is None or content.done or content.pace is None:
            return
        if not content.stream.waiting:
            self._await_content()  # it is us who do not read
            return
        assert self._request is not None
        window, rate = patience(self._request, self._ctx.timeouts)
        due = content.pace.due(content.received, self._ctx.now(), window, rate)
        if due:
            self.deadline = due
            return
        self._keep_alive = False
        content.stream.fail(too_slow(window, rate))
