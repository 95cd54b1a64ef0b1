"""An ASGI 3 application as a Service: one task a request, which may go on after its response."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import quote

from appserver.failures import AppFailed, named, told
from appserver.outgoing import Disconnected, Outgoing
from appserver.rules.outgoing import response_fields
from appserver.rules.scope import http_scope
from appserver.websockets import WebSocketOptions, WebSockets
from stack.clock import Clock, SystemClock
from stack.errors import ClientGone, HopError
from stack.http.message import Body, Fields, Request, Response, has_no_content
from stack.http.upgrade import WEBSOCKET
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger("hopstack.app")


class AsgiService:
    """Answers with what `app` sends. `app` may be given late, once it is loaded."""

    def __init__(
        self,
        name: str,
        *,
        tasks: Tasks,
        root_path: str = "",
        buffer: int = 64 * 1024,
        clock: Clock | None = None,
        websockets: WebSocketOptions | None = None,
    ) -> None:
        self.app: App = _not_loaded
        self.state: dict[str, Any] = {}
        """What the app left at its lifespan's startup; every request gets a shallow copy."""
        self._tasks = tasks
        self._task_name = f"{name}.app"
        self._root_path = root_path
        self._raw_root = quote(root_path).encode("ascii")
        self._buffer = buffer
        self._websockets = WebSockets(name, tasks=tasks, clock=clock or SystemClock(), options=websockets)

    def handle(self, request: Request, exchange: Exchange) -> Awaitable[Response]:
        if request.upgrade is not None:
            if request.upgrade == WEBSOCKET:
                return self._open(request, exchange)
            request.upgrade, request.body = None, b""  # RFC 9110 §7.8: ignored
        cycle = _Cycle(request, exchange, self._buffer)
        scope = http_scope(
            request, exchange.client, root_path=self._root_path, raw_root=self._raw_root, state=self.state
        )
        self._tasks.spawn(cycle.run(self.app, scope), name=self._task_name)
        return cycle.answer

    def _open(self, request: Request, exchange: Exchange) -> Awaitable[Response]:
        scope = http_scope(
            request, exchange.client, root_path=self._root_path, raw_root=self._raw_root, state=self.state
        )
        return self._websockets.open(self.app, scope, request, exchange)

    def go_away(self) -> None:
        """The server stops: open WebSockets are closed, no more are opened."""
        self._websockets.go_away()

    @property
    def websockets(self) -> int:
        """How many are open."""
        return len(self._websockets)


async def _not_loaded(scope: Any, receive: Any, send: Any) -> None:
    raise AppFailed("The application is not loaded.", status=503)


_WAITING: Final = 0  # for http.response.start
_STARTED: Final = 1  # which is kept until the first piece of content
_STREAMING: Final = 2
_TRAILING: Final = 3  # the content has ended, trailers were announced
_COMPLETE: Final = 4


