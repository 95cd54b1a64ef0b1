"""Connections to one next hop: limited, reused warmest first, retried silently only where the RFC allows it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, Protocol, TypedDict, cast

from stack.clock import Clock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import (
    ClosedEarly,
    HopError,
    PoolExhausted,
    Retry,
    Unsent,
    UpstreamError,
)
from stack.http.field_lines import KnownLines
from stack.http.message import IDEMPOTENT, Request, Response
from stack.net.expectation import NextHop
from stack.net.h1_client import H1ClientConnection
from stack.net.sweeper import Sweeper
from stack.net.tasks import Tasks
from stack.net.unreachable import unreachable
from stack.telemetry.exchange import Exchange

INFINITY: Final = float("inf")
STREAMS: Final = 100
"""Requests that a new HTTP/2 connection is expected to take at once."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A next hop. `source` is the local address to connect from; `server_name` is verified, by default the host."""

    name: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    """Its ALPN is as `protocol` says."""
    tls_h1: ssl.SSLContext | None = None
    """With HTTP/1.1 alone in ALPN: for tunnels, where the next hop takes none over HTTP/2. None: `tls` does."""
    server_name: str | None = None
    protocol: Literal["h1", "h2", "auto"] = "auto"
    """h1, h2 (in the clear: by prior knowledge), or what ALPN says (in the clear: h1)."""
    source: str | None = None


