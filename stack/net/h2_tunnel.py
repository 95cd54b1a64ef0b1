"""A tunnel on one stream of HTTP/2 (RFC 8441): how it is asked for, and how long it may last."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from stack.errors import BadRequest, ClientGone, HopError
from stack.http.h2_fields import NOT_IN_CONNECT, Malformed, RequestHead
from stack.http.message import BodyStream, Response
from stack.http.upgrade import switch_fields
from stack.net.tunnel import SILENCE

if TYPE_CHECKING:
    from stack.net.context import Context
    from stack.net.h2_stream import ServerStream


def asked(head: RequestHead, protocol: bytes, allowed: Collection[bytes], *, ended: bool) -> bytes:
    """The protocol of an extended CONNECT, whose head then is one of GET. Raises Malformed, and a HopError."""
    if not allowed:
        raise Malformed(":protocol, and no extended CONNECT is taken")  # RFC 8441 §3
    if head.length is not None:
        raise Malformed("content-length on a CONNECT")  # RFC 9113 §8.5
    if protocol.lower() not in allowed:
        raise HopError(f"No tunnel of {protocol.decode('latin-1')} is opened here.", status=501)  # RFC 9220 §3
    if ended:
        raise BadRequest("A tunnel that has ended already cannot be opened.")
    head.method = b"GET"
    head.expects_continue = False
    head.fields[:] = [field for field in head.fields if field[0] not in NOT_IN_CONNECT]
    return protocol.lower()


class StreamTunnel:
    """A `BodyStream` around what goes back to the client; the connection asks it what time it is for the tunnel."""

    __slots__ = ("_began", "_body", "_ctx", "_moved", "_open", "_received", "_stream", "_well", "over_since")

    def __init__(self, ctx: Context, stream: ServerStream, body: BodyStream) -> None:
        self._ctx = ctx
        self._stream = stream
        self._body = body
        self._began = self._moved = ctx.now()
        self._received = stream.length.received
        self._open = True
        self._well = False
        self.over_since: float | None = None
        """Since when our side has ended, and the client's has not."""
        ctx.tunnels += 1

    def __aiter__(self) -> StreamTunnel:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._body.__anext__()
        except StopAsyncIteration:
            self._well = True
            raise
        self._moved = self._ctx.now()
        return piece

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._ctx.tunnels -= 1
        if not self._well and self._stream.incoming is not None:
            self._stream.incoming.fail(ClientGone())
        await self._body.aclose()

    def due(self, now: float) -> float:
        """When to look again; 0 when its time is over, and `detail` of the exchange says why."""
        times = self._ctx.timeouts
        if self.over_since is not None:
            return 0.0 if self.over_since + SILENCE <= now else self.over_since + SILENCE
        if (received := self._stream.length.received) != self._received:
            self._received = received
            self._moved = max(self._moved, self._stream.pace.heard)
        if self._began + times.tunnel <= now:
            self._stream.exchange.detail = f"the tunnel was open for {times.tunnel:g} s"
            return 0.0
        if self._moved + times.tunnel_idle <= now:
            self._stream.exchange.detail = f"nothing went through the tunnel for {times.tunnel_idle:g} s"
            return 0.0
        return min(self._moved + times.tunnel_idle, self._began + times.tunnel)


def opened(ctx: Context, stream: ServerStream, response: Response) -> tuple[Response, StreamTunnel]:
    """A 101 as HTTP/2 says it (RFC 8441 §5), and what goes back through the tunnel."""
    body = response.body
    if isinstance(body, bytes) or stream.request.upgrade is None or stream.incoming is None:
        raise HopError(private="101 without a tunnel")
    stream.tunnel = tunnel = StreamTunnel(ctx, stream, body)
    return Response(200, switch_fields(response.fields), tunnel, block=response.block, version=response.version), tunnel
