"""DNS over TCP and TLS: connections with length-prefixed messages (RFC 1035 §4.2.2, RFC 7766)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final, Protocol, cast

from stack.clock import Clock, Handle
from stack.net.sweeper import Sweeper
from stack.net.tasks import Tasks

MAX_PIPELINED: Final = 100
"""Queries of one connection that wait for their answers; then no more is taken and read from it."""
LULL: Final = 0.01
"""Seconds without a query after which a client is not in the middle of a burst."""
MAX_UNSENT: Final = 65536
"""Octets of responses that are made before they are written, and the client is found to read them or not."""

SLICES: Final = 20
"""Pieces that a second of a `Trickle` comes in."""


class ConnectionCut(Exception):
    """In place of a response: the connection is reset."""


class Trickle(bytes):
    """A response that is written at so many octets a second, and all that follows it meanwhile."""

    rate: int
    wait: Callable[[float], Awaitable[None]]


Reply = bytes | Awaitable[bytes | None] | AsyncIterator[bytes] | None
"""A response, at once or later; or several messages, for a zone transfer; None for no response."""


class Answerer(Protocol):
    """Gives the response to a message. Must not raise, nor what it gives. Several messages are for streams alone."""

    def answer(self, message: bytes, client: str, protocol: str) -> Reply: ...


class Streams:
    """The open connections of a listener."""

    def __init__(
        self, answerer: Answerer, *, clock: Clock, tasks: Tasks, idle: float, connections: int, per_client: int = 0
    ) -> None:
        """`idle`: seconds after which a connection without a query is closed, or one whose answers are not read.
        `connections`: the most that are open; `per_client`: the most from one address, 0 for no bound of its own.
        """
        self.answerer = answerer
        self.clock = clock
        self.tasks = tasks
        self.idle = idle
        self.max_connections = connections
        self.max_per_client = per_client
        self.accepted = 0
        self.displaced = 0
        """Connections that gave way to newer ones."""
        self.linger: float | None = None
        """Seconds, once the server stops: see `finish`."""
        self._open: dict[Stream, None] = {}
        self._by_client: Counter[str] = Counter()
        self._sweeper = Sweeper(clock, self._open)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._open)

    def start(self) -> None:
        self._sweeper.start()

    def stop(self) -> None:
        self._sweeper.stop()
        for stream in list(self._open):
            stream.abort()

    def finish(self, linger: float) -> None:
        """The server stops. A connection is closed in the first lull behind an answer; after `linger` seconds one that
        is silent at once, and one that is busy behind its next answer. So what a client sent before it could know is
        answered; and it is with those that come through the door even now."""
        self.linger = linger
        for stream in list(self._open):
            stream.finish()

    def add(self, stream: Stream) -> None:
        self.accepted += 1
        self._open[stream] = None
        self._by_client[stream.client] += 1
        if self.linger is not None:
            stream.finish()
        if 0 < self.max_per_client < self._by_client[stream.client]:
            self._displace(stream.client)
        elif len(self._open) > self.max_connections:
            # of the client that has the most: one who opens many closes nobody's but its own
            self._displace(max(self._by_client, key=self._by_client.__getitem__))

    def _displace(self, client: str) -> None:
        self.displaced += 1
        own = [stream for stream in self._open if stream.client == client]
        min(own, key=lambda stream: (stream.waiting > 0, stream.deadline)).abort()

    def discard(self, stream: Stream) -> None:
        if stream not in self._open:
            return
        del self._open[stream]
        self._by_client[stream.client] -= 1
        if not self._by_client[stream.client]:
            del self._by_client[stream.client]


class Stream(asyncio.Protocol):
    """One connection. Queries are answered as they come, in whatever order their answers are ready (RFC 7766 §7)."""

    __slots__ = (
        "_answered",
        "_buffer",
        "_ending",
        "_held",
        "_hurry",
        "_lull",
        "_owner",
        "_protocol",
        "_reading",
        "_transport",
        "_unsent",
        "_wakeups",
        "_writable",
        "client",
        "deadline",
        "waiting",
    )

    def __init__(self, owner: Streams, protocol: str) -> None:
        self._owner = owner
        self._protocol = protocol
        self._answered = False
        """Whether a query was answered, or waits to be, since the server began to stop."""
        self._hurry = False
        self._lull: Handle | None = None
        self._buffer = bytearray()
        self._ending = False
        self._held: bytearray | None = None
        """What is still to be written while answers trickle."""
        self._reading = True
        self._writable = True
        self._unsent = 0
        self._wakeups: list[asyncio.Future[None]] = []
        """Who waits for room to write several messages."""
        self.client = ""
        self.waiting = 0
        self.deadline = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if peer else ""
        self._touch()
        self._owner.add(self)

    def _touch(self) -> None:
        if self._owner.linger is None:
            self.deadline = self._owner.clock.now() + self._owner.idle

    def data_received(self, data: bytes) -> None:
        self._cancel_lull()
        self._buffer += data
        self._take()

    def _take(self) -> None:
        """Answer what the buffer holds, as far as the client may have queries waiting and reads its answers."""
        buffer, out, unsent, at = self._buffer, list[bytes](), 0, 0
        while self._writable and self.waiting < MAX_PIPELINED and len(buffer) - at >= 2:
            end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
            if len(buffer) < end:
                break
            message = bytes(buffer[at + 2 : end])
            at = end
            self._answered = True
            self._touch()  # only a whole query counts: bytes that trickle in keep nothing open
            response = self._owner.answerer.answer(message, self.client, self._protocol)
            if isinstance(response, bytes):
                out.append(len(response).to_bytes(2, "big") + response)
                unsent += len(response)
                if unsent >= MAX_UNSENT:
                    self._write(b"".join(out))
                    out, unsent = [], 0
            elif response is None:
                # nothing sensible comes over this connection (RFC 7766 §6.2.4 lets a server close it)
                self._ending = True
                at = len(buffer)
            else:
                self.waiting += 1
                later = self._several(response) if isinstance(response, AsyncIterator) else self._later(response)
                self._owner.tasks.spawn(later, name="dns-tcp")
        del buffer[:at]
        if out:
            self._write(b"".join(out))
        self._go_on()

    def _write(self, data: bytes) -> None:
        if self._held is None:
            self._transport.write(data)
        else:
            self._held += data

    def _go_on(self) -> None:
        """Close when nothing is left to do; else read while there is room."""
        if self._transport.is_closing():
            return
        if self._owner.linger is not None and self._answered and not self._buffer and not self.waiting:
            if self._hurry:
                self._ending = True  # just answered: the client's next query is as far away as it can be
            elif self._lull is None and not self._ending:
                self._lull = self._owner.clock.call_later(LULL, self._end)
        if self._ending:
            # while writing is held up, the buffer may hold further queries
            if not self.waiting and self._writable:
                self._transport.close()
            return
        reading = self._writable and self.waiting < MAX_PIPELINED
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _end(self) -> None:
        self._ending = True
        self._go_on()

    def _cancel_lull(self) -> None:
        if self._lull is not None:
            self._lull.cancel()
            self._lull = None

    async def _later(self, response: Awaitable[bytes | None]) -> None:
        try:
            message = await response
            if isinstance(message, Trickle):
                await self._trickle(message)
                message = None
        except ConnectionCut:
            self.abort()
        finally:
            self.waiting -= 1
        if self._transport.is_closing():
            return
        if message is not None:
            self._write(len(message).to_bytes(2, "big") + message)
        self._touch()
        self._take()

    async def _trickle(self, slow: Trickle) -> None:
        data = len(slow).to_bytes(2, "big") + slow
        if self._held is not None:
            self._held += data
            return
        held = self._held = bytearray(data)
        size = max(1, slow.rate // SLICES)
        while held and not self._transport.is_closing():
            piece = bytes(held[:size])
            del held[:size]
            await slow.wait(len(piece) / slow.rate)
            self._transport.write(piece)
            self._touch()
        self._held = None

    async def _several(self, messages: AsyncIterator[bytes]) -> None:
        """Write them as they come, the next one when there is room for it. Other answers go between them."""
        try:
            async for message in messages:
                if self._transport.is_closing():
                    return
                self._write(len(message).to_bytes(2, "big") + message)
                self._touch()
                if not self._writable:
                    wakeup = asyncio.get_running_loop().create_future()
                    self._wakeups.append(wakeup)
                    await wakeup
                # what this client and others asked meanwhile has its turn, however fast this one reads
                await asyncio.sleep(0)
        finally:
            self.waiting -= 1
            if (close := getattr(messages, "aclose", None)) is not None:
                await close()
        if not self._transport.is_closing():
            self._take()

    def _wake(self) -> None:
        wakeups, self._wakeups = self._wakeups, []
        for wakeup in wakeups:
            if not wakeup.done():
                wakeup.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False  # the client does not read its answers: it is asked for no more queries
        self._unsent = self._transport.get_write_buffer_size()
        self._touch()
        self._go_on()

    def resume_writing(self) -> None:
        self._writable = True
        self._touch()
        self._wake()
        self._take()

    def eof_received(self) -> bool:
        """Half-closed: what was asked is still answered."""
        self._ending = True
        self._go_on()
        return self._protocol == "tcp" and not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_lull()
        self._buffer.clear()
        self._owner.discard(self)
        self._wake()

    def expire(self) -> None:
        if self._writable:
            if self._owner.linger is not None:
                self.deadline = self._owner.clock.now() + self._owner.linger
                if not self._answered or (self._hurry and not self.waiting):
                    self._end()
                self._hurry = True
            elif self.waiting:
                self._touch()
            else:
                self.abort()
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:  # it reads, slowly
            self._unsent = unsent
            self._touch()
        else:
            self.abort()

    def finish(self) -> None:
        self._answered = self.waiting > 0
        self.deadline = self._owner.clock.now() + (self._owner.linger or 0.0)

    def abort(self) -> None:
        self._owner.discard(self)
        self._transport.abort()
