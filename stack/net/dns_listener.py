"""Sockets of a DNS server: datagrams here, streams in dns_streams (RFC 1035 §4.2)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from stack.clock import Clock
from stack.net.acceptor import MOST
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
        self.closed = False
        self._datagrams: list[Datagrams] = []
        self._servers: list[tuple[asyncio.Server, socket.socket]] = []
        self._entering: set[asyncio.Task[Any]] = set()
        """Connections that were accepted at the end, and have no protocol yet."""
        self.waiting = 0
        self.dropped = 0

    async def listen(self, sock: socket.socket) -> None:
        """Serve `sock`, by its type."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        if sock.type == socket.SOCK_DGRAM:
            await self.listen_datagrams(sock)
            return
        server = await loop.create_server(lambda: Stream(self.streams, "tcp"), sock=sock, backlog=512)
        self._servers.append((server, sock))
        self.streams.start()

    async def listen_datagrams(self, sock: socket.socket) -> Datagrams:
        sock.setblocking(False)
        datagrams = await serve(self, sock)
        self._datagrams.append(datagrams)
        return datagrams

    def adopt(self, transport: asyncio.Transport, protocol: str) -> None:
        """A connection that was accepted elsewhere, such as one whose TLS handshake is done (RFC 7858)."""
        if self.closed:
            transport.abort()
            return
        stream = Stream(self.streams, protocol)
        self.streams.start()
        transport.set_protocol(stream)
        stream.connection_made(transport)

    async def drain(self, within: float, *, linger: float = 0.0, arriving: Callable[[], bool] = lambda: False) -> None:
        """Take nothing new; answer what was asked, and what is on its way (`Streams.finish`), at most `within` seconds.
        `arriving`: whether connections are to come by `adopt`."""
        for server, sock in self._servers:
            self._take_queued(sock)
            server.close()
        for datagrams in self._datagrams:
            datagrams.stop()
        self.streams.finish(linger)
        deadline = self.clock.now() + within
        while (self.waiting or self.streams or self._entering or arriving()) and self.clock.now() < deadline:
            await self.clock.sleep(0.02)
        await self.close()

    def _take_queued(self, sock: socket.socket) -> None:
        """Who has connected and was not accepted yet: to close the listener would reset them."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # BlockingIOError: the queue is empty
            for _ in range(MOST):
                connection, _ = sock.accept()
                connection.setblocking(False)
                entered = loop.connect_accepted_socket(lambda: Stream(self.streams, "tcp"), connection)
                task = self.tasks.spawn(entered, name="dns-accept")
                self._entering.add(task)
                task.add_done_callback(self._entering.discard)

    async def close(self) -> None:
        self.closed = True
        self.streams.stop()
        for server, _ in self._servers:
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
