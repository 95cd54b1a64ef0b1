"""The tracer's HTTP/2, by the h2 library: what looks at our servers shares no framing with them (RFC 9113)."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)  # fmt: skip
from h2.exceptions import FrameTooLargeError, H2Error, InvalidBodyLengthError
from h2.settings import SettingCodes, Settings

from stack.clock import Clock
from stack.errors import ClosedEarly, HopError, Refused, ResponseIncomplete, ResponseMalformed, Unsent, UpstreamError
from stack.http.h2_fields import connect_list, request_list, trailer_list
from stack.http.message import Fields, Request, Response, get, has_no_content
from stack.http.trailers import NOT_IN_TRAILERS
from stack.http.upgrade import switch_fields
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

FRAME: Final = 16_384
"""The largest payload that is taken: SETTINGS_MAX_FRAME_SIZE at its default."""
HEADER: Final = 9
MAX_HEAD: Final = 64 * 1024
MAX_INTERIM: Final = 20
"""Interim responses to one request."""


class _Stream:
    """The request under way."""

    __slots__ = ("answer", "id", "incoming", "interims", "left", "request", "response", "sent", "tunnel", "upload")

    def __init__(self, stream: int, request: Request) -> None:
        self.id, self.request = stream, request
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.response: Response | None = None
        self.incoming: Incoming | None = None
        self.upload: asyncio.Task[None] | None = None
        self.interims = 0
        self.left: int | None = None
        """Bytes that content-length promises still."""
        self.sent = self.tunnel = False


class H2TraceConnection(asyncio.Protocol):
    """See `stack.net.pool.UpstreamConnection`, with one request at a time. How long it may take is the caller's."""

    def __init__(self, *, name: str, scheme: bytes, clock: Clock, tasks: Tasks, max_buffer: int) -> None:
        self.name = name
        self._scheme, self._tasks, self._max_buffer = scheme, tasks, max_buffer
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: max_buffer,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            },
        )
        self._h2.decoder.max_header_list_size = MAX_HEAD
        self._rest = bytearray()
        self._stream: _Stream | None = None
        self._away = ""
        """What GOAWAY said."""
        self._writable = True
        self._changed: asyncio.Future[None] | None = None
        """Resolved as windows, settings or the transport give room, and at the end."""
        self._settings = False
        self.closed = False
        self.served = 0
        self.idle_since = clock.now()
        self.deadline = float("inf")

    @property
    def capacity(self) -> int:
        return int(not (self.closed or self._away or self._stream is not None))

    @property
    def idle(self) -> bool:
        return self._stream is None and not self.closed

    # A request goes out.

    async def send(self, request: Request, exchange: Exchange) -> Response:
        """The response's head, its content to come. Raises a HopError. Cancelling it resets the stream."""
        if self.capacity <= 0:
            raise Unsent(private=f"{self.name}: takes no more requests")
        stream = self._open(request)
        try:
            return await stream.answer
        except BaseException:
            self._abandon(stream)
            raise

    async def takes_tunnels(self) -> bool:
        """RFC 8441 §3: the server's SETTINGS say so. ClosedEarly if none come."""
        while not self._settings:
            if self.closed:
                raise ClosedEarly(private=f"{self.name}: closed before its SETTINGS")
            await self._change()
        return bool(self._h2.remote_settings.enable_connect_protocol)

    def _open(self, request: Request) -> _Stream:
        body = request.body
        more: Fields = []
        where = (self._scheme, request.authority, request.target)
        has_length = request.get(b"content-length") is not None
        if isinstance(body, bytes) and not has_length and (body or request.method in (b"POST", b"PUT", b"PATCH")):
            more.append((b"content-length", b"%d" % len(body)))  # RFC 9110 §8.6
        stream = _Stream(self._h2.get_next_available_stream_id(), request)
        ended = body == b"" and not request.trailers
        try:
            if request.upgrade is not None:
                fields = connect_list(request.upgrade, *where, request.fields)
            else:
                fields = request_list(request.method, *where, [*request.fields, *more])
            self._h2.send_headers(stream.id, fields, end_stream=ended)
        except (H2Error, ValueError) as error:
            self.close()  # the library holds half a stream
            raise HopError(private=f"request to {self.name}: {error}") from None
        self._stream, stream.sent = stream, ended
        self.served += 1
        if not ended and request.upgrade is None:  # a tunnel's is sent once it is open
            self._upload(stream)
        self._write()
        return stream

    def _upload(self, stream: _Stream) -> None:
        stream.upload = self._tasks.spawn(self._send_content(stream), name=f"{self.name}.upload")

    async def _send_content(self, stream: _Stream) -> None:
        try:
            await self._send_all(stream)
        except HopError as error:
            self._fail(stream, error)  # content that breaks off must not look complete
        except (H2Error, ValueError) as error:
            self._fail(stream, HopError(private=f"content of a request to {self.name}: {error}"))
        finally:
            stream.upload = None

    async def _send_all(self, stream: _Stream) -> None:
        body = stream.request.body
        if isinstance(body, bytes):
            await self._send_piece(stream, body)
        else:
            async for piece in body:
                await self._send_piece(stream, piece)
        trailers = trailer_list(stream.request.trailers)
        if trailers:
            self._h2.send_headers(stream.id, trailers, end_stream=True)
        else:
            self._h2.end_stream(stream.id)
        stream.sent = True
        self._write()
        if stream.incoming is not None and stream.incoming.ended:
            self._finish(stream)

    async def _send_piece(self, stream: _Stream, piece: bytes) -> None:
        """As the windows (§6.9) and the transport let it."""
        left = memoryview(piece)
        while left:
            window = self._h2.local_flow_control_window(stream.id) if self._writable else 0
            if window <= 0:
                await self._change()
                continue
            size = min(window, self._h2.max_outbound_frame_size, len(left))
            self._h2.send_data(stream.id, bytes(left[:size]))
            left = left[size:]
            self._write()

    async def _change(self) -> None:
        self._changed = self._changed or asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    # A response comes in.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        if (more := self._max_buffer - self._h2.inbound_flow_control_window) > 0:
            self._h2.increment_flow_control_window(more)
        self._write()

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while not self.closed:
            try:
                if not (frame := self._frame()):
                    return
                events = self._h2.receive_data(frame)
            except (H2Error, ValueError, LookupError) as error:
                self._broken(error)
                return
            for event in events:
                self._on(event)
            self._write()

    def _frame(self) -> bytes:
        """The next frame alone: the library forgets what it has read when a later frame of the same read is bad."""
        rest = self._rest
        if len(rest) < HEADER:
            return b""
        size = HEADER + int.from_bytes(rest[:3], "big")
        if size > HEADER + FRAME:  # §4.2
            raise FrameTooLargeError(f"a frame of {size - HEADER} bytes")
        if len(rest) < size:
            return b""
        frame = bytes(rest[:size])
        del rest[:size]
        return frame

    def _on(self, event: Event) -> None:
        stream = self._stream
        if isinstance(event, RemoteSettingsChanged):
            self._settings = True
            self._tell()
        elif isinstance(event, WindowUpdated):
            self._tell()
        elif isinstance(event, ConnectionTerminated):
            self._go_away(event)
        elif isinstance(event, DataReceived) and (stream is None or stream.id != event.stream_id):
            self._credit(event.stream_id, event.flow_controlled_length)
        elif stream is None or getattr(event, "stream_id", 0) != stream.id:
            return
        elif isinstance(event, InformationalResponseReceived):
            self._interim(stream, event)
        elif isinstance(event, ResponseReceived):
            self._head(stream, event)
        elif isinstance(event, DataReceived):
            self._content(stream, event)
        elif isinstance(event, TrailersReceived):
            if stream.response is not None:
                stream.response.trailers += [
                    field for field in _plain(event.headers) if field[0] not in NOT_IN_TRAILERS
                ]
        elif isinstance(event, StreamEnded):
            self._ended(stream)
        elif isinstance(event, StreamReset):
            self._reset(stream, event)

    def _interim(self, stream: _Stream, event: InformationalResponseReceived) -> None:
        stream.interims += 1
        if stream.interims > MAX_INTERIM:
            self._fail(stream, ResponseMalformed(private=f"{self.name}: too many interim responses"))
        elif stream.request.interim is not None:
            fields = _plain(event.headers)
            stream.request.interim(int(fields[0][1]), fields[1:])

    def _head(self, stream: _Stream, event: ResponseReceived) -> None:
        status, *fields = _plain(event.headers)
        request = stream.request
        response = stream.response = Response(int(status[1]), fields, version=b"2")
        length = get(fields, b"content-length")
        nothing = has_no_content(request.method, response.status)
        if request.upgrade is not None and response.status < 300:
            stream.tunnel = True
            response.status, response.fields = 101, switch_fields(fields)
            self._upload(stream)
        elif not nothing and length is not None:
            stream.left = int(length)  # the library has looked at it
        if stream.tunnel or event.stream_ended is None:
            response.body = stream.incoming = Incoming(
                self._max_buffer,
                consumed=lambda size: self._credit(stream.id, size),
                closed=lambda: self._abandon(stream),
                trailers=response.trailers,
            )
        elif stream.left:  # §8.1.1
            self._fail(stream, ResponseMalformed(private=f"{self.name}: content-length, and no content"))
            return
        stream.answer.set_result(response)

    def _content(self, stream: _Stream, event: DataReceived) -> None:
        self._credit(stream.id, event.flow_controlled_length - len(event.data))  # padding is nobody's
        if stream.left is not None:
            stream.left -= len(event.data)
        if event.data and stream.incoming is not None:
            stream.incoming.feed(event.data)

    def _ended(self, stream: _Stream) -> None:
        if stream.left:
            self._fail(stream, self._mismatch())  # the library does not count content in front of trailers
            return
        if stream.incoming is not None:
            stream.incoming.end()
        if stream.sent:
            self._finish(stream)
        elif not stream.tunnel:
            self._cancel(stream)  # answered early (§8.1): the rest would be read by nobody
            self._finish(stream)

    def _mismatch(self) -> ResponseIncomplete:
        return ResponseIncomplete(private=f"{self.name}: the content is not as long as content-length says")

    def _reset(self, stream: _Stream, event: StreamReset) -> None:
        where = f"{self.name}: stream reset with code {_code(event.error_code)}"
        refused = event.error_code == ErrorCodes.REFUSED_STREAM
        self._fail(stream, Refused(private=where) if refused else ResponseIncomplete(private=where))

    def _credit(self, stream: int, size: int) -> None:
        if size and not self.closed:
            self._h2.acknowledge_received_data(size, stream)
            self._write()

    # The end of a stream.

    def _abandon(self, stream: _Stream) -> None:
        """Nobody wants the response any more."""
        if stream is self._stream:
            self._fail(stream, ResponseIncomplete(private=f"{self.name}: given up"))

    def _fail(self, stream: _Stream, error: HopError) -> None:
        self._cancel(stream)
        if not stream.answer.done():
            stream.answer.set_exception(error)
            stream.answer.exception()  # nobody may be waiting any more
        if stream.incoming is not None:
            stream.incoming.fail(error)
        self._finish(stream)

    def _cancel(self, stream: _Stream) -> None:
        if not self.closed:
            try:
                self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)
            except H2Error:  # it is closed at the server's side too
                return
            self._write()

    def _finish(self, stream: _Stream) -> None:
        if self._stream is not stream:
            return
        self._stream = None
        if stream.upload is not None and stream.upload is not asyncio.current_task():
            stream.upload.cancel()
        if self._away:
            self.close()

    # The end of the connection.

    def _go_away(self, event: ConnectionTerminated) -> None:
        """§6.8: what is above the last stream was not acted upon, what is below goes on; the library would end here."""
        self._h2.state_machine.state = ConnectionState.CLIENT_OPEN
        self._away = f"GOAWAY with code {_code(event.error_code)}"
        stream = self._stream
        if stream is None:
            self.close()
        elif stream.id > (event.last_stream_id or 0):
            self._fail(stream, Refused(private=f"{self.name}: {self._away}"))

    def _broken(self, error: Exception) -> None:
        self._write()  # the library's GOAWAY
        if isinstance(error, InvalidBodyLengthError):
            self._lost(self._mismatch())
        else:
            self._lost(ResponseMalformed(private=f"{self.name}: {' '.join(str(error).split())}"))
        self.transport.close()

    def _lost(self, error: UpstreamError) -> None:
        self.closed = True
        if self._stream is not None:
            self._fail(self._stream, error)
        self._tell()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        where = f"{self.name}: the connection was closed"
        if self._away or exc is not None:
            where += f": {self._away or exc}"
        stream = self._stream
        early = stream is None or not (stream.answer.done() or stream.interims)
        self._lost(ClosedEarly(private=where) if early else ResponseIncomplete(private=where))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._tell()

    def _write(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def expire(self) -> None:
        """Nothing here has a deadline of its own."""

    def close(self) -> None:
        """Close an idle connection; what is still in flight is cut."""
        if self.closed:
            return
        self._h2.close_connection()
        self._write()
        self._lost(ResponseIncomplete(private=f"{self.name}: closed"))
        self.transport.close()

    def abort(self) -> None:
        if not self.closed:
            self._lost(ResponseIncomplete(private=f"{self.name}: given up"))
            self.transport.abort()


def _plain(headers: object) -> Fields:
    """Without the library's marks of what may be indexed."""
    return [(bytes(name), bytes(value)) for name, value in cast(Fields, headers)]


def _code(code: object) -> int:
    return int(cast(int, code))
