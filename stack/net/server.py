"""A server: listeners, and the connections they accept. HTTP/1.1 and HTTP/2 on each of them."""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
from dataclasses import dataclass
from typing import Final, cast

from stack.http.message import Peer, TlsInfo
from stack.net.backlog import Backlog, close_listeners
from stack.net.context import Context
from stack.net.h1_server import H1ServerConnection
from stack.net.sweeper import Sweeper

BACKLOG: Final = 2048
POLL: Final = 0.02
"""Seconds between two looks at whether a draining server is empty."""
PAUSE: Final = 0.1
"""Seconds between two looks at whether a full server has room again."""


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    connections: int
    in_flight: int
    opened_h1: int
    opened_h2: int
    draining: bool


class Server:
    """Serves one `Service` on any number of listening sockets."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._listeners: list[asyncio.Server] = []
        self._backlogs: list[Backlog] = []
        self._sweeper = Sweeper(context.clock, context.connections)
        self._paused = False

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Begin to accept on a bound socket: with TLS by ALPN, in the clear HTTP/1.1 or HTTP/2 by prior knowledge."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        if tls is not None:
            # ALPN may choose it, and the first client would wait for the import (50 ms)
            importlib.import_module("stack.net.h2_server")

        def door() -> _Door:
            return _Door(self, tls is not None)

        listener = await loop.create_server(
            door,
            sock=sock,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.context.timeouts.handshake if tls is not None else None,
        )
        self._listeners.append(listener)
        self._backlogs.append(Backlog(sock, door, tls=tls, handshake=self.context.timeouts.handshake))
        self._sweeper.start()

    def arrived(self) -> None:
        """A connection was accepted: at the limit accepting pauses, and who comes waits in the kernel's queue."""
        context = self.context
        if len(context.connections) < context.limits.connections or self._paused or context.draining:
            return
        self._paused = True
        for backlog in self._backlogs:
            backlog.hold()
        self._close_listeners()
        context.clock.call_later(PAUSE, self._look_for_room)

    def _look_for_room(self) -> None:
        context = self.context
        if context.draining or not self._paused:
            return
        if len(context.connections) < context.limits.connections:
            context.tasks.spawn(self._resume(), name=f"{context.name}.resume")
        else:
            context.clock.call_later(PAUSE, self._look_for_room)

    async def _resume(self) -> None:
        backlogs, self._backlogs = self._backlogs, []
        self._paused = False
        for backlog in backlogs:
            await self.listen(backlog.socket, backlog.tls)

    async def drain(self) -> None:
        """Stop accepting, let requests in flight end within the drain time, then cut off the rest."""
        context = self.context
        context.draining = True  # from now on every response says that its connection closes
        arriving = await close_listeners(self._backlogs, self._close_listeners, context.tasks)
        self._backlogs.clear()
        for connection in list(context.connections):
            connection.drain()
        until = context.now() + context.timeouts.drain
        while (context.connections or any(not task.done() for task in arriving)) and context.now() < until:
            await context.clock.sleep(POLL)
        await self.close()

    async def close(self) -> None:
        """Stop at once: listeners closed, connections aborted."""
        self._close_listeners()
        self._paused = False
        for backlog in self._backlogs:
            backlog.release()
        self._backlogs.clear()
        self._sweeper.stop()
        for connection in list(self.context.connections):
            connection.abort()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def statistics(self) -> ServerStatistics:
        context = self.context
        return ServerStatistics(
            connections=len(context.connections),
            in_flight=context.in_flight,
            opened_h1=context.connection_counts["h1"],
            opened_h2=context.connection_counts["h2"],
            draining=context.draining,
        )


class _Door(asyncio.Protocol):
    """Gives an accepted connection the protocol that was agreed on."""

    def __init__(self, server: Server, is_tls: bool) -> None:
        self._server = server
        self._context = server.context
        self._is_tls = is_tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        context = self._context
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        local = (transport.get_extra_info("sockname") or ("", 0))[:2]
        tls = _tls_info(transport) if self._is_tls else None
        peer = context.peer(address, port, local=local, tls=tls)
        if tls is not None and tls.alpn == "h2":
            self._speak_h2(transport, peer, b"https", b"")
        else:
            scheme = b"https" if tls is not None else b"http"
            upgrade = None if tls is not None else self._upgrade
            connection = H1ServerConnection(context, peer, scheme, upgrade)
            transport.set_protocol(connection)
            connection.connection_made(transport)
        self._server.arrived()

    def _upgrade(self, connection: H1ServerConnection, data: bytes) -> None:
        self._speak_h2(connection.transport, connection.peer, b"http", data)

    def _speak_h2(self, transport: asyncio.Transport, peer: Peer, scheme: bytes, data: bytes) -> None:
        from stack.net.h2_server import H2ServerConnection

        connection = H2ServerConnection(self._context, peer, scheme)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if data:
            connection.data_received(data)


def _tls_info(transport: asyncio.Transport) -> TlsInfo:
    tls = transport.get_extra_info("ssl_object")
    cipher = tls.cipher()
    return TlsInfo(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        server_name=getattr(tls, "server_hostname", None) or "",
        alpn=tls.selected_alpn_protocol() or "",
    )
