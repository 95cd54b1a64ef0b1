"""Sockets of a DNS server: datagrams, and streams of length-prefixed messages (RFC 1035 §4.2, RFC 7766)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from typing import Final, Protocol, cast

from stack.clock import Clock
from stack.net.dns_datagrams import Datagrams
from stack.net.sweeper import Sweeper
from stack.net.tasks import Tasks

MAX_PIPELINED: Final = 100
"""Queries of one connection that wait for their answers; then no more is taken and read from it."""
MAX_UNSENT: Final = 65536
"""Octets of responses that are made before they are written, and the client is found to read them or not."""


class Answerer(Protocol):
    """Gives the response to a message, at once or later; None for no response. Must not raise."""

    def answer(self, message: bytes, client: str, protocol: str) -> bytes | Awaitable[bytes | None] | None: ...


class DnsListener:
    """Serves one address: any number of UDP and TCP sockets of it."""

    def __init__(self, answerer: Answerer, *, clock: Clock, tasks: Tasks, idle: float, connections: int) -> None:
        """`idle`: seconds after which a connection without a query is closed. `connections`: the most that are open;
        the one that has been idle longest gives way to a new one."""
        self.answerer = answerer
        self.clock = clock
        self.tasks = tasks
        self.idle = idle
        self.max_connections = connections
        self.streams: set[_Stream] = set()
        self.draining = False
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._sweeper = Sweeper(clock, self.streams)
        self.waiting = 0
        self.dropped = 0
        self.accepted = 0

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve `sock`, by its type; with `tls` as DNS over TLS (RFC 7858)."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        if sock.type == socket.SOCK_DGRAM:
            transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self), sock=sock)
            self._datagrams.append(transport)
            return
        protocol = "tls" if tls is not None else "tcp"
        server = await loop.create_server(lambda: _Stream(self, protocol), sock=sock, ssl=tls, backlog=512)
        self._servers.append(server)
        self._sweeper.start()

    async def drain(self, within: float) -> None:
        """Accept nothing more; answer what was asked, at most `within` seconds."""
        self.draining = True
        for server in self._servers:
            server.close()
        for transport in self._datagrams:
            if not self.waiting:
                transport.close()
        for stream in list(self.streams):
            stream.close_when_done()
        deadline = self.clock.now() + within
        while (self.waiting or self.streams) and self.clock.now() < deadline:
            await self.clock.sleep(0.02)
        await self.close()

    async def close(self) -> None:
        self._sweeper.stop()
        for server in self._servers:
            server.close()
        for transport in self._datagrams:
            transport.close()
        for stream in list(self.streams):
            stream.abort()
        self._servers.clear()
        self._datagrams.clear()
        await asyncio.sleep(0)  # transports let go of their sockets in the loop's next round

    def statistics(self) -> dict[str, int]:
        return {
            "connections": len(self.streams),
            "connections_accepted": self.accepted,
            "waiting": self.waiting,
            "dropped": self.dropped,
        }

    def make_room(self) -> None:
        if len(self.streams) > self.max_connections:
            min(self.streams, key=lambda stream: (stream.waiting > 0, stream.deadline)).abort()


class _Stream(asyncio.Protocol):
    """One connection. Queries are answered as they come, in whatever order their answers are ready (RFC 7766 §7)."""

    __slots__ = (
        "_buffer",
        "_client",
        "_ending",
        "_listener",
        "_protocol",
        "_reading",
        "_transport",
        "_writable",
        "deadline",
        "waiting",
    )

    def __init__(self, listener: DnsListener, protocol: str) -> None:
        self._listener = listener
        self._protocol = protocol
        self._buffer = bytearray()
        self._client = ""
        self._ending = False
        self._reading = True
        self._writable = True
        self.waiting = 0
        self.deadline = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        listener = self._listener
        listener.accepted += 1
        listener.streams.add(self)
        self._touch()
        listener.make_room()

    def _touch(self) -> None:
        self.deadline = self._listener.clock.now() + self._listener.idle

    def data_received(self, data: bytes) -> None:
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
            self._touch()  # only a whole query counts: bytes that trickle in keep nothing open
            response = self._listener.answerer.answer(message, self._client, self._protocol)
            if isinstance(response, bytes):
                out.append(len(response).to_bytes(2, "big") + response)
                unsent += len(response)
                if unsent >= MAX_UNSENT:
                    self._transport.write(b"".join(out))
                    out, unsent = [], 0
            elif response is None:
                # nothing sensible comes over this connection (RFC 7766 §6.2.4 lets a server close it)
                self._ending = True
                at = len(buffer)
            else:
                self.waiting += 1
                self._listener.tasks.spawn(self._later(response), name="dns-tcp")
        del buffer[:at]
        if out:
            self._transport.write(b"".join(out))
        self._go_on()

    def _go_on(self) -> None:
        """Close when nothing is left to do; else read while there is room."""
        if self._transport.is_closing():
            return
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

    async def _later(self, response: Awaitable[bytes | None]) -> None:
        try:
            message = await response
        finally:
            self.waiting -= 1
        if self._transport.is_closing():
            return
        if message is not None:
            self._transport.write(len(message).to_bytes(2, "big") + message)
        self._touch()
        self._take()

    def pause_writing(self) -> None:
        self._writable = False  # the client does not read its answers: it is asked for no more queries
        self._go_on()

    def resume_writing(self) -> None:
        self._writable = True
        self._take()

    def eof_received(self) -> bool:
        """Half-closed: what was asked is still answered."""
        self._ending = True
        self._go_on()
        return self._protocol == "tcp" and not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._buffer.clear()
        self._listener.streams.discard(self)

    def expire(self) -> None:
        if self.waiting:
            self._touch()
        else:
            self.abort()

    def close_when_done(self) -> None:
        self._ending = True
        self._go_on()

    def abort(self) -> None:
        self._listener.streams.discard(self)
        self._transport.abort()
