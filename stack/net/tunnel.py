"""A tunnel's end on a connection of HTTP/1.1: from the 101 on it stands in the place of the connection's protocol.

A tunnel is a Response 101: its body is what comes back through the tunnel, the request's body what goes in. So what
handlers wrap around bodies works as ever, and backpressure passes through both. An end of one direction (FIN) goes on
as one and leaves the other open; a reset, a time-out or a failure tears down both. The connection is never used again.

Both directions are looked after on the client's side: idle and absolute time-outs are only there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stack.errors import ClientGone, HopError, ResponseIncomplete, ResponseTimeout
from stack.http.h1 import response_head
from stack.http.message import BodyStream, Request, Response
from stack.http.upgrade import KEY, switch_lines
from stack.net.pace import unsent
from stack.net.stream import Incoming
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from stack.net.context import Context
    from stack.net.h1_client import H1ClientConnection
    from stack.net.h1_server import H1ServerConnection

INFINITY: Final = float("inf")
SILENCE: Final = 10.0
"""Seconds without a byte, after one side has ended well, in which the other one may still say something."""
LAST_WORDS: Final = 0.05
"""The same towards a peer over TLS, which cannot be told of an end but by closing."""


class TunnelStream(Incoming):
    """What the other side of this end sends. Nothing feeds it before the tunnel is open."""

    __slots__ = ("end_of",)

    def __init__(self, limit: int, end: TunnelEnd) -> None:
        super().__init__(limit, pause=end.pause_reading, resume=end.resume_reading, closed=end.unread)
        self.end_of = end


class TunnelEnd(asyncio.Protocol):
    """What both ends do alike."""

    __slots__ = ("_loop", "_paused", "_unsent", "_writable", "deadline", "lost", "stream", "transport")

    def __init__(self, limit: int) -> None:
        self.stream = TunnelStream(limit, self)
        self.transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None
        self._unsent = 0
        self._paused = False
        self.lost = False
        """The connection is closed."""
        self.deadline = INFINITY

    def take(self, transport: asyncio.Transport, data: bytes, *, paused: bool, full: bool) -> None:
        """Stand in the place of the transport's protocol.

        `data` came behind the head; `paused`: reading is; `full`: the transport has asked for a pause in writing.
        """
        self.transport = transport
        transport.set_protocol(self)
        self._paused = paused
        if full:
            self.pause_writing()
        if data:
            self.data_received(data)
        if self._paused and self.stream.has_room:
            self.resume_reading()

    async def pump(self, source: BodyStream) -> int:
        """Write what `source` has until its end; how much it was. Nothing is written any more once `lost`."""
        sent = 0
        async for piece in source:
            if piece and not self.lost:
                sent += len(piece)
                self.moved(len(piece))
                self.transport.write(piece)
                if self._writable is not None:
                    await self._writable
        return sent

    def moved(self, size: int) -> None:
        """Bytes go out."""

    # Events of the transport.

    def data_received(self, data: bytes) -> None:
        self.stream.feed(data)

    def eof_received(self) -> bool:
        """Half-closed: the other direction goes on, but over TLS, where a connection cannot be half open here."""
        self.stream.end()
        return self.transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
            self._unsent = unsent(self.transport)

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def pause_reading(self) -> None:
        if not self._paused and not self.lost:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self.lost:
            self._paused = False
            self.transport.resume_reading()

    def unread(self) -> None:
        """Nobody takes what comes here any more."""

    def is_stuck(self) -> bool:
        """Whether the peer took no byte since this was last asked, or since it stopped."""
        before, self._unsent = self._unsent, unsent(self.transport)
        return self._unsent >= before

    def end_writing(self) -> bool:
        """Say that no more comes, if that can be said without closing."""
        if self.lost or self.transport.is_closing() or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True


class ServerTunnel(TunnelEnd):
    """The client's side: a `stack.net.context.Connection` while the tunnel is open."""

    __slots__ = ("_began", "_ctx", "_ended", "_exchange", "_moved", "_owner", "_stuck_at", "_task", "peer")

    def __init__(self, owner: H1ServerConnection) -> None:
        self._ctx: Context = owner._ctx
        super().__init__(self._ctx.limits.buffer)
        self._owner = owner
        self.peer = owner.peer
        self._exchange: Exchange
        self._task: asyncio.Task[None] | None = None
        self._began = self._moved = 0.0
        self._stuck_at = INFINITY
        self._ended: asyncio.Future[None] | None = None
        """Waits for the client's end, after the other one."""

    async def serve(self, request: Request, exchange: Exchange, response: Response) -> None:
        """Until both directions have ended; then the connection is its owner's again, to be closed."""
        body = response.body
        if isinstance(body, bytes) or request.upgrade is None:
            raise HopError(private="101 without a tunnel")
        self._exchange = exchange
        self._task = asyncio.current_task()
        self._open(request, response, request.upgrade)
        well = False
        try:
            await self.pump(body)
            if not self.stream.ended and self.end_writing():
                await self._clients_end()
            well = True
        finally:
            if well:
                self.stream.end()
            else:
                self.stream.fail(ClientGone())
            self._give_back()

    def _open(self, request: Request, response: Response, protocol: bytes) -> None:
        owner, ctx, exchange = self._owner, self._ctx, self._exchange
        added = ctx.added(response, exchange)
        try:
            head = response_head(
                101, response.fields, added, framing=switch_lines(protocol, request.get(KEY)), block=response.block
            )
        except ValueError as error:
            raise HopError(private=f"response to {request!r}: {error}") from None
        exchange.status = 101
        owner._head_sent = True
        owner._keep_alive = False
        owner.transport.write(head)
        self._began = self._moved = ctx.now()
        self._look_again()
        ctx.tunnels += 1
        ctx.connections.add(self)  # before the other goes: there is one connection all the time
        ctx.connections.discard(owner)
        data, owner._buffer = owner._buffer, b""
        self.take(owner.transport, data, paused=owner._paused_reading, full=owner._writable is not None)

    def _give_back(self) -> None:
        owner, ctx = self._owner, self._ctx
        ctx.tunnels -= 1
        self.transport.set_protocol(owner)
        owner._paused_reading = self._paused
        owner._closing = owner._closing or self.lost
        if not self.lost:
            ctx.connections.add(owner)
        ctx.connections.discard(self)

    async def _clients_end(self) -> None:
        """What the client still says goes on, until it ends too, is silent, or nobody takes it any more."""
        self._ended = self._loop.create_future()
        self._moved = self._ctx.now()
        self._look_again()
        await self._ended

    def _has_ended(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # Bytes.

    def data_received(self, data: bytes) -> None:
        self._exchange.bytes_in += len(data)
        self._moved = self._ctx.now()
        self.stream.feed(data)

    def moved(self, size: int) -> None:
        self._exchange.bytes_out += size
        self._moved = self._ctx.now()

    def unread(self) -> None:
        self._has_ended()

    # Ends.

    def eof_received(self) -> bool:
        self._owner._eof = True
        self._has_ended()
        return super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        self.resume_writing()
        self._has_ended()
        if exc is None and self.stream.ended:
            # over TLS a client that says its end is gone: the other side has time to end as well
            self.deadline = self._ctx.now() + SILENCE
            return
        self.stream.fail(ClientGone())
        self._stop("client-gone")

    def _stop(self, termination: str) -> None:
        if not self._exchange.termination:
            self._exchange.termination = termination
        if self._task is not None:
            self._task.cancel()

    # What the server asks for, and what time brings.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_at = self._ctx.now() + self._ctx.timeouts.send
        self._look_again()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck_at = INFINITY

    def _look_again(self) -> None:
        times = self._ctx.timeouts
        idle = times.tunnel_idle if self._ended is None else SILENCE
        self.deadline = min(self._moved + idle, self._began + times.tunnel, self._stuck_at)

    def expire(self) -> None:
        now, times = self._ctx.now(), self._ctx.timeouts
        self.deadline = INFINITY
        if self.lost:
            self._stop("client-gone")
            return
        if self._stuck_at <= now and not self.is_stuck():
            self._stuck_at = now + times.send
        if self._stuck_at <= now:
            self._exchange.detail = f"the client took no byte for {times.send:g} s"
        elif self._began + times.tunnel <= now:
            self._exchange.detail = f"the tunnel was open for {times.tunnel:g} s"
        elif self._ended is not None and self._moved + SILENCE <= now:
            self._has_ended()
            return
        elif self._moved + times.tunnel_idle <= now:
            self._exchange.detail = f"nothing went through the tunnel for {times.tunnel_idle:g} s"
        else:
            self._look_again()
            return
        self._stop("timeout")

    def drain(self) -> None:
        """Who serves the tunnel ends it; what has not ended within the drain time is aborted."""

    def abort(self) -> None:
        self._stop("drained")
        self.transport.abort()


async def serve_tunnel(request: Request, exchange: Exchange, response: Response) -> None:
    """The response to `request`, as it came in over HTTP/1.1, opens a tunnel."""
    body = request.body
    if not isinstance(body, TunnelStream) or not isinstance(body.end_of, ServerTunnel):
        raise HopError(private="101 to a request that asked for no tunnel")
    await body.end_of.serve(request, exchange, response)


class ClientTunnel(TunnelEnd):
    """The next hop's side. Its connection stays in the pool's count."""

    __slots__ = ("_closes", "_heard", "_owner", "_upload")

    def __init__(self, owner: H1ClientConnection) -> None:
        super().__init__(owner._max_buffer)
        self._owner = owner
        self._upload: asyncio.Task[None] | None = None
        self._heard = 0
        self._closes = False
        """The client's side has ended well, and so nothing more is sent."""

    def open(self, request: Request, response: Response, data: bytes) -> None:
        """The next hop has taken the request with `response`, a 101; `data` came behind it."""
        owner = self._owner
        response.body = self.stream
        self.take(owner._transport, data, paused=owner._paused_reading, full=owner._writable is not None)
        body = request.body
        assert not isinstance(body, bytes)
        self._upload = owner._tasks.spawn(self._send(body), name=f"{owner.name}.tunnel")

    async def _send(self, body: BodyStream) -> None:
        owner = self._owner
        try:
            await self.pump(body)
            await self._end()
        except asyncio.CancelledError:
            owner.abort()
            raise
        except Exception as error:
            owner.abort()  # the client is gone: an end that is not a FIN
            if not isinstance(error, HopError):
                raise
        finally:
            await body.aclose()

    async def _end(self) -> None:
        """The client's side has ended: so does this one, and the other direction has its time."""
        self._closes = True
        if not self.end_writing():
            while not self.stream.ended and not self.lost:  # TLS
                before = self._heard
                await self._owner._clock.sleep(LAST_WORDS)
                if self._heard == before:
                    break
        elif not self.stream.ended:
            return
        self.transport.close()
        self._arm()

    def data_received(self, data: bytes) -> None:
        self._heard += len(data)
        self.stream.feed(data)

    def eof_received(self) -> bool:
        return super().eof_received() and not self._closes

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        self.resume_writing()
        if exc is None and self._closes:
            self.stream.end()
        self.stream.fail(ResponseIncomplete(private=f"{self._owner.name}: the tunnel was cut: {exc}"))
        if self._upload is not None and self._upload is not asyncio.current_task():
            self._upload.cancel()
        self._owner.connection_lost(exc)

    def unread(self) -> None:
        self._owner.abort()

    # Time: the owner is what the pool looks at.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._owner.deadline = INFINITY

    def _arm(self) -> None:
        self._owner.deadline = self._owner._now() + self._owner._timeouts.send

    def expire(self) -> None:
        if not self.is_stuck():
            self._arm()
            return
        seconds = self._owner._timeouts.send
        self.stream.fail(ResponseTimeout(private=f"{self._owner.name}: took no byte for {seconds:g} s"))
        self._owner.abort()


def open_tunnel(owner: H1ClientConnection, request: Request, response: Response, data: bytes) -> ClientTunnel:
    """The next hop has answered `request` with 101, which has been checked."""
    tunnel = ClientTunnel(owner)
    tunnel.open(request, response, data)
    return tunnel
