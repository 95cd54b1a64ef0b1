"""Sockets of a DNS server: datagrams here, streams in dns_streams (RFC 1035 §4.2)."""

from __future__ import annotations

import asyncio
import socket

from stack.clock import Clock
from stack.net.dns_datagrams import Bursts, Datagrams, serve
from stack.net.dns_streams import Answerer, Stream, Streams
from stack.net.tasks import Tasks


class DnsListener:
    """Serves one address: any number of UDP and TCP sockets of it."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        clock: Clock,
        tasks: Tasks,
        idle: float,
        connections: int,
        per_client: int = 0,
        bursts: Bursts | None = None,
    ) -> None:
        """The bounds are those of `Streams`."""
        self.answerer = answerer
        self.bursts = bursts
        self.clock = clock
        self.tasks = tasks
        self.streams = Streams(
            answerer, clock=clock, tasks=tasks, idle=idle, connections=connections, per_client=per_client
        )
        self.draining = False
        self._datagrams: list[Datagrams] = []
        self._servers: list[asyncio.Server] = []
        self.waiting = 0
        self.dropped = 0

    async def listen(self, sock: socket.socket) -> None:
        """Serve `sock`, by its type."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        if sock.type == socket.SOCK_DGRAM:
            self._datagrams.append(await serve(self, sock))
            return
        server = await loop.create_server(lambda: Stream(self.streams, "tcp"), sock=sock, backlog=512)
        self._servers.append(server)
        self.streams.start()

    def adopt(self, transport: asyncio.Transport, protocol: str) -> None:
        """A connection that was accepted elsewhere, such as one whose TLS handshake is done (RFC 7858)."""
        stream = Stream(self.streams, protocol)
        self.streams.start()
        transport.set_protocol(stream)
        stream.connection_made(transport)

    async def drain(self, within: float) -> None:
        """Accept nothing more; answer what was asked, at most `within` seconds."""
        self.draining = True
        for server in self._servers:
            server.close()
        for datagrams in self._datagrams:
            datagrams.stop()
        self.streams.close_when_done()
        deadline = self.clock.now() + within
        while (self.waiting or self.streams) and self.clock.now() < deadline:
            await self.clock.sleep(0.02)
        await self.close()

    async def close(self) -> None:
        self.streams.stop()
        for server in self._servers:
            server.close()
        for datagrams in self._datagrams:
            datagrams.close()
        self._servers.clear()
        self._datagrams.clear()
        await asyncio.sleep(0)  # transports let go of their sockets in the loop's next round

    def statistics(self) -> dict[str, int]:
        return {
            "connections": len(self.streams),
            "connections_accepted": self.streams.accepted,
            "connections_displaced": self.streams.displaced,
            "waiting": self.waiting,
            "dropped": self.dropped,
        }