class UpstreamConnection(Protocol):
    closed: bool
    served: int
    idle_since: float
    deadline: float

    @property
    def capacity(self) -> int: ...

    @property
    def idle(self) -> bool: ...

    async def send(self, request: Request, exchange: Exchange) -> Response: ...

    async def takes_tunnels(self) -> bool: ...

    def expire(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


Hindered = Callable[[Request, Exchange], Awaitable[Response]]


class _Parts(TypedDict):
    """What either kind of connection is made with."""

    name: str
    timeouts: UpstreamTimeouts
    clock: Clock
    tasks: Tasks
    max_buffer: int
    on_idle: Callable[[UpstreamConnection], None]
    on_closed: Callable[[UpstreamConnection], None]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    open: int
    idle: int
    connecting: int
    waiting: int
    limit: int
    opened: int
    reused: int
    retried: int


class Pool:
    """Which request has which connection.

    Decisions never await: they hand a waiter its connection or tell it to open one.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        limits: PoolLimits,
        timeouts: UpstreamTimeouts,
        clock: Clock,
        tasks: Tasks,
        max_buffer: int = 64 * 1024,
    ) -> None:
        self.upstream = upstream
        self.limits = limits
        self.timeouts = timeouts
        self._clock = clock
        self._tasks = tasks
        self._max_buffer = max_buffer
        self._open: set[UpstreamConnection] = set()
        self._idle: deque[UpstreamConnection] = deque()
        self._shared: list[UpstreamConnection] = []
        """HTTP/2 connections: they take many requests at once."""
        self._tunnels: set[UpstreamConnection] = set()
        """Connections of HTTP/1.1 that are open tunnels."""
        self._connecting = 0
        self._waiting: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self._multiplexes = upstream.protocol == "h2"
        """One connection takes many requests: who waits for it opens no other."""
        self._of_h1 = replace(upstream, protocol="h1", tls=upstream.tls_h1 or upstream.tls)
        self._opened = self._reused = self._retried = 0
        self._closed = False
        self._lines = KnownLines()
        self._hop = NextHop()
        self._sweeper = Sweeper(clock, self._open)
        self.hindered: Hindered | None = None
        """Stands before `send` while a fault is injected here."""

    async def send(self, request: Request, exchange: Exchange, *, plain: bool = False) -> Response:
        """The response of the next hop. Raises an UpstreamError, or what reading the request's content raises.

        `plain`: whatever is injected here.
        """
        if self.hindered is not None and not plain:
            return await self.hindered(request, exchange)
        reused = (connection := self._take()) is not None
        if connection is None:
            connection, reused = await self._wait_for_one()
        try:
            if request.upgrade is not None:
                return await self._send_tunnel(connection, request, exchange)
            return await connection.send(request, exchange)
        except HopError as error:
            if not _may_retry(error, request, reused=reused):
                raise
        self._retried += 1
        if self._has_room:
            connection = await self._connect()
        elif (taken := self._take()) is not None:
            connection = taken
        else:
            connection, _ = await self._wait_for_one(first=True)
        if request.upgrade is not None:
            return await self._send_tunnel(connection, request, exchange)
        return await connection.send(request, exchange)

    async def _send_tunnel(self, connection: UpstreamConnection, request: Request, exchange: Exchange) -> Response:
        """By extended CONNECT where the next hop takes it (RFC 8441 §3), else over HTTP/1.1."""
        if not isinstance(connection, H1ClientConnection):
            if await connection.takes_tunnels():
                return await connection.send(request, exchange)
            self._on_idle(connection)
            connection = self._take_idle() or await self._connect_h1()
        response = await connection.send(request, exchange)
        if response.status == 101 and not connection.closed:
            self._tunnels.add(connection)
            self._room()
        return response

    async def _connect_h1(self) -> UpstreamConnection:
        if not self._has_room:
            raise PoolExhausted(private=f"{self.upstream.name}: no connection of HTTP/1.1 may be opened for a tunnel")
        connection = await self._connect(self._of_h1)
        if not isinstance(connection, H1ClientConnection):
            raise UpstreamError(private=f"{self.upstream.name}: neither extended CONNECT nor HTTP/1.1 is taken")
        return connection

    # Who gets which connection.

    def _take(self) -> UpstreamConnection | None:
        for connection in self._shared:
            if connection.capacity > 0:
                self._reused += 1
                return connection
        return self._take_idle()

    def _take_idle(self) -> UpstreamConnection | None:
        """One of HTTP/1.1."""
        while self._idle:
            connection = self._idle.pop()  # LIFO: the warmest connection first, the others may expire
            if not connection.closed:
                self._reused += 1
                return connection
        return None

    async def _wait_for_one(self, *, first: bool = False) -> tuple[UpstreamConnection, bool]:
        """A connection, and whether it was used before. `first`: at the front of the queue."""
        until = self._clock.now() + self.timeouts.acquire
        while True:
            if self._has_room and not (self._multiplexes and self._connecting * STREAMS > len(self._waiting)):
                return await self._connect(), False
            connection = await self._turn(until, first=first)
            if connection is None:
                return await self._connect(counted=True), False
            if connection.capacity > 0:
                return connection, True
            # it closed, or others filled it, before this task woke: nothing was sent, so nothing is lost
            first = True
            if (connection := self._take()) is not None:
                return connection, True

    async def _turn(self, until: float, *, first: bool) -> UpstreamConnection | None:
        """What a waiter is handed; None: room to connect, counted already."""
        if len(self._waiting) >= self.limits.waiting and not first:
            raise PoolExhausted(private=f"{self.upstream.name}: {len(self._waiting)} requests wait already")
        turn: asyncio.Future[UpstreamConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.appendleft(turn) if first else self._waiting.append(turn)
        try:
            async with self._clock.timeout(max(0.0, until - self._clock.now())):
                return await turn
        except TimeoutError:
            self._give_back(turn)
            raise PoolExhausted(
                private=f"{self.upstream.name}: no connection free for {self.timeouts.acquire:g} s"
            ) from None
        except asyncio.CancelledError:
            self._give_back(turn)
            raise

    def _give_back(self, turn: asyncio.Future[UpstreamConnection | None]) -> None:
        """The waiter has left; what it may have been handed in the same moment goes to the next."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            connection = turn.result()
            if connection is None:
                self._connecting -= 1
                self._room()
            else:
                self._on_idle(connection)

    def _next_waiter(self) -> asyncio.Future[UpstreamConnection | None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _on_idle(self, connection: UpstreamConnection) -> None:
        if connection.closed:
            return
        if self._closed:
            connection.close()
        elif self._waiting and (turn := self._next_waiter()) is not None:
            self._reused += 1
            turn.set_result(connection)
        elif connection in self._shared:
            return
        elif len(self._idle) < self.limits.idle:
            self._idle.append(connection)
        else:
            connection.close()

    def _on_closed(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        self._tunnels.discard(connection)
        if connection in self._shared:
            self._shared.remove(connection)
        elif connection in self._idle:
            self._idle.remove(connection)
        if not self._open:
            self._sweeper.stop()
        self._room()

    @property
    def _has_room(self) -> bool:
        """For a connection more. Tunnels stand apart: they last for hours, and the limit is on requests."""
        return len(self._open) + self._connecting - len(self._tunnels) < self.limits.connections

    def _room(self) -> None:
        """There is room for a connection more: the first waiter opens it."""
        if self._has_room and (turn := self._next_waiter()) is not None:
            self._connecting += 1
            turn.set_result(None)

    # Opening and closing.

    async def _connect(self, upstream: Upstream | None = None, *, counted: bool = False) -> UpstreamConnection:
        if not counted:
            self._connecting += 1
        upstream = upstream or self.upstream
        connected: UpstreamConnection | None = None
        try:
            connected = await self._open_one(upstream)
            self._open.add(connected)
            self._opened += 1
            self._sweeper.start()
            return connected
        finally:
            self._connecting -= 1
            if connected is None:
                self._room()

    async def _open_one(self, upstream: Upstream) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        door = _Door(partial(self._protocol, upstream))
        try:
            async with self._clock.timeout(self.timeouts.connect):
                await loop.create_connection(
                    lambda: door,
                    upstream.host,
                    upstream.port,
                    ssl=upstream.tls,
                    server_hostname=(upstream.server_name or upstream.host) if upstream.tls is not None else None,
                    local_addr=(upstream.source, 0) if upstream.source else None,
                )
        except OSError as error:
            raise unreachable(error, upstream.name, source=upstream.source, within=self.timeouts.connect) from None
        connection = door.connection
        if connection is None or connection.closed:
            raise ClosedEarly(private=f"{upstream.name}: accepted and closed")
        return connection

    def _protocol(self, upstream: Upstream, transport: asyncio.Transport) -> UpstreamConnection:
        """HTTP/2 by ALPN or prior knowledge, else HTTP/1.1."""
        if (raw := transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = transport.get_extra_info("ssl_object")
        is_h2 = tls.selected_alpn_protocol() == "h2" if tls is not None else upstream.protocol == "h2"
        if upstream is self.upstream:
            self._multiplexes = is_h2
        shared: _Parts = {
            "name": upstream.name,
            "timeouts": self.timeouts,
            "clock": self._clock,
            "tasks": self._tasks,
            "max_buffer": self._max_buffer,
            "on_idle": self._on_idle,
            "on_closed": self._on_closed,
        }
        if not is_h2:
            return H1ClientConnection(**shared, lines=self._lines, hop=self._hop)
        from stack.net.h2_client import H2ClientConnection

        h2 = H2ClientConnection(scheme=b"https" if tls is not None else b"http", **shared)
        self._shared.append(h2)
        return h2

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            open=len(self._open),
            idle=len(self._idle) + sum(connection.idle for connection in self._shared),
            connecting=self._connecting,
            waiting=len(self._waiting),
            limit=self.limits.connections,
            opened=self._opened,
            reused=self._reused,
            retried=self._retried,
        )

    async def close(self) -> None:
        """Close what is idle now, and the rest as it becomes idle; waiters are refused."""
        self._closed = True
        self._sweeper.stop()
        while (turn := self._next_waiter()) is not None:
            turn.set_exception(PoolExhausted(private=f"{self.upstream.name}: the pool is closed"))
        for connection in list(self._open):
            connection.close() if connection.idle else connection.abort()


class _Door(asyncio.Protocol):
    """Gives a new connection its protocol before anything can happen on it."""

    def __init__(self, choose: Callable[[asyncio.Transport], UpstreamConnection]) -> None:
        self._choose = choose
        self.connection: UpstreamConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self.connection = connection = self._choose(transport)
        protocol = cast(asyncio.Protocol, connection)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _may_retry(error: HopError, request: Request, *, reused: bool) -> bool:
    """Whether a request that failed on a connection may be sent again, once."""
    if isinstance(error, Unsent):
        return True
    if not isinstance(request.body, bytes) and request.upgrade is None:
        return False  # what was read of it is gone
    if error.retry is Retry.SAFE:
        return True  # RFC 9113 §8.7: it was not processed, whatever the method
    # RFC 9112 §9.3.1, RFC 9110 §9.2.2: the connection died before a byte came; never a POST
    return reused and error.retry is Retry.IF_REUSED and request.method in IDEMPOTENT
