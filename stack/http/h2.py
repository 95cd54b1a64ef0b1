"""One HTTP/2 connection, bytes in and events out (RFC 9113). The one door to the h2 library.

h2 keeps the streams' states and the windows, answers SETTINGS and PING, and frames what goes out. In front of it every
frame is split off, accounted for and, where h2 would end the whole connection for the fault of one stream, kept from
it: field sections are decoded here and shown to h2 only as a constant one, GOAWAY (after which h2 takes no more) and
what needs no state never reach it. So every error has the scope that the RFC gives it.
"""

from __future__ import annotations

from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingAckReceived, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from stack.http import h2_wire as wire
from stack.http.h2_encoder import Encoder, StaticTable
from stack.http.h2_events import Acknowledged, Away, Data, Event, Failed, Head, Opened, Reset, Trailers
from stack.http.h2_fields import Malformed, response_status
from stack.http.h2_floods import Flood, Floods
from stack.http.message import Fields

CONTINUATIONS: Final = 16
REMEMBERED: Final = 256
"""Streams that we reset and whose frames may still be under way (RFC 9113 §5.1)."""
_STATIC: Final = StaticTable(HeaderTable.STATIC_TABLE)
_H2_GOAWAY: Final = 17
"""Bytes of the GOAWAY that h2 writes when it raises."""


class _Fault(Exception):
    """An error of the whole connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Streams(H2Connection):
    """Without h2's own count: it looks at every stream for every request. The limit is enforced in front of it."""

    MAX_CLOSED_STREAMS = REMEMBERED

    @property
    def open_inbound_streams(self) -> int:
        return 0

    @property
    def open_outbound_streams(self) -> int:
        return 0


class _Stream:
    __slots__ = ("begun", "closed", "ended")

    def __init__(self) -> None:
        self.begun = False
        """The final head came."""
        self.ended = False
        """The peer's side has ended."""
        self.closed = False
        """Reset by either side; only its owner still holds it."""


