"""The line between the process that holds the zones and one that answers beside it: messages over a socket pair.

A message is a list, packed by MessagePack behind its length in four octets; the first item says what it is.

To a worker: `names` (part of a zone, for the `commit` to come), `commit` (a change as a whole, with its number),
`serve` (it has all there is), `answered` (what it asked for). From a worker: `got` (names), `in-force` (a commit's
number), `serves`, `ask` (a message that only the other process can answer), `tally` (what it has counted).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from stack.clock import Clock

log = logging.getLogger("hopstack.dns")

LONGEST: Final = 64 << 20
"""Octets of one message; more is no message of ours."""
LAST: Final = 1.0
"""Seconds that the other end has to take the last messages."""
DOOR: Final = "HOPSTACK_DNS_DOOR"
"""The environment variable with `DESCRIPTOR:NAME`: where a worker of that name hands over its end of a new line."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Feed(asyncio.Protocol):
    """One end."""

    def __init__(self, received: Callable[[list[Any]], object], ended: Callable[[], object]) -> None:
        """`ended` is called once, when the other end is gone."""
        self._received = received
        self._ended = ended
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._gone.set()
        self._writable.set()
        self._ended()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def room(self) -> None:
        """Returns when the other end has taken most of what was sent, or is gone."""
        await self._writable.wait()

    def send(self, *message: object) -> None:
        if self._transport is not None:
            data = _encode(message)
            self._transport.write(len(data).to_bytes(4, "big") + data)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 4:
            end = at + 4 + int.from_bytes(buffer[at : at + 4], "big")
            if end - at > LONGEST:
                log.error("no message: %d octets", end - at)
                self.abort()
                return
            if len(buffer) < end:
                break
            message = _decode(bytes(buffer[at + 4 : end]))
            at = end
            self._received(message)
        del buffer[:at]

    async def finish(self, clock: Clock) -> None:
        """Send what is left, and close."""
        if self._transport is not None:
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                async with clock.timeout(LAST):
                    await self._gone.wait()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
