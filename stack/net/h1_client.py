"""One upstream HTTP/1.1 connection: a request out, its response in, then perhaps the next (RFC 9112 §9.3)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final, cast

from stack.clock import Clock
from stack.config.base import UpstreamTimeouts
from stack.errors import (
    ClosedEarly,
    HopError,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
    Unsent,
    UpstreamError,
)
from stack.http.chunked import encode, last
from stack.http.field_lines import FieldParser, KnownLines
from stack.http.forwarding import interim_fields
from stack.http.h1 import ResponseHead, parse_response, request_head
from stack.http.message import Request, Response, without
from stack.http.upgrade import check_switch, request_lines, switch_fields
from stack.net.content import Content
from stack.net.expectation import Expectation, NextHop, expects
from stack.net.leftover import leftover
from stack.net.pace import takes, unsent
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.net.tunnel import ClientTunnel, open_tunnel
from stack.telemetry.exchange import Exchange

INFINITY: Final = float("inf")
MAX_HEAD: Final = 128 * 1024
MAX_INTERIM: Final = 32
_WITH_CONTENT: Final = frozenset({b"POST", b"PUT", b"PATCH"})


class H1ClientConnection(asyncio.Protocol):
    """Owned by a pool. `on_idle` and `on_closed` tell it what became of the connection."""

    __slots__ = (
        "__weakref__", "_answer", "_buffer", "_clock", "_content", "_expectation", "_hop", "_interims", "_keep_alive",
        "_key", "_loop", "_max_buffer", "_now", "_on_closed", "_on_idle", "_parser", "_paused_reading", "_request",
        "_sent", "_tasks", "_timeouts", "_transport", "_tunnel", "_unsent", "_upload", "_writable", "closed",
        "deadline", "idle_since", "name", "served",
    )  # fmt: skip

    def __init__(
        self,
        *,
        name: str,
        timeouts: UpstreamTimeouts,
        clock: Clock,
        tasks: Tasks,
        max_buffer: int,
        on_idle: Callable[[H1ClientConnection], None],
        on_closed: Callable[[H1ClientConnection], None],
        lines: KnownLines | None = None,
        hop: NextHop | None = None,
    ) -> None:
        self.name = name
        self._timeouts = timeouts
        self._clock = clock
        self._now = clock.now
        self._tasks = tasks
        self._max_buffer = max_buffer
        self._on_idle, self._on_closed = on_idle, on_closed
        self._parser = FieldParser(known=lines)
        self._hop = hop or NextHop()
        self._expectation: Expectation | None = None
        self._buffer = b""
        self._request: Request | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._content: Content | None = None
        self._upload: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused_reading = False
        self._keep_alive = True
        self._sent = True
        self._interims = 0
        self._unsent = 0
        self._key = b""
        """Of a WebSocket handshake: its answer is held against it."""
        self._tunnel: ClientTunnel | None = None
        self.closed = False
        self.served = 0
        """Requests begun; more than one means that the connection was reused."""
        self.idle_since = 0.0
        self.deadline = INFINITY

    @property
    def capacity(self) -> int:
        return 0 if self.closed or self._request is not None else 1

    @property
    def idle(self) -> bool:
        return self._request is None and not self.closed

    async def takes_tunnels(self) -> bool:
        return True

    # A request goes out.

    async def send(self, request: Request, exchange: Exchange) -> Response:
        """The response's head, with its content still coming unless it is here already. Raises a HopError.

        Cancelling it closes the connection: the response that is still to come belongs to nobody.
        """
        if self.closed or self._transport.is_closing():
            raise Unsent(private=f"{self.name}: closed")
        self.served += 1
        self._request = request
        self._keep_alive = True
        self._interims = 0
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        body = request.body
        try:
            if request.upgrade is not None:
                self._send_upgrade(request, request.upgrade, exchange)
            elif isinstance(body, bytes):
                self._send_whole(request, body)
            else:
                self._send_head_of_stream(request)
            return await answer
        except asyncio.CancelledError:
            if not answer.done() or answer.cancelled():
                self.abort()
            elif answer.exception() is None and not isinstance(left := answer.result().body, bytes):
                await left.aclose()
            raise
        finally:
            if self._answer is answer:  # the next request may have taken the connection before this task woke
                self._answer = None

    def _send_whole(self, request: Request, body: bytes) -> None:
        framing = b""
        if (body or request.method in _WITH_CONTENT) and request.get(b"content-length") is None:
            framing = b"content-length: %d\r\n" % len(body)  # RFC 9110 §8.6
        head = self._head(request, framing)
        self._sent = True
        self._transport.write(head + body if body else head)
        self.deadline = self._now() + self._timeouts.head

    def _send_upgrade(self, request: Request, protocol: bytes, exchange: Exchange) -> None:
        """A request for a tunnel: its body is sent once the tunnel is open."""
        lines, self._key = request_lines(protocol, request.fields, exchange.span_id, exchange.trace_id)
        head = self._head(request, lines)
        self._sent = True
        self._transport.write(head)
        self.deadline = self._now() + self._timeouts.head

    def _send_head_of_stream(self, request: Request) -> None:
        chunked = request.get(b"content-length") is None
        self._sent = False
        waits = expects(request.fields)
        if waits and self._hop.never_continues:
            waits = False
            request.fields = without(request.fields, b"expect")
        self._expectation = Expectation() if waits else None
        head = self._head(request, b"transfer-encoding: chunked\r\n" if chunked else b"")
        self._transport.write(head)
        self._upload = self._tasks.spawn(
            self._send_stream(request, chunked, self._expectation), name=f"{self.name}.upload"
        )

    def _head(self, request: Request, framing: bytes) -> bytes:
        try:
            head = request_head(request.method, request.target, request.authority, request.fields, framing)
            if head.count(b"\r\nhost: ") > 1:  # a request that did not come in by `parse_request`
                fields = without(request.fields, b"host")
                head = request_head(request.method, request.target, request.authority, fields, framing)
            return head
        except ValueError as error:
            self._request = None
            self._on_idle(self)
            raise HopError(private=f"request to {self.name}: {error}") from None

    async def _send_stream(self, request: Request, chunked: bool, expectation: Expectation | None) -> None:
        body = request.body
        assert not isinstance(body, bytes)
        try:
            if expectation is not None and not await expectation.met(self._clock, self._timeouts.expect):
                return  # answered without the content, which nobody will ask the client for
            async for piece in body:
                if self.closed or self._request is not request:
                    return
                if piece:
                    self._transport.write(encode(piece) if chunked else piece)
                    if self._writable is not None:
                        await self._writable
            if chunked:
                self._transport.write(last(request.trailers))
            self._sent = True
            self.deadline = self._now() + (self._timeouts.head if self._answer is not None else self._timeouts.body)
            self._complete()
        except asyncio.CancelledError:
            if not self.closed:
                self.abort()
            raise
        except Exception as error:
            # an upload that breaks off must not look complete to the next hop
            self._fail(error if isinstance(error, HopError) else HopError(private=f"upload to {self.name}: {error!r}"))
            if not isinstance(error, HopError):
                raise
        finally:
            await body.aclose()

    # A response comes in.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()  # kept: to ask for it costs a system call (getpid)

    def data_received(self, data: bytes) -> None:
        request = self._request
        if request is None:
            self.abort()  # RFC 9112 §9.3: an answer that nobody asked for
            return
        if self._content is not None:
            self._more(data)
            return
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > MAX_HEAD:
                if len(data) - 3 > MAX_HEAD:
                    self._fail(ResponseMalformed(private=f"{self.name}: a head of more than {MAX_HEAD} bytes"))
                    return
                self._buffer = data
                return
            end += 4
            try:
                head = parse_response(self._parser, data[:end], method=request.method)
            except HopError as error:
                self._fail(error)
                return
            data = data[end:]
            if head.status >= 200:
                break
            if head.status == 101 and request.upgrade is not None:
                self._switch(request, request.upgrade, head, data)
                return
            self._interims += 1
            if head.status == 101 or self._interims > MAX_INTERIM:
                self._fail(ResponseMalformed(private=f"{self.name}: an unexpected interim response {head.status}"))
                return
            if head.status == 100 and self._expectation is not None:
                self._expectation.tell(True)  # the client's is sent as its content is asked for
            elif request.interim is not None:
                request.interim(head.status, interim_fields(head.fields))
            if not data:
                return
        self._begin(head, data)

    def _switch(self, request: Request, protocol: bytes, head: ResponseHead, data: bytes) -> None:
        """RFC 9110 §7.8: from here on the connection speaks another protocol."""
        try:
            check_switch(protocol, self._key, head.fields)
        except HopError as error:
            self._fail(error)
            return
        response = Response(101, switch_fields(head.fields), version=head.version)
        self.deadline = INFINITY
        self._tunnel = open_tunnel(self, request, response, data)
        self._resolve(response)

    def _begin(self, response: ResponseHead, data: bytes) -> None:
        self._keep_alive = response.keep_alive
        if self._expectation is not None:
            self._expectation.tell(False)
            self._expectation = None
            self._hop.never_continues = response.version == b"1.0"
        framing = response.framing
        if framing == 0:
            self._done_with(response, data)
            return
        if 0 < framing == len(data):  # the common small response: here as a whole, no stream needed
            response.body = data
            self._done_with(response, b"")
            return
        stream = Incoming(
            self._max_buffer,
            pause=self._pause_reading,
            resume=self._resume_reading,
            closed=self.abort,
            trailers=response.trailers,
        )
        self._content = content = Content(framing, stream, self._parser)
        self.deadline = self._now() + self._timeouts.body
        rest = b""
        if data:
            try:
                rest = content.feed(data)
            except ValueError as error:
                self._fail(ResponseMalformed(private=f"{self.name}: {error}"))
                return
        if content.done and not stream.trailers and (whole := stream.complete()) is not None:
            response.body = whole
            self._done_with(response, rest)
            return
        response.body = stream
        self._resolve(response)
        if content.done:  # all at once, with trailers
            self._keep_alive = self._keep_alive and not rest
            self._complete()

    def _more(self, data: bytes) -> None:
        content = self._content
        assert content is not None
        try:
            rest = content.feed(data)
        except ValueError as error:
            self._fail(ResponseMalformed(private=f"{self.name}: {error}"))
            return
        if content.done:
            if rest:
                self._keep_alive = False
            self._complete()
        else:
            self.deadline = self._now() + self._timeouts.body

    def _done_with(self, response: Response, rest: bytes) -> None:
        if rest:
            self._keep_alive = False  # bytes behind a response are nobody's: never reuse
        self._content = None
        self._resolve(response)
        self._request_answered()

    def _resolve(self, response: Response) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _complete(self) -> None:
        """Either side has ended; when both have, the connection is free again."""
        if self._request is not None and self._content is not None and self._content.done:
            self._content = None
            self._request_answered()

    def _request_answered(self) -> None:
        self._request = None
        if self._paused_reading:
            self._resume_reading()
        if not self._sent:
            # answered before the upload had ended (RFC 9112 §9.6): nothing can follow, and nobody reads the rest
            self.abort()
        elif self._keep_alive and not self.closed:
            self.idle_since = self._now()
            self.deadline = self.idle_since + self._timeouts.idle
            self._on_idle(self)
        else:
            self.close()

    # Ends.

    def eof_received(self) -> bool:
        if self._request is None:
            self.close()  # at once: in this turn of the loop nobody may take it any more
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None and self._request is not None and not self.closed and (late := leftover(self._transport)):
            self._keep_alive = False
            self.data_received(late)
        was_closed, self.closed = self.closed, True
        self.deadline = INFINITY
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ClosedEarly(private=f"{self.name}: closed while the request was sent"))
            self._writable.exception()  # nobody need be waiting for it
        content = self._content
        if content is not None:
            # a reset is no proper end, even for content that runs to the close
            if exc is not None or not self._ended_well() or not content.closed():
                content.stream.fail(ResponseIncomplete(private=f"{self.name}: closed within the content: {exc}"))
            self._content = None
        elif self._answer is not None and not self._answer.done():
            error: UpstreamError = ClosedEarly(private=f"{self.name}: closed before the response: {exc}")
            if self._buffer:
                error = ResponseIncomplete(private=f"{self.name}: closed within the head")
            self._answer.set_exception(error)
        self._request = None
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
        if not was_closed:
            self._on_closed(self)

    def _ended_well(self) -> bool:
        """Over TLS an end without close_notify may be anybody's doing (RFC 9112 §9.8)."""
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, ValueError):  # SSLWantReadError: more was to come
            return False

    def _fail(self, error: HopError) -> None:
        """The connection is of no further use."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self._content is not None:
            self._content.stream.fail(error)
        self._content = None
        self.abort()

    def expire(self) -> None:
        self.deadline = INFINITY
        if self._tunnel is not None:
            self._tunnel.expire()
        elif self._request is None:
            self.close()
        elif self._writable is not None:
            times = self._timeouts
            before, self._unsent = self._unsent, unsent(self._transport)
            if takes(before, self._unsent, times.send, times.send_rate):
                self.deadline = self._now() + times.send  # slow, but taking
            else:
                slow = f"took less than {times.send_rate} bytes/s for {times.send:g} s"
                self._fail(ResponseTimeout(private=f"{self.name}: {slow}"))
        elif self._content is not None:
            if self._content.stream.waiting or not self._paused_reading:
                self._fail(ResponseIncomplete(private=f"{self.name}: no content for {self._timeouts.body:g} s"))
            else:
                self.deadline = self._now() + self._timeouts.body  # it is us who do not read
        elif self._sent:
            self._fail(ResponseTimeout(private=f"{self.name}: no response for {self._timeouts.head:g} s"))

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
            self._unsent = unsent(self._transport)
            self.deadline = self._now() + self._timeouts.send

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if self._request is None:
            self.deadline = self.idle_since + self._timeouts.idle
        elif self._content is not None:
            self.deadline = self._now() + self._timeouts.body
        else:
            self.deadline = self._now() + self._timeouts.head if self._sent else INFINITY

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self.closed:
            self._paused_reading = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused_reading and not self.closed:
            self._paused_reading = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection, or one whose last response is read."""
        if not self.closed and self._transport.get_write_buffer_size():
            self.abort()  # a peer that takes nothing more would hold the socket
        elif not self.closed:
            self.closed = True
            self._transport.close()
            self._on_closed(self)

    def abort(self) -> None:
        """Reset: a plain close would look to the next hop as if this one might still read."""
        if not self.closed:
            self.closed = True
            if (raw := self._transport.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
            self._on_closed(self)
