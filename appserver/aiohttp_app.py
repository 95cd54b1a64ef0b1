"""An aiohttp Application on aiohttp's own runner, with this hop's identity, telemetry and way to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import weakref
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any, Final

from aiohttp import WSCloseCode, hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.web_protocol import RequestHandler

from appserver.aiohttp_life import LIFE, Life, SharingRunner
from appserver.aiohttp_patience import Patience
from appserver.marks import Marks
from appserver.rules.scope import forwarded_scheme
from stack.clock import Clock
from stack.config.base import Limits, Timeouts
from stack.errors import HopError
from stack.http import problem
from stack.http.message import Peer, Request
from stack.http.trust import Trust
from stack.net.acceptor import Acceptor, Seat
from stack.net.room import Room
from stack.net.server import ServerStatistics
from stack.net.sweeper import Sweeper
from stack.net.tasks import Tasks
from stack.net.termination import Termination
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import identify

log = logging.getLogger("hopstack.app")

EXCHANGE: Final = "hopstack.exchange"
"""`request["hopstack.exchange"]`: an app may add steps of its own with `.mark("db", "asked")`."""
_EXCHANGE: Final = "hopstack._exchange"
"""The Exchange itself."""

_SERVER: Final = "hopstack.server"
POLL: Final = 0.02
"""Seconds between two looks at whether a draining server is empty."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AiohttpRunner:
    """Serves `app` on passed sockets, as `stack.net.server.Server` serves a service.

    `finished` gets every exchange, for the access log and the metrics.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        name: str,
        clock: Clock,
        random: Random,
        limits: Limits,
        timeouts: Timeouts,
        trust: Trust,
        finished: Iterable[Callable[[Exchange], object]],
        sample: Callable[[Exchange], object] | None = None,
    ) -> None:
        self._name = name
        self._clock = clock
        self._now = clock.now
        self._random = random
        self._timeouts = timeouts
        self._trust = trust
        self._sample = sample
        self._tasks = Tasks()
        self._room = Room(limits, trust, clock)
        self._acceptors: list[Acceptor] = []
        self._waiting: set[Patience] = set()
        self._sweeper = Sweeper(clock, self._waiting)
        self._draining = False
        self._websockets: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()
        self._opened = 0
        if LIFE not in app:
            app[LIFE] = Life()
            app.on_response_prepare.append(_prepare)
            app.middlewares.insert(0, _explain)
        self._runner = SharingRunner(
            app,
            access_log=log,
            access_log_class=_finisher(tuple(finished)),
            keepalive_timeout=timeouts.idle,
            # aiohttp waits twice: for handlers, then for handlers whose content it has failed
            shutdown_timeout=timeouts.drain / 2,
            max_line_size=limits.target,
            max_field_size=limits.head,
            max_headers=limits.fields,
        )

    async def setup(self) -> None:
        """Run the app's startup. What it raises comes through."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        make = server.request_factory

        def begin(message: Any, payload: Any, protocol: RequestHandler, *rest: Any) -> web.BaseRequest:
            return self._begin(make(message, payload, protocol, *rest), protocol)

        server.request_factory = begin
        accept, lose = server.connection_made, server.connection_lost

        def opened(protocol: RequestHandler, transport: asyncio.Transport) -> None:
            self._opened += 1
            self._room.enter(_address(protocol))
            accept(protocol, transport)

        def lost(protocol: RequestHandler, exc: BaseException | None = None) -> None:
            self._room.leave(_address(protocol))
            lose(protocol, exc)

        server.connection_made = opened  # type: ignore[assignment,method-assign]
        server.connection_lost = lost  # type: ignore[assignment,method-assign]

    async def listen(self, sock: socket.socket, tls: Termination | None = None) -> None:
        server = self._runner.server
        assert server is not None

        def make(_: Seat) -> Patience:
            return Patience(server(), timeouts=self._timeouts, clock=self._clock, members=self._waiting)

        acceptor = Acceptor(
            sock, make, room=self._room, tasks=self._tasks, clock=self._clock,
            tls=None if tls is None else tls.context, handshake=self._timeouts.handshake,
        )  # fmt: skip
        acceptor.start()
        self._sweeper.start()
        self._acceptors.append(acceptor)

    # One request.

    def _begin(self, request: web.BaseRequest, protocol: RequestHandler) -> web.BaseRequest:
        name = protocol.peername
        address, port = _address(protocol), name[1] if isinstance(name, tuple) else 0
        peer = Peer(address, port, trusted=self._trust.believes(address))
        seen = Request(
            request.method.encode("latin-1"),
            request.raw_path.encode("latin-1", "replace"),
            [(name.lower(), value) for name, value in request.raw_headers],
            authority=request.headers.get(hdrs.HOST, "").encode("latin-1", "replace"),
            scheme=b"https" if protocol.ssl_context is not None else b"http",
            version=b"%d.%d" % request.version,
            peer=peer,
        )
        exchange = Exchange(self._name, self._now, seen)
        identify(exchange, seen, self._trust, self._random)
        if self._sample is not None:
            self._sample(exchange)
        if peer.trusted:
            scheme = forwarded_scheme(seen.fields, exchange.client) or seen.scheme
            request = request.clone(remote=exchange.client, scheme=scheme.decode("ascii"))
        # aiohttp 3.14 warns of keys that are text, and where warnings are errors (in a test) that costs the connection
        request._state[EXCHANGE] = Marks(exchange)
        request._state[_EXCHANGE] = exchange
        request._state[_SERVER] = self
        return request

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """The head is about to go out."""
        headers = response.headers
        if headers.get(hdrs.SERVER, "").startswith("Python/"):
            del headers[hdrs.SERVER]
        exchange = request.get(_EXCHANGE)
        if exchange is not None:
            exchange.mark("app", "failed" if response.status == 500 else "answered")
            headers.setdefault("X-Request-ID", exchange.request_id.decode("ascii"))
            headers.add("Server-Timing", exchange.server_timing().decode("ascii"))
        if isinstance(response, web.WebSocketResponse):
            self._websockets.add(response)
        elif self._draining:
            response.force_close()
            headers[hdrs.CONNECTION] = "close"

    def failed(self, request: web.Request, error: Exception) -> web.Response:
        exchange: Exchange = request[_EXCHANGE]
        if not isinstance(error, HopError):
            log.error("the app failed: %s %s", request.method, request.path, exc_info=error)
            error = HopError(private=repr(error))
        exchange.proxy_status = error.proxy_status
        exchange.detail = error.private or error.detail
        accept = request.headers.get(hdrs.ACCEPT)
        made = problem.response(
            error,
            hop=self._name,
            accept=None if accept is None else accept.encode("latin-1", "replace"),
            request_id=exchange.request_id,
        )
        assert isinstance(made.body, bytes)
        response = web.Response(status=made.status, body=made.body)
        for name, value in made.fields:
            response.headers[name.decode("ascii").title()] = value.decode("latin-1")
        return response

    # Stopping.

    def _stop_accepting(self) -> list[asyncio.Task[None]]:
        """From now on every response says `Connection: close`. The tasks of who arrives."""
        self._draining = True
        return [task for acceptor in self._acceptors for task in acceptor.finish()]

    async def drain(self) -> None:
        """Let requests end within the drain time.

        Idle connections stay open for `timeouts.linger`: a request that is already on its way is answered, with
        `Connection: close`, and not reset.
        """
        arriving = self._stop_accepting()
        for websocket in list(self._websockets):
            self._tasks.spawn(_go_away(websocket), name=f"{self._name}.websocket")
        until = self._now() + min(self._timeouts.linger, self._timeouts.drain)
        while (self.connections or any(not task.done() for task in arriving)) and self._now() < until:
            await self._clock.sleep(POLL)
        for connection in self.connections:
            if not _busy(connection):
                connection.force_close()
        await self._runner.cleanup()  # the app's on_shutdown, then requests in flight, then its on_cleanup

    async def close(self) -> None:
        """Release everything. Safe after `drain`, and without it."""
        self._stop_accepting()
        self._sweeper.stop()
        for acceptor in self._acceptors:
            acceptor.abort()
        for connection in self.connections:
            connection.force_close()
        await self._runner.cleanup()
        await self._tasks.close()

    # Statistics: what `HttpHop` asks its server and its context.

    @property
    def connections(self) -> list[RequestHandler]:
        return self._runner.server.connections if self._runner.server is not None else []

    @property
    def in_flight(self) -> int:
        return sum(map(_busy, self.connections))

    @property
    def tunnels(self) -> int:
        return len(self._websockets)

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(
            connections=len(self.connections),
            in_flight=self.in_flight,
            opened_h1=self._opened,
            opened_h2=0,
            draining=self._draining,
            refused=self._room.refused,
        )


