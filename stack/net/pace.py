"""Least rates: who sends or takes a byte now and then would hold a connection for ever."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import Final

from stack.config.base import Timeouts
from stack.errors import RequestTimeout
from stack.http.message import Request

_NONE: Final = struct.pack("i", 0)


class Pace:
    """Content that comes in, measured in windows of time: in each of them enough has to come.

    Not an average since the beginning: a large upload would have earned days of silence.
    """

    __slots__ = ("_counted", "_since", "heard")

    def __init__(self, now: float) -> None:
        self._counted = 0
        self._since = now
        self.heard = now
        """When a byte came last; set it."""

    def restart(self, received: int, now: float) -> None:
        """Until now it was not the sender who kept us waiting."""
        self._counted = received
        self._since = self.heard = now

    def due(self, received: int, now: float, window: float, rate: float) -> float:
        """When to look again; 0 when nothing came for a whole window, or less than `rate` bytes/s. `received`: all."""
        if self.heard + window <= now:
            return 0.0
        if self._since + window <= now:
            if received - self._counted < rate * window:
                return 0.0
            self._counted, self._since = received, now
        return min(self.heard, self._since) + window


def patience(request: Request, times: Timeouts) -> tuple[float, int]:
    """The window in which content of a request has to come, and at what rate.

    A gRPC stream is a conversation: it may be silent as long as a tunnel.
    """
    if (request.get(b"content-type") or b"").startswith(b"application/grpc"):
        return times.tunnel_idle, 0
    return times.body, times.body_rate


def too_slow(window: float, rate: int) -> RequestTimeout:
    slow = f"Less than {rate} bytes/s of content" if rate else "No content"
    return RequestTimeout(f"{slow} came for {window:g} s.")


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that the peer has not acknowledged: what waits here, and what the kernel holds.

    The kernel alone may hold megabytes, and asks for more only after a third of it has gone: for a slow reader, that is
    minutes in which nothing seems to go.
    """
    held = transport.get_write_buffer_size()
    raw = transport.get_extra_info("socket")
    try:
        return held + int(struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, _NONE))[0])
    except (AttributeError, OSError, ValueError):  # no socket, or a system that does not tell
        return held


def takes(before: int, left: int, window: float, rate: float) -> bool:
    """Whether the peer took enough in one window: at least a byte, and `rate` bytes/s."""
    return before - left >= max(1.0, rate * window)
