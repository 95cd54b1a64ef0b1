"""One downstream HTTP/2 connection: requests in, responses out, many at a time (RFC 9113)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from functools import partial
from typing import Final

from stack.errors import ClientGone, ContentTooLarge, CutOff, HopError
from stack.http import h2_wire as wire
from stack.http.h2 import Connection
from stack.http.h2_events import Acknowledged, Away, Data, Event, Failed, Head, Prioritized, Reset, Trailers
from stack.http.h2_fields import Malformed, RequestHead, request_head, trailer_fields
from stack.http.message import Peer, Request, Response, get, without
from stack.net.context import Context
from stack.net.h2_connection import INFINITY
from stack.net.h2_early import EarlyAnswers
from stack.net.h2_sender import H2Sender
from stack.net.h2_stream import ServerStream, forsake
from stack.net.h2_tunnel import asked
from stack.net.pace import patience, too_slow

NOT_SENT: Final = 128 * 1024
"""Bytes that may wait in the kernel: what waits there can be overtaken by nothing, however urgent (RFC 9218 §10)."""
GRACE: Final = 1.0
"""Seconds between the two GOAWAYs of a drain at most: a round trip, usually."""


class H2ServerConnection(H2Sender):
    """See `stack.net.context.Connection`."""

    __slots__ = (
        "_drain_at", "_draining", "_early", "_idle_since", "_last_step", "_partial_since", "_served", "_streams",
        "peer", "scheme",
    )  # fmt: skip

    def __init__(self, context: Context, peer: Peer, scheme: bytes) -> None:
        limits = context.limits
        super().__init__(
            Connection(
                is_client=False,
                streams=limits.streams,
                window=limits.buffer,
                max_head=limits.head,
                tunnels=bool(context.upgrades),
            ),
            now=context.now,
            send_timeout=context.timeouts.send,
            send_rate=context.timeouts.send_rate,
        )
        self._ctx = context
        self.peer = peer
        self.scheme = scheme
        self._streams: dict[int, ServerStream] = {}
        self._early = EarlyAnswers(self._h2)
        self._served = 0
        self._draining = False
        """No more requests are to come."""
        self._drain_at = INFINITY
        """When a drain begins, on a connection that has asked for nothing yet."""
        self._last_step = INFINITY
        """When the second GOAWAY of a drain is due at the latest."""
        self._idle_since = self._partial_since = context.now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if (raw := transport.get_extra_info("socket")) is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
        self._ctx.connections.add(self)
        self._ctx.connection_counts["h2"] += 1
        self._arm(self._now() + self._ctx.timeouts.head)
        if self._ctx.draining:
            self.drain()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ctx.connections.discard(self)
        self._closing = True
        self.deadline = INFINITY
        for stream in list(self._streams.values()):
            self._gone(stream, "client-gone", ClientGone())

    def _batch_ended(self, progress: bool, now: float) -> None:
        if not self._h2.partial:
            self._partial_since = INFINITY
        elif progress or self._partial_since == INFINITY:
            self._partial_since = now
            self._arm(now + self._ctx.timeouts.head)

    # A request comes in.

    def _on(self, event: Event, now: float) -> None:
        if isinstance(event, Head):
            self._begin(event, now)
        elif isinstance(event, Data):
            self._content(event, now)
        elif isinstance(event, Trailers):
            self._trailers(event, now)
        elif isinstance(event, Reset):
            self._early.let_go(event.stream)
            if (stream := self._streams.get(event.stream)) is not None:
                stream.exchange.detail = event.reason
                self._gone(stream, "client-gone" if event.by_peer else "refused", ClientGone())
        elif isinstance(event, Prioritized):
            if (stream := self._streams.get(event.stream)) is not None:
                stream.prioritize(event.priority)
        elif isinstance(event, Acknowledged):
            self._second_goaway()
        elif isinstance(event, Failed):
            for stream in list(self._streams.values()):
                stream.exchange.detail = event.reason
                self._gone(stream, "refused", ClientGone())
            self._close(linger=True)
        elif isinstance(event, Away):
            self._draining = True
            if not self._streams:
                self._close()

    def _begin(self, event: Head, now: float) -> None:
        ctx = self._ctx
        limits = ctx.limits
        try:
            head = request_head(event.fields, max_head=limits.head, max_fields=limits.fields, max_target=limits.target)
            if event.ended and head.length:
                raise Malformed("content-length, and no content")  # §8.1.1
            if limits.body and head.length and head.length > limits.body:
                raise ContentTooLarge(f"At most {limits.body} bytes of content are taken.")
            upgrade = None
            if head.protocol is not None:
                upgrade = asked(head, head.protocol, ctx.upgrades, ended=event.ended)
        except Malformed as error:
            self._refuse_stream(event, str(error), now)
            return
        except HopError as error:
            self._refuse(event, error)
            return
        self._served += 1
        stream = ServerStream(self, event.stream, head.length, now)
        priority = event.priority if event.priority is not None else head.priority  # RFC 9218 §7.1
        if priority is not None:
            stream.prioritize(priority)
        stream.request = request = self._request(head, stream)
        request.upgrade = upgrade
        if not event.ended:
            request.body = stream.expect_content(
                limits.buffer, request.trailers, expects_continue=head.expects_continue
            )
            self._arm(now + ctx.timeouts.body)
        elif head.expects_continue:
            request.fields = without(request.fields, b"expect")  # RFC 9110 §10.1.1: nothing is to come
        stream.exchange = ctx.begin(request)
        self._streams[event.stream] = stream
        if self._drain_at != INFINITY or (limits.requests and self._served >= limits.requests):
            self.drain()
        self._answer(stream)

    def _request(self, head: RequestHead, stream: ServerStream) -> Request:
        return Request(
            head.method,
            head.target,
            head.fields,
            authority=head.authority,
            scheme=self.scheme,
            version=b"2",
            peer=self.peer,
            interim=stream.interim,
        )

    def _refuse_stream(self, event: Head, reason: str, now: float) -> None:
        """Not a request: no service sees it. A stream error (§8.1.1); the log says why."""
        exchange = self._ctx.begin(self._nothing(event))
        exchange.termination, exchange.detail = "refused", reason
        later = self._h2.fault(event.stream, now)
        self._h2.release(event.stream)
        self._ctx.end(exchange)
        for more in later:
            self._on(more, now)

    def _refuse(self, event: Head, error: HopError) -> None:
        """A request that is answered without asking the service."""
        stream = ServerStream(self, event.stream, None, 0.0)
        stream.request = self._nothing(event)
        stream.exchange = self._ctx.begin(stream.request)
        stream.exchange.termination = "refused"
        self._streams[event.stream] = stream
        self._send_whole(stream, self._ctx.error(error, None, stream.exchange))

    def _nothing(self, event: Head) -> Request:
        method = get(event.fields, b":method") or b"-"
        return Request(method, b"-", [], authority=b"", scheme=self.scheme, version=b"2", peer=self.peer)

    def _content(self, event: Data, now: float) -> None:
        stream = self._streams.get(event.stream)
        if stream is None or stream.incoming is None:
            if not self._early.received(event.stream, event.size, ended=event.ended):
                self._h2.credit(event.stream, event.size)
            return
        stream.owed += event.size
        stream.credit(event.size - len(event.content))  # padding is nobody's
        stream.pace.heard = now
        if not stream.length.take(len(event.content)) or (event.ended and not stream.length.complete()):
            self._mismatch(stream, now)
            return
        limit = self._ctx.limits.body
        if limit and stream.length.received > limit and stream.request.upgrade is None:
            # what follows is neither kept nor credited
            stream.incoming.fail(ContentTooLarge(f"At most {limit} bytes of content are taken."))
            return
        if event.content:
            stream.incoming.feed(event.content)
        if event.ended:
            stream.incoming.end()
            if stream.tunnel is not None and stream.tunnel.over_since is not None:
                self._finish(stream, answered=True)

    def _trailers(self, event: Trailers, now: float) -> None:
        stream = self._streams.get(event.stream)
        if stream is None or stream.incoming is None:
            self._early.let_go(event.stream)
            return
        try:
            trailers = trailer_fields(event.fields, max_fields=self._ctx.limits.fields)
        except Malformed as error:
            self._faulty(stream, str(error), now)
            return
        if not stream.length.complete():
            self._mismatch(stream, now)
            return
        stream.request.trailers += trailers
        stream.incoming.end()

    def _mismatch(self, stream: ServerStream, now: float) -> None:
        self._faulty(stream, "the content is not as long as content-length says", now)  # §8.1.1

    def _faulty(self, stream: ServerStream, reason: str, now: float) -> None:
        stream.exchange.detail = reason
        later = self._h2.fault(stream.id, now)
        self._gone(stream, "refused", ClientGone("The request is malformed."))
        for more in later:
            self._on(more, now)

    # A response goes out.

    def _answer(self, stream: ServerStream) -> None:
        ctx = self._ctx
        try:
            if (own := self.peer.authorities) is not None:
                own.check(stream.request.authority)
            result = ctx.service.handle(stream.request, stream.exchange)
        except Exception as error:
            result = ctx.error(error, stream.request, stream.exchange)
        if isinstance(result, Response):
            if isinstance(result.body, bytes):
                self._send_whole(stream, result)
                return
            stream.response = result
            stream.task = ctx.tasks.spawn(self._send_stream(stream, result), name=f"{ctx.name}.response")
        else:
            stream.waits_for = result
            stream.task = ctx.tasks.spawn(self._wait(stream, result), name=f"{ctx.name}.request")
        stream.task.add_done_callback(partial(self._task_done, stream))

    async def _wait(self, stream: ServerStream, answer: Awaitable[Response]) -> None:
        """The one task of a request that waits."""
        try:
            response = await answer
            stream.waits_for = None
        except CutOff as cut:
            self._cut(stream, cut)
            return
        except Exception as error:
            response = self._ctx.error(error, stream.request, stream.exchange)
        if not isinstance(response.body, bytes):
            await self._send_stream(stream, response)
        elif not stream.gone:
            self._send_whole(stream, response)

    def _task_done(self, stream: ServerStream, task: asyncio.Task[None]) -> None:
        """Also of a task that was cancelled before its first step, which no `finally` of its own sees."""
        stream.task = None
        unread = None if stream.response is None else stream.response.body
        if stream.waits_for is not None:
            unread = forsake(stream.waits_for)
        if unread is not None and not isinstance(unread, bytes):
            self._ctx.tasks.spawn(unread.aclose(), name=f"{self._ctx.name}.unread")
        if not stream.queued:
            if not stream.gone and self._h2.sending(stream.id):
                self._h2.reset(stream.id, wire.INTERNAL_ERROR)
            self._finish(stream)

    def credit(self, stream: ServerStream, size: int) -> None:
        self._h2.credit(stream.id, size)
        self._soon()

    # The end of a stream.

    def _sent(self, stream_id: int) -> None:
        """The end of a response is on its way."""
        if (stream := self._streams.get(stream_id)) is not None:
            if not self._h2.ended(stream_id):
                if stream.tunnel is not None and stream.tunnel.over_since is None:
                    stream.tunnel.over_since = self._now()  # the client has time to end as well
                    self._arm(stream.tunnel.due(self._now()))
                    return
                if stream.tunnel is None:
                    self._arm(self._early.hold(stream_id, stream.owed, self._now()))
                    stream.owed = 0
                    self._finish(stream, early=True)
                    return
                self._h2.reset(stream_id, wire.NO_ERROR)
            self._finish(stream, answered=True)

    def _gone(self, stream: ServerStream, termination: str, error: HopError) -> None:
        """Nobody waits for the response any more."""
        if stream.gone:
            return
        if stream.tunnel is not None and stream.tunnel.over_since is not None:
            termination = ""  # all was said
        stream.gone = True
        stream.exchange.termination = stream.exchange.termination or termination
        self._outbox.discard(stream.id, error)
        if stream.incoming is not None:
            stream.incoming.fail(error)
        if stream.task is not None:
            stream.queued = False
            stream.task.cancel()
        else:
            self._finish(stream)

    def _finish(self, stream: ServerStream, *, answered: bool = False, early: bool = False) -> None:
        """Once for every stream: its resources, and the exchange's end. `early`: the client has not ended."""
        if self._streams.pop(stream.id, None) is None:
            return
        self._h2.credit(stream.id, stream.owed)
        stream.owed = 0
        stream.gone = True
        if not early:
            self._h2.release(stream.id, answered=answered)
        exchange = stream.exchange
        exchange.bytes_in = stream.length.received
        exchange.bytes_out = stream.sending.sent
        self._ctx.end(exchange)
        if not self._streams and not self._closing:
            self._idle_since = self._now()
            self._arm(self._idle_since + self._ctx.timeouts.idle)
            if self._draining and self._last_step == INFINITY:
                self._close(linger=True)
        self._soon()

    # What the server asks for, and what time brings.

    def drain(self) -> None:
        """In two steps (§6.8): a request that is on its way here while we say so is still answered."""
        if self._draining or self._closing:
            return
        if not self._served and (until := self._idle_since + self._ctx.timeouts.linger) > self._now():
            self._drain_at = until  # what it was opened for is on its way: GOAWAY would cross it
            self._arm(until)
            return
        self._draining, self._drain_at = True, INFINITY
        self._h2.go_away(last=False)
        self._h2.ping()
        self._last_step = self._now() + GRACE
        self._arm(self._last_step)
        self._soon()

    def _second_goaway(self) -> None:
        if self._last_step == INFINITY:
            return
        self._last_step = INFINITY
        self._h2.go_away()
        if not self._streams:
            self._close(linger=True)
        self._soon()

    def abort(self) -> None:
        for stream in self._streams.values():
            stream.exchange.termination = stream.exchange.termination or "drained"
        self._abort()

    def expire(self) -> None:
        self.deadline = INFINITY
        now = self._now()
        if self._closing:
            self._expire_closing(now)
            return
        self._expire_connection(now)
        if not self._closing:
            self._expire_streams(now)
            self._flush()

    def _expire_connection(self, now: float) -> None:
        times = self._ctx.timeouts
        if self._is_stuck(now):
            for stream in self._streams.values():
                stream.exchange.termination = stream.exchange.termination or "timeout"
            self._cut_off()
            return
        if self._partial_since + times.head <= now:
            self._h2.go_away(wire.ENHANCE_YOUR_CALM, reason=b"a field section did not end in time")
            self._close(linger=True)
            return
        self._arm(self._partial_since + times.head)
        if self._is_unsettled(now, times.head):
            self._close(linger=True)
            return
        if self._drain_at <= now:
            self.drain()
        self._arm(self._drain_at)
        if self._last_step <= now:
            self._second_goaway()
        self._arm(self._last_step)
        if not self._streams:
            if self._idle_since + times.idle <= now:
                self._h2.go_away()
                self._close()
            else:
                self._arm(self._idle_since + times.idle)

    def _expire_streams(self, now: float) -> None:
        times = self._ctx.timeouts
        self._arm(self._early.expire(now))
        for stream_id in self._stalled(now):
            self._h2.reset(stream_id, wire.CANCEL)
            self._gone(self._streams[stream_id], "timeout", ClientGone("The client opens no window."))
        for stream in list(self._streams.values()):
            incoming = stream.incoming
            if stream.tunnel is not None:
                self._expire_tunnel(stream, stream.tunnel.due(now))
                continue
            if incoming is None or incoming.ended:
                continue
            if not incoming.waiting:
                stream.pace.restart(stream.length.received, now)  # it is us who do not read
                self._arm(now + times.body)
                continue
            window, rate = patience(stream.request, times)
            if due := stream.pace.due(stream.length.received, now, window, rate):
                self._arm(due)
            else:
                incoming.fail(too_slow(window, rate))

    def _expire_tunnel(self, stream: ServerStream, due: float) -> None:
        if due:
            self._arm(due)
        elif stream.tunnel is not None and stream.tunnel.over_since is not None:
            if stream.incoming is not None:
                stream.incoming.end()
            self._sent(stream.id)
        else:
            self._h2.reset(stream.id, wire.CANCEL)
            self._gone(stream, "timeout", ClientGone("The tunnel's time is over."))
