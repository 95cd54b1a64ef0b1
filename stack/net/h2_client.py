"""One upstream HTTP/2 connection: many requests at a time, each with its own fate (RFC 9113)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stack.clock import Clock
from stack.config.base import UpstreamTimeouts
from stack.errors import (
    ClosedEarly,
    HopError,
    Refused,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
    Unsent,
    UpstreamError,
)  # fmt: skip
from stack.http import h2_wire as wire
from stack.http.forwarding import interim_fields
from stack.http.h2 import Connection
from stack.http.h2_events import Away, Data, Event, Failed, Head, Opened, Reset, Trailers
from stack.http.h2_fields import (
    Length,
    Malformed,
    connect_list,
    request_list,
    response_head,
    trailer_fields,
    trailer_list,
)  # fmt: skip
from stack.http.message import Fields, Request, Response, has_no_content
from stack.http.upgrade import switch_fields
from stack.net.expectation import Expectation, expects
from stack.net.h2_connection import INFINITY, H2Transport
from stack.net.h2_stream import ClientStream
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

STREAMS: Final = 100
"""Requests of one connection at a time, however many more its peer would take."""
MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 1000
MAX_INTERIM: Final = 20
"""Interim responses to one request."""


class H2ClientConnection(H2Transport):
    """See `stack.net.pool.UpstreamConnection`. `on_idle` is called whenever room for a request becomes free."""

    __slots__ = (
        "_away", "_clock", "_fresh", "_limit", "_max_buffer", "_on_closed", "_on_idle", "_scheme", "_settings",
        "_streams", "_tasks", "_timeouts", "closed", "idle_since", "name", "served",
    )  # fmt: skip

    def __init__(
        self,
        *,
        name: str,
        scheme: bytes,
        timeouts: UpstreamTimeouts,
        clock: Clock,
        tasks: Tasks,
        max_buffer: int,
        on_idle: Callable[[H2ClientConnection], None],
        on_closed: Callable[[H2ClientConnection], None],
    ) -> None:
        super().__init__(
            Connection(is_client=True, streams=STREAMS, window=max_buffer, max_head=MAX_HEAD),
            now=clock.now,
            send_timeout=timeouts.send,
            send_rate=timeouts.send_rate,
        )
        self.name = name
        self._clock = clock
        self._scheme = scheme
        self._timeouts = timeouts
        self._tasks = tasks
        self._max_buffer = max_buffer
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._streams: dict[int, ClientStream] = {}
        self._fresh: list[ClientStream] = []
        """Whose response came in the present batch."""
        self._limit = 0
        """Streams that the peer was last known to allow."""
        self._away = False
        """The peer takes no more requests."""
        self._settings: asyncio.Future[None] | None = None
        """Waits for the peer's first SETTINGS."""
        self.closed = False
        self.served = 0
        """Requests begun; more than one means that the connection was reused."""
        self.idle_since = clock.now()
        self._arm(self.idle_since + timeouts.idle)

    @property
    def capacity(self) -> int:
        """Requests that may still be sent now."""
        return 0 if self.closed or self._away else max(0, self._h2.capacity)

    @property
    def idle(self) -> bool:
        return not self._streams and not self.closed

    # A request goes out.

    async def send(self, request: Request, exchange: Exchange) -> Response:
        """The response's head, with its content still coming unless it is here already. Raises a HopError.

        Cancelling it resets the stream; the connection goes on.
        """
        if self.capacity <= 0:
            raise Unsent(private=f"{self.name}: takes no more requests")
        stream = self._open(request)
        try:
            return await stream.answer
        except BaseException:
            self._abandon(stream)
            raise

    def _open(self, request: Request) -> ClientStream:
        body = request.body
        more: Fields = []
        has_length = request.get(b"content-length") is not None
        if isinstance(body, bytes) and not has_length and (body or request.method in (b"POST", b"PUT", b"PATCH")):
            more.append((b"content-length", b"%d" % len(body)))  # RFC 9110 §8.6
        try:
            where = (self._scheme, request.authority, request.target)
            if request.upgrade is not None:
                fields = connect_list(request.upgrade, *where, request.fields)
            else:
                fields = request_list(request.method, *where, [*request.fields, *more])
            trailers = trailer_list(request.trailers)
        except ValueError as error:
            self._on_idle(self)  # the room is free still
            raise HopError(private=f"request to {self.name}: {error}") from None
        ended = body == b"" and not trailers
        stream = ClientStream(self._h2.open(fields, ended=ended), request)
        self._streams[stream.id] = stream
        self.served += 1
        if ended:
            self._sent(stream.id)
        elif isinstance(body, bytes):
            self._outbox.put(stream.sending, body, ended=True, trailers=trailers)
        elif request.upgrade is not None:  # its body is sent once the tunnel is open
            stream.head_due = self._now() + self._timeouts.head
            self._arm(stream.head_due)
        else:
            if expects(request.fields):
                stream.expectation = Expectation()
            self._upload(stream)
        self._soon()
        return stream

    def _upload(self, stream: ClientStream) -> None:
        stream.upload = self._tasks.spawn(self._send_stream(stream), name=f"{self.name}.upload")

    async def takes_tunnels(self) -> bool:
        """Whether the peer takes extended CONNECT (RFC 8441 §3); its SETTINGS say so. ClosedEarly if none come."""
        while (takes := self._h2.tunnels) is None:
            if self.closed:
                raise ClosedEarly(private=f"{self.name}: closed before its SETTINGS")
            self._settings = self._settings or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settings)
        return takes

    async def _send_stream(self, stream: ClientStream) -> None:
        body = stream.request.body
        assert not isinstance(body, bytes)
        try:
            if stream.expectation is not None and not await stream.expectation.met(self._clock, self._timeouts.expect):
                return  # answered without the content
            async for piece in body:
                if not piece:
                    continue
                whole = self._outbox.put(stream.sending, piece)
                self._flush()
                if not whole:
                    await self._outbox.wait(stream.sending)
            self._outbox.put(stream.sending, b"", ended=True, trailers=trailer_list(stream.request.trailers))
            self._soon()
        except HopError as error:
            self._fail(stream, error)  # content that breaks off must not look complete
        except Exception as error:
            self._fail(stream, HopError(private=f"content of a request to {self.name}: {error!r}"))
            raise
        finally:
            stream.upload = None
            await body.aclose()

    def _sent(self, stream: int) -> None:
        if (sender := self._streams.get(stream)) is None:
            return
        sender.sent = True
        if not sender.answer.done() and sender.response is None:
            sender.head_due = self._now() + self._timeouts.head
            self._arm(sender.head_due)
        if sender.ended:
            self._finish(sender)

    # A response comes in.

    def _on(self, event: Event, now: float) -> None:
        if isinstance(event, Head):
            self._head(event, now)
        elif isinstance(event, Data):
            self._content(event, now)
        elif isinstance(event, Trailers):
            self._trailers(event)
        elif isinstance(event, Reset):
            if (stream := self._streams.get(event.stream)) is not None:
                self._reset(stream, event)
        elif isinstance(event, Away):
            self._go_away(event)
        elif isinstance(event, Opened):
            self._settle()
            if (limit := self._h2.limit) != self._limit:
                grown, self._limit = limit - self._limit, limit
                self._offer(grown)
        elif isinstance(event, Failed):
            for stream in list(self._streams.values()):
                self._fail(stream, ResponseMalformed(private=f"{self.name}: {event.reason}"))
            self.close()

    def _settle(self) -> None:
        settings, self._settings = self._settings, None
        if settings is not None and not settings.done():
            settings.set_result(None)

    def _offer(self, rooms: int) -> None:
        """SETTINGS came, the first or others: there is room for so many requests more."""
        for _ in range(min(rooms, self.capacity)):
            self._on_idle(self)

    def _batch_ended(self, progress: bool, now: float) -> None:
        fresh, self._fresh = self._fresh, []
        for stream in fresh:
            self._hand_over(stream)

    def _hand_over(self, stream: ClientStream) -> None:
        """The response, with all its content if that is here already."""
        response, stream.response = stream.response, None
        if response is None or stream.answer.done():
            return
        incoming = stream.incoming
        if incoming is not None:
            # with trailers it stays a stream: a message of bytes has no place for them in HTTP/1.1
            whole = incoming.complete() if not incoming.trailers and not stream.tunnel else None
            response.body = incoming if whole is None else whole
            if whole is not None:
                self._credit(stream, stream.owed)
        stream.answer.set_result(response)

    def _head(self, event: Head, now: float) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            return
        request = stream.request
        try:
            head = response_head(event.fields, max_fields=MAX_FIELDS)
            if head.status < 200:
                stream.interims += 1
                if stream.interims > MAX_INTERIM:
                    raise Malformed("too many interim responses")
                if head.status == 100 and stream.expectation is not None:
                    stream.expectation.tell(True)
                elif request.interim is not None:
                    request.interim(head.status, interim_fields(head.fields))
                return
            if stream.expectation is not None:
                stream.expectation.tell(False)
            no_content = has_no_content(request.method, head.status)
            if event.ended and head.length and not no_content:
                raise Malformed("content-length, and no content")  # §8.1.1
        except Malformed as error:
            self._fail(stream, ResponseMalformed(private=f"{self.name}: {error}"), wire.PROTOCOL_ERROR)
            return
        stream.head_due = INFINITY
        stream.received_at = now
        stream.response = response = Response(head.status, head.fields, version=b"2")
        stream.length = Length(0 if no_content else head.length)
        if request.upgrade is not None and head.status < 300:
            stream.tunnel, no_content = True, False
            stream.length = Length(None)
            response.status, response.fields = 101, switch_fields(head.fields)
            self._upload(stream)
        if stream.tunnel or (not event.ended and not no_content):
            stream.incoming = Incoming(
                self._max_buffer,
                consumed=lambda size: self._credit(stream, size),
                closed=lambda: self._abandon(stream),
                trailers=response.trailers,
            )
            self._arm(now + self._timeouts.body)
        self._fresh.append(stream)
        if event.ended:
            self._response_ended(stream)

    def _content(self, event: Data, now: float) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            self._h2.credit(event.stream, event.size)
            return
        stream.owed += event.size
        self._credit(stream, event.size - len(event.content))  # padding is nobody's
        stream.received_at = now
        if not stream.length.take(len(event.content)) or (event.ended and not stream.length.complete()):
            self._mismatch(stream)
            return
        if event.content and stream.incoming is not None:
            stream.incoming.feed(event.content)
        if event.ended:
            self._response_ended(stream)

    def _trailers(self, event: Trailers) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            return
        try:
            trailers = trailer_fields(event.fields, max_fields=MAX_FIELDS)
        except Malformed as error:
            self._fail(stream, ResponseMalformed(private=f"{self.name}: {error}"), wire.PROTOCOL_ERROR)
            return
        if not stream.length.complete():
            self._mismatch(stream)
            return
        if stream.incoming is not None:
            stream.incoming.trailers += trailers
        self._response_ended(stream)

    def _mismatch(self, stream: ClientStream) -> None:
        """§8.1.1. To the reader it is one with a response that was cut."""
        error = ResponseIncomplete(private=f"{self.name}: the content is not as long as content-length says")
        self._fail(stream, error, wire.PROTOCOL_ERROR)

    def _response_ended(self, stream: ClientStream) -> None:
        stream.ended = True
        if stream.incoming is not None:
            stream.incoming.end()
        if not stream.sent:
            if stream.tunnel:
                return
            self._h2.reset(stream.id, wire.CANCEL)  # answered early (§8.1): the rest would be read by nobody
        self._finish(stream)

    def _reset(self, stream: ClientStream, event: Reset) -> None:
        where = f"{self.name}: stream reset with code {event.code}"
        error: UpstreamError
        if not event.by_peer:
            error = ResponseMalformed(private=f"{self.name}: {event.reason}")
        elif event.code == wire.REFUSED_STREAM:
            error = Refused(private=where)
        else:
            error = ResponseIncomplete(private=where)
            self._hand_over(stream)  # what came before counts, whether or not it came in one read
        self._fail(stream, error)

    def _credit(self, stream: ClientStream, size: int) -> None:
        size = min(size, stream.owed)
        if size and not self.closed:
            stream.owed -= size
            self._h2.credit(stream.id, size)
            self._soon()

    # The end of a stream.

    def _abandon(self, stream: ClientStream) -> None:
        """Nobody wants the response any more."""
        if stream.id in self._streams:
            self._fail(stream, ResponseIncomplete(private=f"{self.name}: given up"))

    def _fail(self, stream: ClientStream, error: HopError, code: int = wire.CANCEL) -> None:
        """The reader gets `error`, the peer a reset if it still holds the stream."""
        if stream.id not in self._streams:
            return
        self._h2.reset(stream.id, code)
        stream.response = None
        if not stream.answer.done():
            stream.answer.set_exception(error)
            stream.answer.exception()  # nobody may be waiting any more
        if stream.incoming is not None:
            stream.incoming.fail(error)
        self._outbox.discard(stream.id, error)
        self._finish(stream)

    def _finish(self, stream: ClientStream) -> None:
        if self._streams.pop(stream.id, None) is None:
            return
        if stream.incoming is None or not stream.ended:
            self._h2.credit(stream.id, stream.owed)
            stream.owed = 0
        self._h2.release(stream.id)
        if not stream.sent:
            self._outbox.discard(stream.id, ResponseIncomplete(private=f"{self.name}: the response has ended"))
        upload = stream.upload
        if upload is not None and upload is not asyncio.current_task():
            upload.cancel()
        if self.closed:
            return
        if not self._streams:
            self.idle_since = self._now()
            self._arm(self.idle_since + self._timeouts.idle)
            if self._away:
                self.close()
                return
        self._soon()
        if self.capacity > 0:
            self._on_idle(self)

    # The end of the connection.

    def _go_away(self, event: Away) -> None:
        """§6.8: what is above `last` was not acted upon, and can be sent elsewhere."""
        self._away = True
        for stream in list(self._streams.values()):
            if stream.id > event.last:
                self._fail(stream, Refused(private=f"{self.name}: GOAWAY with code {event.code}"))
        if not self._streams:
            self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._closing = True
        self._end()
        for stream in list(self._streams.values()):
            where = f"{self.name}: the connection was closed: {exc}"
            error: UpstreamError = ResponseIncomplete(private=where)
            if not stream.answer.done() and stream.response is None and not stream.interims:
                error = ClosedEarly(private=where)
            self._fail(stream, error)

    def close(self) -> None:
        """Close an idle connection; what is still in flight is cut."""
        if self.closed:
            return
        if not self._h2.failed:
            self._h2.go_away()
        self._close()
        self._end()

    def abort(self) -> None:
        if not self.closed:
            self._abort()
            self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._settle()
            self._on_closed(self)

    def expire(self) -> None:
        self.deadline = INFINITY
        now = self._now()
        if self._closing:
            self._expire_closing(now)
            return
        times = self._timeouts
        if self._is_stuck(now):
            for stream in list(self._streams.values()):
                self._fail(stream, ResponseTimeout(private=f"{self.name}: took no byte for {times.send:g} s"))
            self.abort()
            return
        if self._is_unsettled(now, times.head):
            for stream in list(self._streams.values()):
                self._fail(stream, ResponseTimeout(private=f"{self.name}: acknowledged no SETTINGS"))
            self._close()
            self._end()
            return
        for stream_id in self._stalled(now):
            error = ResponseTimeout(private=f"{self.name}: opened no window for {times.send:g} s")
            self._fail(self._streams[stream_id], error)
        for stream in list(self._streams.values()):
            self._expire_stream(stream, now)
        if self.idle and self.idle_since + times.idle <= now:
            self.close()
        elif self.idle:
            self._arm(self.idle_since + times.idle)
        self._flush()

    def _expire_stream(self, stream: ClientStream, now: float) -> None:
        times = self._timeouts
        if stream.head_due <= now:
            self._away = self._away or self._heard_at + times.head <= now  # not a byte: it is dead, whatever TCP says
            self._fail(stream, ResponseTimeout(private=f"{self.name}: no response for {times.head:g} s"))
            return
        self._arm(stream.head_due)
        incoming = stream.incoming
        if incoming is None or incoming.ended or stream.tunnel:
            return
        if not incoming.waiting:
            self._arm(now + times.body)  # it is us who do not read
        elif stream.received_at + times.body <= now:
            self._fail(stream, ResponseIncomplete(private=f"{self.name}: no content for {times.body:g} s"))
        else:
            self._arm(stream.received_at + times.body)
