"""The WebSockets of one application: opened by a handshake, counted, and told when the server stops."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appserver.rules.handshake import VERSION, right_version, websocket_scope
from appserver.rules.scope import Scope
from stack.clock import Clock
from stack.errors import ClientError, Elsewhere
from stack.http import problem
from stack.http.message import Request, Response
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from appserver.websocket import Session


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    max_size: int = 16 * 1024 * 1024
    """Bytes of one message; a longer one closes with 1009. 0: no bound."""
    ping: float = 20.0
    """Seconds between two pings; who has not answered one by the next is gone. 0: none."""
    compress: bool = True
    """permessage-deflate, where the client offers it."""
    buffer: int = 64 * 1024
    """Bytes held in either direction before whoever sends them is paused."""


class WebSockets:
    def __init__(self, name: str, *, tasks: Tasks, clock: Clock, options: WebSocketOptions | None) -> None:
        self._name = name
        self._tasks = tasks
        self._clock = clock
        self._options = options or WebSocketOptions()
        self._sessions: set[Session] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, app: Any, scope: Scope, request: Request, exchange: Exchange) -> Awaitable[Response]:
        """The answer to a handshake; `scope` is what the app would have got as an HTTP request."""
        if self._stopping:
            return _elsewhere()
        if not right_version(request):
            return _other_version(self._name, request, exchange)
        from appserver.websocket import Session  # wsproto, for who needs it

        session = Session(request, exchange, self._options, clock=self._clock, tasks=self._tasks, name=self._name)
        self._sessions.add(session)
        task = self._tasks.spawn(session.run(app, websocket_scope(scope, request)), name=f"{self._name}.app")
        task.add_done_callback(lambda _: self._sessions.discard(session))
        return session.answer

    def go_away(self) -> None:
        self._stopping = True
        for session in list(self._sessions):
            session.go_away()


async def _elsewhere() -> Response:
    """On a connection that was kept: the process that comes after this one is asked on a new one."""
    raise Elsewhere


async def _other_version(name: str, request: Request, exchange: Exchange) -> Response:
    """RFC 6455 §4.4, RFC 9110 §15.5.22."""
    error = ClientError("Only version 13 of WebSocket is spoken here.", status=426)
    exchange.proxy_status, exchange.detail = error.proxy_status, error.detail
    response = problem.response(error, hop=name, accept=request.get(b"accept"), request_id=exchange.request_id)
    response.fields += [(b"upgrade", b"websocket"), (b"sec-websocket-version", VERSION)]
    if request.version != b"2":
        response.fields.append((b"connection", b"upgrade"))
    return response
