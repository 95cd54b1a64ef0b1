"""A server: listeners, and the connections they accept. HTTP/1.1 and HTTP/2 on each of them."""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from stack.http.message import Peer
from stack.net.acceptor import Acceptor, Seat
from stack.net.context import Context
from stack.net.h1_server import H1ServerConnection
from stack.net.sweeper import Sweeper
from stack.net.termination import Termination, of_context
from stack.net.tls_door import Open, TlsDoor, peer_of

POLL: Final = 0.02
"""Seconds between two looks at whether a draining server is empty."""


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    connections: int
    in_flight: int
    opened_h1: int
    opened_h2: int
    draining: bool
    refused: int
    """Connections closed at once: their address had its share."""


class Server:
    """Serves one `Service` on any number of listening sockets."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._acceptors: list[Acceptor] = []
        self._sweeper = Sweeper(context.clock, context.connections)

    async def listen(
        self, sock: socket.socket, tls: Termination | ssl.SSLContext | None = None, *, speak: Open | None = None
    ) -> None:
        """Begin to accept on a bound socket: with TLS by ALPN, in the clear HTTP/1.1 or HTTP/2 by prior knowledge.

        `speak` gives connections over TLS another protocol than HTTP, and looks after them from the end of their
        handshake on. At `limits.connections` accepting pauses, and who comes waits in the kernel's queue.
        """
        if tls is not None and speak is None:
            # ALPN may choose it, and the first client would wait for the import (50 ms)
            importlib.import_module("stack.net.h2_server")
        context = self.context
        termination = of_context(tls) if isinstance(tls, ssl.SSLContext) else tls

        def door(seat: Seat) -> asyncio.Protocol:
            if termination is None:
                return _Door(context, seat)
            return TlsDoor(context, termination, speak or _open, http=speak is None)

        acceptor = Acceptor(sock, door, room=context.room, tasks=context.tasks, clock=context.clock)
        acceptor.start()
        self._acceptors.append(acceptor)
        self._sweeper.start()

    async def drain(self) -> None:
        """Stop accepting, let requests in flight end within the drain time, then cut off the rest."""
        context = self.context
        context.draining = True  # from now on every response says that its connection closes
        arriving = [task for acceptor in self._acceptors for task in acceptor.finish()]
        for connection in list(context.connections):
            connection.drain()
        until = context.now() + context.timeouts.drain
        while (context.connections or any(not task.done() for task in arriving)) and context.now() < until:
            await context.clock.sleep(POLL)
        await self.close()

    async def close(self) -> None:
        """Stop at once: listeners closed, connections aborted."""
        for acceptor in self._acceptors:
            acceptor.abort()
        self._acceptors.clear()
        self._sweeper.stop()
        for connection in list(self.context.connections):
            connection.abort()

    def statistics(self) -> ServerStatistics:
        context = self.context
        return ServerStatistics(
            connections=len(context.connections),
            in_flight=context.in_flight,
            opened_h1=context.connection_counts["h1"],
            opened_h2=context.connection_counts["h2"],
            draining=context.draining,
            refused=context.room.refused,
        )


class _Door(asyncio.Protocol):
    """Gives a connection in the clear its protocol."""

    def __init__(self, context: Context, seat: Seat) -> None:
        self._context = context
        self._seat = seat

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        _open(self._context, transport, peer_of(self._context, transport))
        self._seat.release()


def _open(context: Context, transport: asyncio.Transport, peer: Peer) -> None:
    """The protocol that was agreed on takes the connection over."""
    if peer.tls is not None and peer.tls.alpn == "h2":
        _speak_h2(context, transport, peer, b"https", b"")
        return
    upgrade = None if peer.tls is not None else partial(_upgrade, context)
    connection = H1ServerConnection(context, peer, b"http" if peer.tls is None else b"https", upgrade)
    transport.set_protocol(connection)
    connection.connection_made(transport)


def _upgrade(context: Context, connection: H1ServerConnection, data: bytes) -> None:
    _speak_h2(context, connection.transport, connection.peer, b"http", data)


def _speak_h2(context: Context, transport: asyncio.Transport, peer: Peer, scheme: bytes, data: bytes) -> None:
    from stack.net.h2_server import H2ServerConnection

    connection = H2ServerConnection(context, peer, scheme)
    transport.set_protocol(connection)
    connection.connection_made(transport)
    if data:
        connection.data_received(data)