class Connection:
    """Either side. The owner feeds `receive`, acts on the events, and writes `outgoing` after each batch.

    A stream counts against the limit until its owner calls `release`, whatever happened to it on the wire: so a client
    that resets streams as fast as it opens them gets no more work done at a time than any other (CVE-2023-44487).
    """

    def __init__(self, *, is_client: bool, streams: int, window: int, max_head: int) -> None:
        """`streams` at a time, `window` bytes of content for each, field sections of `max_head` bytes."""
        self._is_client = is_client
        self._limit = streams
        self._max_head = max_head
        self._h2 = h2 = _Streams(
            H2Configuration(
                client_side=is_client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._decoder = Decoder()
        # above what is refused with a status: a bomb is not worth decoding to its end (RFC 9113 §10.5.1)
        self._decoder.max_header_list_size = 2 * max_head
        h2.encoder = Encoder(_STATIC)  # type: ignore[assignment]
        window, streams = max(window, wire.WINDOW), max(streams, 1)
        settings: dict[SettingCodes, int] = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_head,
        }
        if is_client:
            del settings[SettingCodes.MAX_CONCURRENT_STREAMS]
        h2.local_settings = Settings(client=is_client, initial_values=settings)
        h2.initiate_connection()
        # room for all streams at once: one that is not read must not stop the others
        h2.increment_flow_control_window(max(1, window * streams - wire.WINDOW))
        self._out = bytearray()
        self._rest = b""
        self._preface = b"" if is_client else wire.PREFACE
        self._settled = False
        self._streams: dict[int, _Stream] = {}
        self._highest = 0
        self._accepted = wire.LAST_STREAM
        self._reset_by_us: dict[int, None] = {}
        self._block: list[bytes] | None = None
        self._block_stream = 0
        self._block_ended = False
        self._floods = Floods()
        self.failed = False
        """Nothing more is taken or sent."""

    # In.

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What `data` brings about. `now` in monotonic seconds, for the budgets."""
        events: list[Event] = []
        if self.failed:
            return events
        if self._rest:
            data = self._rest + data
        try:
            at = self._take_preface(data) if self._preface else 0
            end = 0 if self._preface else len(data)
            while end - at >= 9:
                length = int.from_bytes(data[at : at + 3], "big")
                if length > wire.FRAME:
                    raise _Fault(wire.FRAME_SIZE_ERROR, "a frame is larger than SETTINGS_MAX_FRAME_SIZE")
                stop = at + 9 + length
                if stop > end:
                    break
                self._frame(data[at:stop], events, now)
                at = stop
            self._rest = data[at:]
        except _Fault as fault:
            self._fail(fault.code, fault.reason, events)
        except ProtocolError as error:
            kept = self._h2.data_to_send()[:-_H2_GOAWAY]
            self._out += kept
            self._fail(int(error.error_code), str(error), events)
        return events

    @property
    def partial(self) -> bool:
        """A field section has begun and not ended, or the connection itself has not begun."""
        return self._block is not None or not self._settled or self._rest[3:4] == _HEADERS

    def _take_preface(self, data: bytes) -> int:
        size = len(self._preface)
        if not self._preface.startswith(data[:size]):
            raise _Fault(wire.PROTOCOL_ERROR, "the connection preface is wrong")
        if len(data) < size:
            return 0
        self._preface = b""
        self._h2.receive_data(wire.PREFACE)
        return size

    def _fail(self, code: int, reason: str, events: list[Event]) -> None:
        self.go_away(code, reason=reason.encode("ascii", "replace"))
        self.failed = True
        self._rest = b""
        events.append(Failed(code, reason))

    def _frame(self, frame: bytes, events: list[Event], now: float) -> None:
        kind, flags = frame[3], frame[4]
        stream = int.from_bytes(frame[5:9], "big") & wire.LAST_STREAM
        if self._block is not None and (kind != wire.CONTINUATION or stream != self._block_stream):
            raise _Fault(wire.PROTOCOL_ERROR, "a frame within a field section")  # §4.3
        if not self._settled:
            if kind != wire.SETTINGS or flags & 1:
                raise _Fault(wire.PROTOCOL_ERROR, "the first frame is not SETTINGS")  # §3.4
            self._settled = True
        if kind == wire.DATA:
            self._data(stream, frame, events, now)
        elif kind == wire.HEADERS:
            self._headers(stream, flags, frame[9:], events, now)
        elif kind == wire.CONTINUATION:
            self._continuation(stream, flags, frame[9:], events, now)
        elif kind == wire.WINDOW_UPDATE:
            self._window_update(stream, frame, events, now)
        elif kind == wire.RST_STREAM:
            self._rst_stream(stream, frame, events, now)
        elif kind == wire.SETTINGS:
            self._spend(Flood.SETTINGS, now)
            self._h2.receive_data(frame)
            if not flags & 1:
                events.append(Opened(0))
        elif kind == wire.PING:
            if not flags & 1:
                self._spend(Flood.PING, now)
            if any(isinstance(event, PingAckReceived) for event in self._h2.receive_data(frame)):
                events.append(Acknowledged())
        elif kind == wire.GOAWAY:
            if stream or len(frame) < 17:
                raise _Fault(wire.PROTOCOL_ERROR if stream else wire.FRAME_SIZE_ERROR, "GOAWAY is not well-formed")
            last = int.from_bytes(frame[9:13], "big") & wire.LAST_STREAM
            events.append(Away(last, int.from_bytes(frame[13:17], "big")))
        elif kind == wire.PUSH_PROMISE:
            raise _Fault(wire.PROTOCOL_ERROR, "PUSH_PROMISE was not allowed")  # §8.4
        else:
            self._spend(Flood.OTHER, now)
            if kind == wire.PRIORITY and stream == 0:
                raise _Fault(wire.PROTOCOL_ERROR, "PRIORITY on stream 0")  # §6.3

    def _spend(self, kind: Flood, now: float) -> None:
        if not self._floods.spend(kind, now):
            raise _Fault(wire.ENHANCE_YOUR_CALM, kind.value)

    # Field sections.

    def _headers(self, stream: int, flags: int, payload: bytes, events: list[Event], now: float) -> None:
        if stream == 0:
            raise _Fault(wire.PROTOCOL_ERROR, "HEADERS on stream 0")  # §6.2
        if flags & (wire.PADDED | wire.HAS_PRIORITY):
            start = (1 if flags & wire.PADDED else 0) + (5 if flags & wire.HAS_PRIORITY else 0)
            if len(payload) < start:
                raise _Fault(wire.FRAME_SIZE_ERROR, "HEADERS is too short")
            padding = payload[0] if flags & wire.PADDED else 0
            if padding > len(payload) - start:
                raise _Fault(wire.PROTOCOL_ERROR, "more padding than payload")
            payload = payload[start : len(payload) - padding]
        if flags & wire.END_HEADERS:
            self._section(stream, payload, bool(flags & wire.END_STREAM), events, now)
        else:
            self._block = [payload]
            self._block_stream = stream
            self._block_ended = bool(flags & wire.END_STREAM)

    def _continuation(self, stream: int, flags: int, payload: bytes, events: list[Event], now: float) -> None:
        if self._block is None:
            raise _Fault(wire.PROTOCOL_ERROR, "CONTINUATION without HEADERS")  # §6.10
        self._block.append(payload)
        if len(self._block) > CONTINUATIONS or sum(map(len, self._block)) > 2 * self._max_head:
            raise _Fault(wire.ENHANCE_YOUR_CALM, "a field section does not end")  # CVE-2024-27316
        if flags & wire.END_HEADERS:
            block, self._block = b"".join(self._block), None
            self._section(stream, block, self._block_ended, events, now)

    def _section(self, stream: int, block: bytes, ended: bool, events: list[Event], now: float) -> None:
        """A whole field section. It is decoded in any case: the table is the connection's (§4.3)."""
        try:
            fields: Fields = self._decoder.decode(block, raw=True)  # type: ignore[assignment]
        except OversizedHeaderListError:
            raise _Fault(wire.ENHANCE_YOUR_CALM, "a field section is far too large") from None
        except (HPACKError, ValueError, IndexError) as error:
            raise _Fault(wire.COMPRESSION_ERROR, f"a field section cannot be decoded: {error}") from None
        known = self._streams.get(stream)
        if known is None:
            if stream in self._reset_by_us:
                return  # §5.1: sent before our RST_STREAM came
            if self._is_client:
                raise _Fault(wire.PROTOCOL_ERROR, "a response to no request")
            self._begin(stream, fields, ended, events, now)
        elif known.closed:
            return
        elif known.ended:
            self._fault(stream, wire.STREAM_CLOSED, "HEADERS after the end of the stream", events, now)
        elif self._is_client and not known.begun:
            self._response(stream, known, fields, ended, events, now)
        elif not ended:
            self._fault(stream, wire.PROTOCOL_ERROR, "trailers that do not end the stream", events, now)  # §8.1
        else:
            self._show(stream, _NO_FIELDS, ended)
            known.ended = True
            events.append(Trailers(stream, fields))

    def _begin(self, stream: int, fields: Fields, ended: bool, events: list[Event], now: float) -> None:
        """A request."""
        if stream % 2 == 0:
            raise _Fault(wire.PROTOCOL_ERROR, "a client's stream has an even number")  # §5.1.1
        if stream <= self._highest:
            raise _Fault(wire.STREAM_CLOSED, "HEADERS on a closed stream")  # §5.1
        if stream > self._accepted:
            return  # §6.8: after our last GOAWAY; the client knows that it may send it elsewhere
        self._highest = stream
        self._streams[stream] = known = _Stream()
        known.begun = True
        known.ended = ended
        self._show(stream, _NO_FIELDS, ended)
        if len(self._streams) > self._limit:
            self.reset(stream, wire.REFUSED_STREAM)  # §5.1.2
            self.release(stream)
            self._spend(Flood.RESET, now)
        else:
            events.append(Head(stream, fields, ended))

    def _response(
        self, stream: int, known: _Stream, fields: Fields, ended: bool, events: list[Event], now: float
    ) -> None:
        try:
            status = response_status(fields)
        except Malformed as error:
            self._fault(stream, wire.PROTOCOL_ERROR, str(error), events, now)
            return
        if status < 200:
            if ended:
                self._fault(
                    stream, wire.PROTOCOL_ERROR, "an interim response that ends the stream", events, now
                )  # §8.1
                return
            self._spend(Flood.OTHER, now)
            self._show(stream, _INTERIM, ended=False)
        else:
            known.begun = True
            known.ended = ended
            self._show(stream, _FINAL, ended)
        events.append(Head(stream, fields, ended))

    def _show(self, stream: int, block: bytes, ended: bool) -> None:
        """Let h2 know of a field section."""
        flags = wire.END_HEADERS | wire.END_STREAM if ended else wire.END_HEADERS
        self._h2.receive_data(
            len(block).to_bytes(3, "big") + bytes((wire.HEADERS, flags)) + stream.to_bytes(4, "big") + block
        )

    # The other frames of a stream.

    def _data(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        known = self._streams.get(stream)
        ended = bool(frame[4] & wire.END_STREAM)
        if len(frame) == 9 and not ended:
            self._spend(Flood.EMPTY, now)
        if known is None or known.closed or known.ended:
            if known is None and (stream > self._highest or stream == 0):
                raise _Fault(wire.PROTOCOL_ERROR, "DATA on a stream that was never opened")  # §5.1
            if stream not in self._reset_by_us:
                self._spend(Flood.RESET, now)  # each costs an RST_STREAM (CVE-2025-8671)
        for event in self._h2.receive_data(frame):
            if isinstance(event, DataReceived):
                if known is not None:
                    known.ended = ended
                events.append(Data(stream, event.data or b"", event.flow_controlled_length or 0, ended))
            elif isinstance(event, StreamReset) and known is not None:
                known.closed = True
                events.append(Reset(stream, int(event.error_code or 0), False, "DATA after the end of the stream"))

    def _rst_stream(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        if len(frame) != 13:
            raise _Fault(wire.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes long")
        if stream == 0 or stream > self._highest:
            raise _Fault(wire.PROTOCOL_ERROR, "RST_STREAM on a stream that was never opened")  # §6.4
        known = self._streams.get(stream)
        if not self._is_client:
            self._spend(Flood.OTHER if known is None or known.closed else Flood.RESET, now)
        if known is None or known.closed:
            return
        known.closed = True
        self._h2.streams.pop(stream, None)
        events.append(Reset(stream, int.from_bytes(frame[9:13], "big"), True))

    def _window_update(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        if len(frame) != 13:
            raise _Fault(wire.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes long")
        self._spend(Flood.WINDOW, now)
        known = self._streams.get(stream)
        if stream and (known is None or known.closed):
            if stream > self._highest:
                raise _Fault(wire.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that was never opened")
            return
        if frame[9:] in (b"\0\0\0\0", b"\x80\0\0\0"):
            if not stream:
                raise _Fault(wire.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self._fault(stream, wire.PROTOCOL_ERROR, "WINDOW_UPDATE by 0", events, now)  # §6.9
            return
        for event in self._h2.receive_data(frame):
            if isinstance(event, WindowUpdated):
                events.append(Opened(stream))
            elif isinstance(event, StreamReset) and known is not None:
                known.closed = True
                self._spend(Flood.RESET, now)
                events.append(Reset(stream, int(event.error_code or 0), False, "a window above 2**31-1"))

    def _fault(self, stream: int, code: int, reason: str, events: list[Event], now: float) -> None:
        """A stream error of the peer's (§5.4.2): our resets are on its account too."""
        self.reset(stream, code)
        self._spend(Flood.RESET, now)
        events.append(Reset(stream, code, False, reason))

    def fault(self, stream: int, now: float) -> list[Event]:
        """The owner found a stream error in a field section: reset it, on the peer's account."""
        events: list[Event] = []
        self.reset(stream, wire.PROTOCOL_ERROR)
        try:
            self._spend(Flood.RESET, now)
        except _Fault as fault:
            self._fail(fault.code, fault.reason, events)
        return events

    # Out.

    def outgoing(self) -> bytes:
        """All that is to be written now."""
        pending = self._h2.data_to_send()
        if not self._out:
            return pending
        self._out += pending
        pending = bytes(self._out)
        self._out.clear()
        return pending

    def open(self, fields: Fields, *, ended: bool) -> int:
        """Send a request; its stream."""
        stream = self._h2.get_next_available_stream_id()
        self._streams[stream] = _Stream()
        self._highest = stream
        self._h2.send_headers(stream, fields, end_stream=ended)
        return stream

    def send_head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """A response's head, an interim one, or (ended) trailers."""
        if self.sending(stream):
            self._h2.send_headers(stream, fields, end_stream=ended)

    def room(self, stream: int) -> int:
        """Bytes of content that may be sent in one frame now; none on a stream that is gone."""
        if not self.sending(stream):
            return 0
        return min(wire.FRAME, self._h2.local_flow_control_window(stream))

    def send_data(self, stream: int, content: bytes | memoryview, *, ended: bool) -> None:
        """At most `room` bytes."""
        if self.sending(stream):
            self._h2.send_data(stream, content, end_stream=ended)
            self._floods.sent()

    def sending(self, stream: int) -> bool:
        """Whether a stream can still be sent on, as far as the wire goes."""
        known = self._streams.get(stream)
        return known is not None and not known.closed and not self.failed

    def credit(self, stream: int, size: int) -> None:
        """Content was consumed: its sender may send as much again."""
        if size and not self.failed:
            self._h2.acknowledge_received_data(size, stream)

    def reset(self, stream: int, code: int) -> None:
        """RST_STREAM, if the stream is still there."""
        if not self.sending(stream):
            return
        self._streams[stream].closed = True
        self._h2.streams.pop(stream, None)
        self._raw(wire.RST_STREAM, stream, code.to_bytes(4, "big"))
        self._reset_by_us[stream] = None
        if len(self._reset_by_us) > REMEMBERED:
            del self._reset_by_us[next(iter(self._reset_by_us))]

    def release(self, stream: int, *, answered: bool = False) -> None:
        """The owner is done with the stream."""
        if self._streams.pop(stream, None) is not None:
            self._h2.streams.pop(stream, None)
            if answered:
                self._floods.answered()

    def ended(self, stream: int) -> bool:
        """Whether the peer's side has ended."""
        known = self._streams.get(stream)
        return known is None or known.ended or known.closed

    @property
    def capacity(self) -> int:
        """Requests that a client may still open."""
        return min(self._h2.remote_settings.max_concurrent_streams, self._limit) - len(self._streams)

    def ping(self) -> None:
        """Acknowledged by the peer in its own time."""
        self._raw(wire.PING, 0, b"hopstack")

    def go_away(self, code: int = wire.NO_ERROR, *, reason: bytes = b"", last: bool = True) -> None:
        """No stream above the highest one (or, not `last`, none yet) is taken (§6.8). Others go on."""
        self._accepted = self._highest if last else wire.LAST_STREAM
        accepted = 0 if self._is_client else self._accepted
        self._raw(wire.GOAWAY, 0, accepted.to_bytes(4, "big") + code.to_bytes(4, "big") + reason)

    def _raw(self, kind: int, stream: int, payload: bytes) -> None:
        self._out += self._h2.data_to_send()
        self._out += len(payload).to_bytes(3, "big") + bytes((kind, 0)) + stream.to_bytes(4, "big") + payload


_HEADERS: Final = bytes((wire.HEADERS,))
_NO_FIELDS: Final = b"\x82"
"""`:method: GET` in HPACK: stands in for any section that h2 need not see."""
_FINAL: Final = b"\x88"
"""`:status: 200`."""
_INTERIM: Final = b"\x08\x03103"
"""`:status: 103`."""