class _Cycle:
    """One request and its response. The client's departure shows in `answer` being cancelled or `_stream` closed."""

    __slots__ = (
        "_body", "_buffer", "_declared", "_error", "_exchange", "_fields", "_gone", "_received", "_request", "_sent",
        "_stage", "_status", "_stream", "_trailers", "_waiters", "answer",
    )  # fmt: skip

    def __init__(self, request: Request, exchange: Exchange, buffer: int) -> None:
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._request = request
        self._exchange = exchange
        self._body: Body = request.body
        self._received = False
        self._buffer = buffer
        self._stage = _WAITING
        self._status = 0
        self._fields: Fields = []
        self._declared = -1
        self._sent = 0
        self._stream: Outgoing | None = None
        self._trailers: Fields | None = None
        """Where the app has announced some."""
        self._gone = False
        self._error: HopError | None = None
        self._waiters: list[asyncio.Future[None]] = []

    async def run(self, app: App, scope: MutableMapping[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            # only the end of the process cancels an app
            self._failed(AppFailed("The server is stopping.", status=503))
            raise
        except BaseException as error:  # even SystemExit is the failure of this one request
            self._failed(error)
        else:
            if self._stage != _COMPLETE:
                missing = "response" if self._stage == _WAITING else "end of the response"
                self._failed(AppFailed(private=f"the app returned without the {missing}"))

    # What the app is given.

    async def receive(self) -> Message:
        if not self._received and self._stage != _COMPLETE:
            body = self._body
            if isinstance(body, bytes):
                self._received = True
                return {"type": "http.request", "body": body, "more_body": False}
            try:
                return {"type": "http.request", "body": await body.__anext__(), "more_body": True}
            except StopAsyncIteration:
                self._received = True
                return {"type": "http.request", "body": b"", "more_body": False}
            except HopError as error:  # the client has gone, is too slow or sends too much
                self._received = True
                self._gone = True
                self._error = error
        if not self._gone and self._stage != _COMPLETE and not self.answer.cancelled():
            await self._wait_end()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        stage = self._stage
        if stage == _STREAMING and kind == "http.response.body":
            await self._continue(message.get("body", b""), message.get("more_body", False))
        elif stage == _STARTED and kind == "http.response.body":
            if self.answer.done():
                raise Disconnected("the client has gone")
            if message.get("more_body", False):
                await self._begin_stream(message.get("body", b""))
            elif self._trailers is not None:
                await self._begin_stream(message.get("body", b""))
                await self._continue(b"", False)
            else:
                self._whole(message.get("body", b""))
        elif stage == _WAITING and kind == "http.response.start":
            if self.answer.done():
                raise Disconnected("the client has gone")
            status = message["status"]
            if type(status) is not int or not 200 <= status <= 999:
                raise ValueError(f"http.response.start has the status {status!r}")
            self._fields, self._declared = response_fields(message.get("headers", ()))
            self._status = status
            if message.get("trailers", False):
                self._trailers = []
            self._stage = _STARTED
        elif stage == _TRAILING and kind == "http.response.trailers":
            self._trail(message)
        elif stage == _COMPLETE:
            if self._gone:
                raise Disconnected("the client has gone")
            raise RuntimeError(f"{kind!r} was sent after the response's end")
        else:
            wanted = "http.response." + {_WAITING: "start", _TRAILING: "trailers"}.get(stage, "body")
            raise RuntimeError(f"{kind!r} was sent where {wanted!r} is due")

    # Sending.

    def _whole(self, body: bytes) -> None:
        if type(body) is not bytes:
            body = bytes(body)
        if self._declared >= 0 and self._declared != len(body) and not self._no_content():
            raise ValueError(f"Content-Length is {self._declared}, the content has {len(body)} bytes")
        self._exchange.mark("app", "answered")
        self.answer.set_result(Response(self._status, self._fields, body))
        self._complete()

    async def _begin_stream(self, piece: bytes) -> None:
        stream = Outgoing(self._left)
        self._stage = _STREAMING
        self._exchange.mark("app", "answered")
        if self._no_content():
            # HEAD, 204, 304: the head goes out, what the app sends is dropped until it ends
            stream.end()
            self.answer.set_result(Response(self._status, self._fields, stream))
            return
        self._stream = stream
        self._count(piece)
        self.answer.set_result(Response(self._status, self._fields, stream, trailers=self._trailers))
        stream.put(bytes(piece))
        if stream.size > self._buffer:
            await stream.drained()

    async def _continue(self, piece: bytes, more: bool) -> None:
        stream = self._stream
        if stream is not None:
            if self._gone:
                raise Disconnected("the client has gone")
            if piece:
                self._count(piece)
                stream.put(piece if type(piece) is bytes else bytes(piece))
            if more:
                if stream.size > self._buffer:
                    await stream.drained()
                return
            if 0 <= self._declared != self._sent:
                raise ValueError(f"Content-Length is {self._declared}, the content has {self._sent} bytes")
            if self._trailers is None:
                stream.end()
        elif more:
            return
        if self._trailers is None:
            self._complete()
        else:
            self._stage = _TRAILING

    def _trail(self, message: Message) -> None:
        """ASGI's extension `http.response.trailers`: they follow the content, over HTTP/1.1 and HTTP/2."""
        if self._gone:
            raise Disconnected("the client has gone")
        assert self._trailers is not None
        self._trailers += response_fields(message.get("headers", ()))[0]
        if message.get("more_trailers", False):
            return
        if self._stream is not None:
            self._stream.end()
        self._complete()

    def _count(self, piece: bytes) -> None:
        self._sent += len(piece)
        if 0 <= self._declared < self._sent:
            raise ValueError(f"Content-Length is {self._declared}, the content has at least {self._sent} bytes")

    def _no_content(self) -> bool:
        return has_no_content(self._request.method, self._status)

    # Endings.

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            error = AppFailed(private=repr(error))
        if self._stage in (_WAITING, _STARTED):
            if not self.answer.done():
                self._exchange.mark("app", "failed")
                # What was wrong with the request explains what the app then did: 408, 413.
                self.answer.set_exception(self._error or named(error, self._request, self._exchange))
        elif self._stage in (_STREAMING, _TRAILING) and self._stream is not None:
            self._stream.fail(error)
        elif not isinstance(error, Disconnected):
            told("the app failed after its response", error, self._request, self._exchange)
        self._gone = True
        self._complete()

    def _complete(self) -> None:
        """The response is: whoever still waits in `receive` hears of it."""
        self._stage = _COMPLETE
        if self._waiters:
            self._wake()
        if not self._received and isinstance(self._body, Incoming) and self._body.waiting:
            self._body.fail(ClientGone())

    def _left(self) -> None:
        """The engine closes the stream: before its end, nobody will read the rest."""
        self._gone = self._gone or self._stage != _COMPLETE
        self._wake()

    async def _wait_end(self) -> None:
        """Until the response is complete or the client gone."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._waiters and not self.answer.done():
            self.answer.add_done_callback(self._answered)
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _answered(self, answer: asyncio.Future[Response]) -> None:
        if answer.cancelled():
            self._gone = True
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
