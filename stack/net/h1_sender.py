"""How a response leaves on a downstream HTTP/1.1 connection: framing, backpressure, a visible cut (RFC 9112 §6, §7)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Container
from typing import Final, cast

from stack.errors import CutOff, HopError
from stack.http.chunked import encode, last
from stack.http.h1 import content_length, measures, response_head, serialise
from stack.http.message import Fields, Request, Response, has_no_content, unmeasured
from stack.net.content import Content
from stack.net.context import Context
from stack.net.tunnel import serve_tunnel
from stack.telemetry.exchange import Exchange

INFINITY: Final = float("inf")
_EMPTY: Final = b"content-length: 0\r\n"
JOIN: Final = 32 * 1024
"""Up to this size head and content go out in one write."""


class H1Sender(asyncio.Protocol):
    """The sending half of `H1ServerConnection`."""

    __slots__ = (
        "_closing", "_content", "_ctx", "_head_sent", "_keep_alive", "_request", "_served", "_writable", "transport",
    )  # fmt: skip

    def __init__(self, context: Context) -> None:
        self._ctx = context
        self.transport: asyncio.Transport
        self._request: Request | None = None
        self._content: Content | None = None
        """The request's."""
        self._writable: asyncio.Future[None] | None = None
        """Waits for the client to take what is written; None while it keeps up."""
        self._keep_alive = True
        self._head_sent = False
        self._closing = False
        self._served = 0

    def _begin_response(
        self,
        request: Request,
        response: Response,
        exchange: Exchange,
        framing: bytes,
        given: Container[bytes] | None = None,
    ) -> bytes:
        """The head. From here on the response cannot be taken back. `given`: the names of its fields, where known."""
        exchange.status = response.status
        ctx = self._ctx
        limit = ctx.limits.requests
        if self._keep_alive and (
            ctx.draining or (self._content is not None and not self._content.done) or (limit and self._served >= limit)
        ):
            self._keep_alive = False
        if not self._keep_alive:
            framing += b"connection: close\r\n"
        elif request.version == b"1.0":
            framing += b"connection: keep-alive\r\n"
        try:
            added = ctx.added(response, exchange, given)
            head = response_head(response.status, response.fields, added, response.block, framing)
        except ValueError as error:
            raise HopError(private=f"response to {request!r}: {error}") from None
        self._head_sent = True
        return head

    def _send_whole(self, request: Request, exchange: Exchange, response: Response) -> None:
        body, block = response.body, response.block
        assert isinstance(body, bytes)
        given = dict(response.fields)
        if has_no_content(request.method, response.status):
            whole, body, framing = body, b"", _EMPTY if response.status == 205 else b""
            unmeasured(response)
            if block is not response.block:
                given = dict(response.fields)
            if request.method == b"HEAD" and whole and not framing and response.get(b"content-length") is None:
                framing = b"content-length: %d\r\n" % len(whole)
        else:
            length = given.get(b"content-length")
            if length is None and block is not None:
                length = block.length
            if length is None:
                framing = b"content-length: %d\r\n" % len(body)
            elif measures(length, len(body)):
                framing = b""
            else:  # whoever made it: it would shift the responses behind it (RFC 9110 §8.6)
                error = HopError(private=f"response to {request!r}: Content-Length {length!r} of {len(body)} bytes")
                self._send_whole(request, exchange, self._ctx.error(error, request, exchange))
                return
        try:
            head = self._begin_response(request, response, exchange, framing, given)
        except HopError as error:
            response = self._ctx.error(error, request, exchange)
            body = cast(bytes, response.body)
            head = self._begin_response(request, response, exchange, b"content-length: %d\r\n" % len(body))
        exchange.bytes_out = len(body)
        if len(body) <= JOIN:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    async def _send_stream(self, request: Request, exchange: Exchange, response: Response) -> None:
        """Head and content as it comes. A content that breaks off is visibly cut: no last chunk, or too short."""
        body = response.body
        assert not isinstance(body, bytes)
        whole = to_close = False
        try:
            if response.status == 101:
                await serve_tunnel(request, exchange, response)
                whole = True
                return
            if has_no_content(request.method, response.status):
                unmeasured(response)
                framing = _EMPTY if response.status == 205 else b""
                self.transport.write(self._begin_response(request, response, exchange, framing))
                whole = True
                return
            length = response.get(b"content-length")
            chunked = False
            framing = b""
            if length is None:
                if request.version == b"1.0":
                    self._keep_alive, to_close = False, True
                else:
                    chunked, framing = True, b"transfer-encoding: chunked\r\n"
            left = INFINITY if length is None else content_length(length, HopError)
            self.transport.write(self._begin_response(request, response, exchange, framing))
            async for piece in body:
                if not piece:
                    continue
                if (left := left - len(piece)) < 0:
                    raise HopError(private="the content is longer than its Content-Length")
                exchange.bytes_out += len(piece)
                self.transport.write(encode(piece) if chunked else piece)
                if self._writable is not None:
                    await self._writable
            if left > 0 and length is not None:
                raise HopError(private="the content is shorter than its Content-Length")
            if chunked:
                self.transport.write(last(response.trailers))
            whole = True
        except Exception as error:
            if not self._head_sent:
                self._send_whole(request, exchange, self._ctx.error(error, request, exchange))
                whole = True
                return
            whole = self._cut(error, exchange)
        finally:
            if not whole and to_close:
                self._reset_transport()  # where the close is the end, nothing else tells a cut
            elif not whole:
                self._abort_transport()
            await body.aclose()

    def _cut(self, error: Exception, exchange: Exchange) -> bool:
        """Say why. Whether the connection need not be aborted any more."""
        if self._closing:
            return False
        if isinstance(error, CutOff):
            exchange.termination = error.termination
            self._keep_alive = False
            if not error.orderly:
                self._reset_transport()
            return True
        if isinstance(error, HopError):
            exchange.proxy_status = error.proxy_status
            exchange.termination = "upstream-cut"
            exchange.detail = error.private or error.detail
        else:
            exchange.termination = "failed"
            self._ctx.error(error, exchange.request, exchange)
        return False

    def _interim(self, status: int, fields: Fields) -> None:
        """102 and 103 ahead of the final response (RFC 9110 §15.2); a client of HTTP/1.0 knows none."""
        request = self._request
        if request is None or request.version == b"1.0" or self._head_sent or self._closing:
            return
        self.transport.write(b"HTTP/1.1 %d \r\n%b\r\n" % (status, serialise(fields)))

    def _reset_transport(self) -> None:
        """Abort by RST and not by FIN, which a client may take for an end."""
        if (raw := self.transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._abort_transport()

    def _abort_transport(self) -> None:
        self._closing = True
        self.transport.abort()


async def ready(response: Response) -> Response:
    return response


async def close_body(response: Response) -> None:
    if not isinstance(response.body, bytes):
        await response.body.aclose()
