"""One downstream HTTP/1.1 connection: requests in, responses out, one at a time (RFC 9112 §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from stack.errors import BadRequest, ClientGone, ContentTooLarge, CutOff, HopError
from stack.http.h1 import parse_request
from stack.http.message import Peer, Request, Response
from stack.http.request_line import too_large, unfinished
from stack.http.upgrade import asked
from stack.net.content import Content
from stack.net.context import Context
from stack.net.h1_patience import LINGER
from stack.net.h1_sender import INFINITY, close_body, ready
from stack.net.h1_short import H1Short
from stack.net.pace import Pace
from stack.net.stream import Incoming
from stack.net.tunnel import ServerTunnel
from stack.telemetry.exchange import Exchange

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 §3.4."""


class H1ServerConnection(H1Short):
    """See `stack.net.context.Connection`. `upgrade_h2` takes the connection over when the client preface arrives."""

    __slots__ = ("_continue", "_task", "_upgrade_h2")

    def __init__(
        self,
        context: Context,
        peer: Peer,
        scheme: bytes,
        upgrade_h2: Callable[[H1ServerConnection, bytes], None] | None,
    ) -> None:
        super().__init__(context, peer, scheme)
        self._upgrade_h2 = upgrade_h2
        self._continue = False
        self._task: asyncio.Future[Any] | None = None
        """What a request waits for: the task of `_wait`, or a future that a service answered with."""

    # Events of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()  # kept: to ask for it costs a system call (getpid)
        self._ctx.connections.add(self)
        self._ctx.connection_counts["h1"] += 1
        self.deadline = self._ctx.now() + self._ctx.timeouts.head

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ctx.connections.discard(self)
        self._closing = True
        if self._content is not None and not self._content.done:
            self._content.stream.fail(ClientGone())
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ClientGone())
            self._writable.exception()  # nobody need be waiting for it
        if self._exchange is not None:
            self._exchange.status = self._exchange.status or ClientGone.status
            if not self._exchange.termination:
                self._exchange.termination = "client-gone"
            if self._task is not None:
                # in the next turn: a task that is cancelled before its first step would never end its exchange
                self._loop.call_soon(self._task.cancel)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self.deadline = min(self._ctx.now() + LINGER, self._linger_until)
        elif self._request is not None:
            self._more(data)
        else:
            self._parse(self._buffer + data if self._buffer else data)

    def eof_received(self) -> bool:
        """A client may shut down its side and still read (RFC 9112 §9.6); TLS cannot be half open here."""
        self._eof = True
        if self.peer.tls is not None or (self._request is None and (self._seen or not self._buffer)):
            return False
        if self._request is None:
            return True  # whole requests wait for their turn
        if self._content is not None and not self._content.done:
            self._keep_alive = False
            self._content.stream.fail(BadRequest("The request's content ended early."))
        self._look_again(self._request, self._exchange.bytes_out if self._exchange is not None else 0)
        return True

    def _look_again(self, request: Request, sent: int) -> None:
        self._ctx.clock.call_later(self._ctx.timeouts.half_closed, lambda: self._left(request, sent))

    def _left(self, request: Request, before: int) -> None:
        """Whoever closes sends the same FIN as who shuts down one side: only bytes on their way tell them apart."""
        if self._request is not request or self._closing or self._exchange is None:
            return
        sent = self._exchange.bytes_out
        if self._head_sent and (sent > before or self._writable is not None):
            self._look_again(request, sent)
        else:
            self.transport.abort()

    # A request comes in.

    def _parse(self, data: bytes) -> None:
        """Take requests from `data` for as long as each is answered at once."""
        ctx = self._ctx
        limits = ctx.limits
        while data and self._writable is None:
            if self._short is not None and (size := self._answer_briefly(data)):
                data = data[size:]
                continue
            if data[0] in (0x0D, 0x0A):
                left = data.lstrip(b"\r\n")  # RFC 9112 §2.2: empty lines in front
                if data[: len(data) - len(left)].replace(b"\r\n", b"") not in (b"", b"" if left else b"\r"):
                    self.refuse(BadRequest("A line does not end with CR LF, or holds a NUL."))
                    return
                data = left or data[-1:].replace(b"\n", b"")
                if not left:
                    break
                continue
            if self._served == 0 and self._upgrade_h2 is not None and PREFACE.startswith(data[: len(PREFACE)]):
                if len(data) < len(PREFACE):
                    break
                ctx.connections.discard(self)
                ctx.connection_counts["h1"] -= 1
                self.deadline = INFINITY
                self._upgrade_h2(self, data)
                return
            end = data.find(b"\r\n\r\n", self._seen - 3 if self._seen > 3 else 0)
            if end < 0 or end > limits.head:
                if not self._incomplete(data, end):
                    return
                break
            self._seen = 0
            end += 4
            try:
                request = parse_request(self._parser, data[:end], max_target=limits.target, max_fields=limits.fields)
                if request.framing > limits.body and limits.body:
                    raise ContentTooLarge(f"At most {limits.body} bytes of content are taken.")
                if request.asks_upgrade and not request.framing:
                    request.upgrade = asked(request.method, request.fields, ctx.upgrades)
            except HopError as error:
                self.refuse(error, data)
                return
            self._served += 1
            self._keep_alive = request.keep_alive
            if not request.scheme:
                request.scheme = self.scheme
            request.peer = self.peer
            request.interim = self._interim
            if request.upgrade is not None:
                request.body = ServerTunnel(self).stream
            data = data[end:]
            self._request = request
            self.deadline = INFINITY
            if request.framing:
                data = self._begin_content(request, request.framing, request.expects_continue, data)
                if self._closing or self._lingering:
                    return
            self._head_sent = False
            self._exchange = ctx.begin(request)
            self._buffer = data
            self._answer(request, self._exchange)
            if self._occupied():
                return
            data = self._buffer
        self._buffer = data
        if data and self._writable is not None:
            self._pause_reading()  # a client that does not take its answers may not ask for more
        elif self._eof and not self._closing:
            self._close()

    def _incomplete(self, data: bytes, end: int) -> bool:
        """The head has not ended: whether more may be waited for."""
        limits = self._ctx.limits
        fault = (
            too_large(data, limits.head, limits.target)
            if end > limits.head or len(data) - 3 > limits.head  # of its end three bytes may be here
            else unfinished(data, self._seen)
        )
        if fault is not None:
            self.refuse(fault, data)
            return False
        if not self._seen:
            self.deadline = self._ctx.now() + self._ctx.timeouts.head
        self._seen = len(data)
        return True

    def _begin_content(self, request: Request, framing: int, expects: bool, data: bytes) -> bytes:
        stream = Incoming(
            self._ctx.limits.buffer,
            pause=self._pause_reading,
            resume=self._resume_reading,
            wanted=self._wanted if expects else None,
            trailers=request.trailers,
        )
        self._content = Content(framing, stream, self._parser, Pace(now := self._ctx.now()))
        self._continue = expects
        request.body = stream
        if data:
            data = self._feed(data)
        if (whole := stream.complete()) is not None and not stream.trailers:
            request.body = whole
        elif not (self._closing or self._lingering):
            self.deadline = now + self._ctx.timeouts.body
        return data

    def _more(self, data: bytes) -> None:
        """Bytes while a request is being answered: its content, or the next request."""
        content = self._content
        if content is not None and not content.done:
            data = self._feed(data)
            if content.pace is not None:
                content.pace.heard = self._ctx.now()
            if self._writable is None and content.finished():
                self.deadline = INFINITY
        self._buffer += data
        if len(self._buffer) > self._ctx.limits.buffer:
            self._pause_reading()

    def _feed(self, data: bytes) -> bytes:
        content = self._content
        assert content is not None
        try:
            rest = content.feed(data)
        except ValueError as error:
            self._fail_content(BadRequest(f"The request's content is not well-formed: {error}."))
            return b""
        limit = self._ctx.limits.body
        if limit and content.received > limit:
            self._fail_content(ContentTooLarge(f"At most {limit} bytes of content are taken."))
            return b""
        return rest

    def _fail_content(self, error: HopError) -> None:
        """The content is broken: no later request can be found behind it."""
        assert self._content is not None
        self._keep_alive = False
        self._content.stream.fail(error)
        if self._exchange is None:  # found out before the service was asked
            method = self._request.method + b" " if self._request is not None else b""
            self._request = None
            self.refuse(error, method)
        elif self._task is not None and not self._head_sent and not self._content.stream.waiting:
            # the service may be waiting for something else, which this request will never complete
            self._task.cancel()
            self._task = None
            self._send_whole(*self._current(), self._ctx.error(error, self._request, self._exchange))
            self._done()

    def _wanted(self) -> None:
        """The service reads the content: now it is asked for (RFC 9110 §10.1.1)."""
        if (
            self._continue
            and not self._head_sent
            and not self._closing
            and self._content
            and not self._content.received
        ):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._await_content()
        self._continue = False

    # A response goes out.

    def _answer(self, request: Request, exchange: Exchange) -> None:
        try:
            if (own := self.peer.authorities) is not None:
                own.check(request.authority)
            result = self._ctx.service.handle(request, exchange)
        except Exception as error:
            result = self._ctx.error(error, request, exchange)
        if isinstance(result, Response):
            if isinstance(result.body, bytes):
                self._send_whole(request, exchange, result)
                self._done()
                return
            result = ready(result)
        elif isinstance(result, asyncio.Future):
            self._task = result
            result.add_done_callback(self._answered)
            return
        # the connection owns it: it is cancelled with the connection, and `_wait` lets no error through; made here
        # and with a name, for `create_task` would make up one for each request
        self._task = asyncio.Task(self._wait(request, exchange, result), loop=self._loop, name="request")

    def _answered(self, answer: asyncio.Future[Response]) -> None:
        """A service that runs in a task of its own has answered: a whole response needs no second one here."""
        whole = not answer.cancelled() and answer.exception() is None
        if self._task is not answer:
            if whole:  # somebody else has answered
                self._ctx.tasks.spawn(close_body(answer.result()), name=f"{self._ctx.name}.close")
            return
        request, exchange = self._current()
        if whole and not self._closing and isinstance((response := answer.result()).body, bytes):
            self._task = None
            self._send_whole(request, exchange, response)
            self._done()
            self._after()
        else:
            self._task = self._ctx.tasks.spawn(self._wait(request, exchange, answer), name=f"{self._ctx.name}.request")

    async def _wait(self, request: Request, exchange: Exchange, answer: Awaitable[Response]) -> None:
        """The one task of a request that waits."""
        try:
            try:
                response = await answer
            except CutOff as cut:
                self._cut(cut, exchange)
                return
            except Exception as error:
                response = self._ctx.error(error, request, exchange)
            if self._closing:
                await close_body(response)
                return
            if isinstance(response.body, bytes):
                self._send_whole(request, exchange, response)
            else:
                await self._send_stream(request, exchange, response)
        except asyncio.CancelledError:
            if self._exchange is not exchange:
                return  # somebody else has answered
            self._abort_transport()
            raise
        finally:
            if self._exchange is exchange:
                self._task = None
                self._done()
                self._after()

    def _current(self) -> tuple[Request, Exchange]:
        assert self._request is not None
        assert self._exchange is not None
        return self._request, self._exchange

    # After a response.

    def _done(self) -> None:
        exchange, self._exchange = self._exchange, None
        self._request = None
        if exchange is None:
            return
        content, self._content = self._content, None
        if content is not None:
            exchange.bytes_in = content.received
        self._ctx.end(exchange)
        if self._closing:
            return
        if not self._keep_alive:
            # in the clear always: the next request may be on its way, and a reset would eat this answer (RFC 9112 §9.6)
            self._close(linger=self.peer.tls is None or (content is not None and not content.done))
            return
        self.deadline = exchange.ended + self._ctx.timeouts.idle
        if self._paused_reading and self._writable is None:
            self._resume_reading()

    def _occupied(self) -> bool:
        """Whether no further request is to be read now."""
        return self._request is not None or self._closing or self._lingering

    def _after(self) -> None:
        """Go on with what has come meanwhile."""
        if self._request is not None or self._closing or self._lingering:
            return
        if self._paused_reading:
            self._resume_reading()
        if self._buffer:
            self._loop.call_soon(self._next)
        elif self._eof:
            self._close()

    def _next(self) -> None:
        if self._buffer and not self._occupied():
            data, self._buffer = self._buffer, b""
            self._parse(data)

    def refuse(self, error: HopError, data: bytes = b"") -> None:
        """Answer what is not a request, and close: nothing behind it can be trusted. `data` is how it begins."""
        method = b"HEAD" if data.startswith(b"HEAD ") else b"-"  # whose answer has no content (RFC 9110 §9.3.2)
        request = Request(method, b"-", [], authority=b"", scheme=self.scheme, peer=self.peer)
        self._keep_alive = False
        self._buffer = b""
        self._content = None
        self._request = request
        self._head_sent = False
        self._exchange = exchange = self._ctx.begin(request)
        exchange.termination = "refused"
        self._send_whole(request, exchange, self._ctx.error(error, None, exchange))
        self._request = None
        self._exchange = None
        self._ctx.end(exchange)
        self._close(linger=True)

    # What the server asks for.

    def drain(self) -> None:
        if self._request is not None or self._lingering:
            self._keep_alive = False
        else:
            # a request may be on its way already, and one that may not be repeated would be lost
            self.deadline = min(self.deadline, self._ctx.now() + self._ctx.timeouts.linger)

    def abort(self) -> None:
        if self._exchange is not None and not self._exchange.termination:
            self._exchange.termination = "drained"
        self._abort_transport()
