"""A WebSocket of an ASGI application: its session from the handshake to the close (RFC 6455; ASGI, "WebSocket").

The engine gives the handshake as a Request with `upgrade`, its body being what the client sends; the session answers
101 with what it sends. Over HTTP/1.1 and HTTP/2 it is the same.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from appserver.failures import AppFailed, named, told
from appserver.frames import ABNORMAL, NO_STATUS, Answered, Close, Frames
from appserver.outgoing import Disconnected, Outgoing
from appserver.rules.handshake import accept_fields, deflate
from appserver.rules.outgoing import response_fields
from appserver.websockets import WebSocketOptions
from stack.clock import Clock, Handle
from stack.errors import HopError
from stack.http.message import BodyStream, Fields, Request, Response
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

Message = MutableMapping[str, Any]
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

GOING_AWAY: Final = 1001
INTERNAL_ERROR: Final = 1011
CLOSING: Final = 10.0
"""Seconds that a client has to answer our Close, and its connection to end."""


class Stage(enum.Enum):
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    DENYING = enum.auto()
    OVER = enum.auto()


class Session:
    """One WebSocket. `answer` is the engine's: it is cancelled when the client goes before it is given."""

    def __init__(
        self, request: Request, exchange: Exchange, options: WebSocketOptions, *, clock: Clock, tasks: Tasks, name: str
    ) -> None:
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(self._answered)
        self._request, self._exchange, self._options = request, exchange, options
        self._clock, self._tasks, self._name = clock, tasks, name
        self._stage = Stage.CONNECTING
        self._agreed = deflate(request) if options.compress else None
        self._frames = Frames(self._agreed, max_size=options.max_size)
        self._out = Outgoing(self._left)
        self._connected = False
        """The app has been told of the handshake."""
        self._messages: deque[tuple[Message, int]] = deque()
        self._held = 0
        self._disconnect: Message | None = None
        """What the app hears once it has taken all messages."""
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._denial: tuple[int, Fields] | None = None
        self._timer: Handle | None = None
        self._unanswered = False
        """A ping is."""
        self._well = False
        """The client's Close has come."""

    async def run(self, app: App, scope: MutableMapping[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._failed(AppFailed("The server is stopping.", status=503))
            raise
        except BaseException as error:  # even SystemExit is the failure of this one session
            self._failed(error)
        else:
            self._returned()
        finally:
            self._drop_messages()

    # What the app is given.

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        while not self._messages:
            if self._disconnect is not None:
                return self._disconnect
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message, size = self._messages.popleft()
        self._held -= size
        if self._room is not None and self._held <= self._options.buffer // 2 and not self._room.done():
            self._room.set_result(None)
        return message

    async def send(self, message: Message) -> None:
        kind, stage = message["type"], self._stage
        if stage is Stage.OPEN and kind == "websocket.send":
            await self._send(message)
        elif stage is Stage.OPEN and kind == "websocket.close":
            self._close(message.get("code") or 1000, message.get("reason") or "")
        elif stage is Stage.CONNECTING and kind == "websocket.accept":
            self._accept(message)
        elif stage is Stage.CONNECTING and kind == "websocket.close":
            self._deny(Response(403, [(b"content-type", b"text/plain; charset=utf-8")], b"The app refused."))
        elif stage is Stage.CONNECTING and kind == "websocket.http.response.start":
            self._start_denial(message)
        elif stage is Stage.DENYING and kind == "websocket.http.response.body":
            await self._continue_denial(message)
        elif stage is Stage.OVER:
            if kind == "websocket.close":
                return  # closing twice harms nobody, and the client may have been first
            raise Disconnected("the WebSocket is closed")
        else:
            raise RuntimeError(f"{kind!r} was sent where it has no place: the WebSocket is {stage.name.lower()}")

    # The handshake.

    def _accept(self, message: Message) -> None:
        if self.answer.done():
            raise Disconnected("the client has gone")
        fields = accept_fields(message.get("headers") or (), message.get("subprotocol"))
        if self._agreed is not None:
            fields.append((b"sec-websocket-extensions", self._agreed.field))
        self._stage = Stage.OPEN
        self._exchange.mark("app", "answered")
        self.answer.set_result(Response(101, fields, self._out))
        body = self._request.body
        assert not isinstance(body, bytes)
        self._tasks.spawn(self._read(body), name=f"{self._name}.websocket")
        self._arm()

    def _deny(self, response: Response) -> None:
        """Before the handshake has ended a WebSocket is refused by any other response (ASGI: 403)."""
        self._over(ABNORMAL)
        if not self.answer.done():
            self._exchange.mark("app", "answered")
            self.answer.set_result(response)

    def _start_denial(self, message: Message) -> None:
        status = message["status"]
        if type(status) is not int or not 200 <= status <= 999:
            raise ValueError(f"websocket.http.response.start has the status {status!r}")
        fields, _ = response_fields(message.get("headers") or ())
        self._denial = (status, fields)
        self._stage = Stage.DENYING

    async def _continue_denial(self, message: Message) -> None:
        assert self._denial is not None
        status, fields = self._denial
        piece, more = bytes(message.get("body") or b""), message.get("more_body", False)
        if not more and not self.answer.done():
            self._deny(Response(status, fields, piece))
            return
        if not self.answer.done():
            self._exchange.mark("app", "answered")
            self.answer.set_result(Response(status, fields, self._out))
        self._out.put(piece)
        if not more:
            self._out.end()
            self._over(ABNORMAL)
        elif self._out.size > self._options.buffer:
            await self._out.drained()

    # An open session.

    async def _send(self, message: Message) -> None:
        data, text = message.get("bytes"), message.get("text")
        if (data is None) == (text is None):
            raise ValueError("websocket.send has either `bytes` or `text`")
        self._out.put(self._frames.send(bytes(data) if data is not None else str(text)))
        if self._out.size > self._options.buffer:
            await self._out.drained()

    def _close(self, code: int, reason: str) -> None:
        """Ours. The client answers it, and then the connection ends."""
        self._out.put(self._frames.close(code, reason))
        self._stage = Stage.OVER
        self._stop_timer()
        self._timer = self._clock.call_later(CLOSING, self._out.end)

    async def _read(self, body: BodyStream) -> None:
        """What the client sends, until its end."""
        try:
            async for data in body:
                if self._frames.over:
                    continue  # it broke the protocol and has been told: what it still sends is dropped
                self._take(data)
                if self._well:
                    break
                while self._held > self._options.buffer and self._stage is Stage.OPEN:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                    self._room = None
        except HopError:
            pass  # it is gone
        finally:
            self._over(ABNORMAL)
            self._stop_timer()
            self._out.end()
            await body.aclose()

    def _take(self, data: bytes) -> None:
        for event in self._frames.receive(data):
            if isinstance(event, Close):
                self._well = not event.ours
                self._over(event.code, event.reason)
                if event.ours:
                    self._exchange.detail = f"WebSocket closed with {event.code}: {event.reason}"
                self._stop_timer()
            elif isinstance(event, Answered):
                self._unanswered = False
            elif self._stage is Stage.OPEN:
                key = "text" if isinstance(event.data, str) else "bytes"
                self._messages.append(({"type": "websocket.receive", key: event.data}, event.size))
                self._held += event.size
                self._wake()
        self._out.put(self._frames.reply())
        if self._frames.over and not self._well:
            self._out.end()

    # Endings.

    def _over(self, code: int, reason: str = "") -> None:
        """No more messages come or go. The first word counts."""
        self._stage = Stage.OVER
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": code or NO_STATUS, "reason": reason}
        self._wake()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _left(self) -> None:
        """The engine reads no more of what we send: the client is gone, or all is said."""
        self._over(ABNORMAL)
        self._stop_timer()

    def _answered(self, answer: asyncio.Future[Response]) -> None:
        if answer.cancelled():
            self._over(ABNORMAL)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _drop_messages(self) -> None:
        """The app has left: nobody takes them."""
        self._messages.clear()
        self._held = 0
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _returned(self) -> None:
        if self._stage is Stage.OPEN:
            self._close(1000, "")
        elif self._stage in (Stage.CONNECTING, Stage.DENYING):
            self._failed(AppFailed(private="the app returned and neither accepted nor refused the WebSocket"))

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            error = AppFailed(private=repr(error))
        if not self.answer.done():
            self._exchange.mark("app", "failed")
            self.answer.set_exception(named(error, self._request, self._exchange))
            self._over(ABNORMAL)
        elif self._stage is Stage.OPEN:
            told("the app failed", error, self._request, self._exchange)
            self._exchange.detail = repr(error)
            self._close(INTERNAL_ERROR, "")
        elif self._stage is Stage.DENYING:
            self._out.fail(error)
            self._over(ABNORMAL)
        elif not isinstance(error, Disconnected):
            told("the app failed after its WebSocket was closed", error, self._request, self._exchange)

    def go_away(self) -> None:
        """The server stops: an open session is closed with 1001 (RFC 6455 §7.4.1); others end as they will."""
        if self._stage is Stage.OPEN:
            self._close(GOING_AWAY, "the server is stopping")
            self._over(GOING_AWAY)

    # Time.

    def _arm(self) -> None:
        if self._options.ping:
            self._timer = self._clock.call_later(self._options.ping, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """A pong that lies behind messages which the app does not take is not missed."""
        if self._stage is not Stage.OPEN:
            return
        if self._unanswered and self._room is None:
            self._exchange.detail = f"no pong within {self._options.ping:g} s"
            self._over(ABNORMAL)
            self._out.end()
            return
        self._unanswered = True
        self._out.put(self._frames.ping())
        self._arm()
