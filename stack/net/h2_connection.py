"""What both sides of HTTP/2 do alike: write in batches, hold back for the transport, look at deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

from stack.http import h2_wire as wire
from stack.http.h2 import Connection
from stack.http.h2_events import Event
from stack.net.h2_outbox import Outbox
from stack.net.pace import takes, unsent

INFINITY: Final = float("inf")
FLOODED: Final = 512 * 1024
"""Unsent bytes above which nothing is read either: what is then unsent is answers to control frames."""
LINGER: Final = 1.0
"""Seconds in which what still comes is read and dropped, so that a reset does not eat GOAWAY."""


class H2Transport(asyncio.Protocol):
    """A connection without its streams. A subclass acts on events in `_on` and on a stream's end in `_sent`."""

    __slots__ = (
        "__weakref__",
        "_closing",
        "_flushing",
        "_h2",
        "_heard_at",
        "_now",
        "_outbox",
        "_reading",
        "_send_rate",
        "_send_timeout",
        "_unsent",
        "_unsent_since",
        "_unsettled_since",
        "deadline",
        "transport",
    )  # fmt: skip

    def __init__(self, h2: Connection, *, now: Callable[[], float], send_timeout: float, send_rate: int) -> None:
        self._h2 = h2
        self._now = now
        self._send_timeout = send_timeout
        self._send_rate = send_rate
        self._outbox = Outbox(h2, now, self._sent)
        self._flushing = False
        """A flush will come: in this turn of the loop, or at the end of a batch."""
        self._reading = True
        self._closing = False
        self._unsent = 0
        self._unsent_since = INFINITY
        """Since when the transport has been full."""
        self._unsettled_since = self._heard_at = now()
        """Since when our SETTINGS wait for their acknowledgement; when a byte came last."""
        self.deadline = INFINITY

    def _on(self, event: Event, now: float) -> None:
        raise NotImplementedError

    def _sent(self, stream: int) -> None:
        """Our side of the stream has ended."""
        raise NotImplementedError

    # Events of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._write()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        now = self._heard_at = self._now()
        events = self._h2.receive(data, now)
        self._flushing = True  # one write for all that this brings about
        try:
            for event in events:
                self._on(event, now)
            self._batch_ended(bool(events), now)
        finally:
            self._flush()

    def _batch_ended(self, progress: bool, now: float) -> None:
        pass

    def pause_writing(self) -> None:
        self._outbox.paused = True
        self._unsent = unsent(self.transport)
        self._unsent_since = now = self._now()
        self._arm(now + self._send_timeout)

    def resume_writing(self) -> None:
        self._outbox.paused = False
        self._unsent_since = INFINITY
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()
        self._flush()

    # Writing.

    def _write(self) -> None:
        data = self._h2.outgoing()
        if data and not self._closing and not self.transport.is_closing():
            self.transport.write(data)
            if self._outbox.paused and self._reading and self.transport.get_write_buffer_size() > FLOODED:
                self._reading = False
                self.transport.pause_reading()

    def _flush(self) -> None:
        """Write what is due, and what may follow it."""
        self._flushing = False
        self._write()
        if len(self._outbox):
            self._outbox.flush(self._write)
            self._arm(self._outbox.oldest() + self._send_timeout)

    def _soon(self) -> None:
        """Write once for all that happens in this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    # Time.

    def _arm(self, at: float) -> None:
        """`expire` is due then at the latest; it looks closer and arms again."""
        if at < self.deadline:
            self.deadline = at

    def _is_stuck(self, now: float) -> bool:
        """Whether the peer took less than it has to for the whole time that it may."""
        if self._unsent_since + self._send_timeout <= now:
            left = unsent(self.transport)
            if not takes(self._unsent, left, self._send_timeout, self._send_rate):
                return True
            self._unsent, self._unsent_since = left, now  # slow, but taking
        self._arm(self._unsent_since + self._send_timeout)
        return False

    def _is_unsettled(self, now: float, within: float) -> bool:
        """Whether SETTINGS were not acknowledged in time (§6.5.3); GOAWAY has said so then."""
        if self._h2.acknowledged:
            self._unsettled_since = INFINITY
        elif self._unsettled_since + within <= now:
            self._h2.go_away(wire.SETTINGS_TIMEOUT, reason=b"SETTINGS was not acknowledged in time")
            return True
        self._arm(self._unsettled_since + within)
        return False

    def _stalled(self, now: float) -> list[int]:
        return self._outbox.stalled(now, self._send_timeout, self._send_rate)

    def _close(self, *, linger: bool = False) -> None:
        """Close after what is written."""
        if self._closing:
            return
        self._write()
        self._closing = True
        now = self._now()
        self._unsent, self._unsent_since = unsent(self.transport), now
        if linger and not self.transport.is_closing():
            self.deadline = now + LINGER
            if self.transport.can_write_eof():
                self.transport.write_eof()
        else:
            self.deadline = now + self._send_timeout
            self.transport.close()

    def _expire_closing(self, now: float) -> None:
        """What was written is waited for while the peer takes enough of it, but for one that broke the protocol."""
        if self.transport.get_write_buffer_size() and not self._h2.failed and not self._is_stuck(now):
            self._arm(now + LINGER)
            return
        self._abort()

    def _cut_off(self) -> None:
        """Abort by RST: a FIN would stand behind all that the kernel holds, for a peer that takes nothing."""
        if (raw := self.transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._abort()

    def _abort(self) -> None:
        self._closing = True
        self.deadline = INFINITY
        self.transport.abort()