# An application has these once, whoever serves it.


async def _prepare(request: web.Request, response: web.StreamResponse) -> None:
    server: AiohttpRunner = request[_SERVER]
    await server.prepare(request, response)


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the app lets escape becomes a problem document, as on every hop."""
    try:
        return await handler(request)
    except (web.HTTPException, asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        if request.writer.output_size:
            raise  # the response has begun: aiohttp cuts the connection
        server: AiohttpRunner = request[_SERVER]
        return server.failed(request, error)


def _address(connection: RequestHandler) -> str:
    """A Unix socket's peer has none."""
    name = connection.peername
    return name[0] if isinstance(name, tuple) else ""


async def _go_away(websocket: web.WebSocketResponse) -> None:
    """RFC 6455 §7.4.1. The handler's own loop over messages ends with it."""
    with contextlib.suppress(ConnectionError, RuntimeError):
        await websocket.close(code=WSCloseCode.GOING_AWAY, message=b"the server is stopping")


def _busy(connection: RequestHandler) -> bool:
    return connection._request_in_progress or bool(connection._messages)


def _content_sent(response: web.StreamResponse) -> int:
    """aiohttp counts the head with the content, and a chunked content with its framing; the head is taken off here."""
    head = 17 + len(response.reason) + sum(len(name) + len(value) + 4 for name, value in response.headers.items())
    return max(0, response.body_length - head)


def _finisher(finished: tuple[Callable[[Exchange], object], ...]) -> type[AbstractAccessLogger]:
    class Finisher(AbstractAccessLogger):
        """aiohttp makes one for every connection and calls it after every response."""

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            exchange = request.get(_EXCHANGE)
            if exchange is None:
                return
            exchange.status = response.status
            exchange.bytes_out = _content_sent(response)
            exchange.bytes_in = request.content.total_bytes if request.body_exists else 0
            if request.transport is None:
                exchange.termination = "client-gone"
            for callback in finished:
                callback(exchange)

    return Finisher
