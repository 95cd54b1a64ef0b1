"""How a response leaves on a stream of HTTP/2: head, content, trailers, a visible cut (RFC 9113 §8.1)."""

from __future__ import annotations

from typing import cast

from stack.errors import CutOff, Elsewhere, HopError, UpgradeFailed
from stack.http import h2_wire as wire
from stack.http.h1 import content_length, measures
from stack.http.h2_fields import response_list, trailer_list
from stack.http.h2_priority import parse
from stack.http.message import Fields, Response, has_no_content, unmeasured
from stack.net.context import Context
from stack.net.h2_connection import INFINITY, H2Transport
from stack.net.h2_stream import ServerStream
from stack.net.h2_tunnel import opened


class H2Sender(H2Transport):
    """The sending half of `H2ServerConnection`."""

    __slots__ = ("_ctx",)

    _ctx: Context

    def _send_head(self, stream: ServerStream, response: Response, more: Fields, *, ended: bool) -> None:
        """ValueError when a field is not well-formed. From here on the response cannot be taken back."""
        added = self._ctx.added(response, stream.exchange)
        fields = response_list(response.status, response.block, response.fields, added + more)
        stream.exchange.status = response.status
        stream.responded = True
        self._h2.send_head(stream.id, fields, ended=ended)
        if not ended and (said := response.get(b"priority")) is not None:
            stream.sending.priority = parse(said, stream.sending.priority)  # RFC 9218 §8: the origin knows better

    def _send_whole(self, stream: ServerStream, response: Response) -> None:
        if stream.request.upgrade is not None and response.status < 300:
            response = self._ctx.error(UpgradeFailed.answered(response.status), stream.request, stream.exchange)
        body = cast(bytes, response.body)
        more: Fields = []
        no_content = has_no_content(stream.request.method, response.status)
        length = response.get(b"content-length")
        if length is None:
            if (body or not no_content) and response.status not in (204, 304):
                more.append((b"content-length", b"%d" % len(body)))
        elif not no_content and not measures(length, len(body)):  # whoever made it (§8.1.1)
            wrong = HopError(private=f"response to {stream.request!r}: content-length {length!r} of {len(body)} bytes")
            self._send_whole(stream, self._ctx.error(wrong, stream.request, stream.exchange))
            return
        if no_content:
            body = b""
            unmeasured(response)
        trailers = [] if no_content or not response.trailers else trailer_list(response.trailers)
        ended = not body and not trailers
        try:
            self._send_head(stream, response, more, ended=ended)
        except ValueError as error:
            bad = HopError(private=f"response to {stream.request!r}: {error}")
            self._send_whole(stream, self._ctx.error(bad, stream.request, stream.exchange))
            return
        stream.queued = True
        if ended:
            self._sent(stream.id)
        else:
            self._outbox.put(stream.sending, body, ended=True, trailers=trailers)
        self._soon()

    async def _send_stream(self, stream: ServerStream, response: Response) -> None:
        """Head and content as it comes. Content that breaks off is visibly cut: by RST_STREAM."""
        stream.response = None
        body = response.body
        assert not isinstance(body, bytes)
        try:
            if stream.gone:
                return
            if response.status == 101:
                response, body = opened(self._ctx, stream, response)
            elif stream.request.upgrade is not None and response.status < 300:
                raise UpgradeFailed.answered(response.status)
            if has_no_content(stream.request.method, response.status):
                stream.queued = True
                unmeasured(response)
                self._send_head(stream, response, [], ended=True)
                self._sent(stream.id)
                self._soon()
                return
            declared = response.get(b"content-length")
            left = INFINITY if declared is None else content_length(declared, HopError)
            self._send_head(stream, response, [], ended=False)
            if stream.tunnel is not None:
                stream.exchange.status = 101  # as on every other hop
            self._soon()
            async for piece in body:
                if not piece:
                    continue
                if (left := left - len(piece)) < 0:
                    raise HopError(private="the content is longer than its content-length")
                whole = self._outbox.put(stream.sending, piece)
                self._flush()
                if not whole:
                    await self._outbox.wait(stream.sending)
            if left > 0 and declared is not None:
                raise HopError(private="the content is shorter than its content-length")
            trailers = trailer_list(response.trailers)
            stream.queued = True
            self._outbox.put(stream.sending, b"", ended=True, trailers=trailers)
            self._soon()
        except Exception as error:
            self._cut(stream, error)
        finally:
            await body.aclose()

    def _cut(self, stream: ServerStream, error: Exception) -> None:
        exchange = stream.exchange
        if stream.gone:
            return
        if not stream.responded and not isinstance(error, CutOff):
            stream.queued = False
            self._send_whole(stream, self._ctx.error(error, stream.request, exchange))
            return
        refused = isinstance(error, Elsewhere) and not stream.responded
        self._h2.reset(stream.id, wire.REFUSED_STREAM if refused else wire.INTERNAL_ERROR)
        if isinstance(error, CutOff):
            exchange.termination = error.termination
        elif isinstance(error, HopError):
            exchange.proxy_status = error.proxy_status
            exchange.termination = "upstream-cut"
            exchange.detail = error.private or error.detail
        else:
            exchange.termination = "failed"
            self._ctx.error(error, exchange.request, exchange)
        self._soon()

    def send_interim(self, stream: ServerStream, status: int, fields: Fields) -> None:
        """100, 102 and 103 ahead of the final response (RFC 9110 §15.2)."""
        if not stream.responded and self._h2.sending(stream.id):
            self._h2.send_head(stream.id, response_list(status, None, fields, ()), ended=False)
            self._soon()
