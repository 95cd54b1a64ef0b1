"""One HTTP/2 connection, bytes in and events out (RFC 9113).

Every frame is split off and accounted for here, field sections are decoded and handed on, GOAWAY and RST_STREAM are
dealt with; windows are kept in `stack.http.h2_flow`. An error has the scope that the RFC gives it: the fault of one
stream never ends the others.
"""

from __future__ import annotations

from typing import Final

from stack.http import h2_frames as read
from stack.http import h2_wire as wire
from stack.http.h2_encoder import Encoder, StaticTable
from stack.http.h2_events import Acknowledged, Away, Data, Event, Failed, Head, Opened, Prioritized, Reset, Trailers
from stack.http.h2_fault import ConnectionFault
from stack.http.h2_fields import Malformed, response_status
from stack.http.h2_floods import Flood, Floods
from stack.http.h2_flow import Flow, StreamState
from stack.http.h2_priority import MAX_LENGTH
from stack.http.h2_sections import Sections
from stack.http.hpack_tables import STATIC_TABLE
from stack.http.message import Fields

MANY: Final = 256
"""Fields of one section that no client has a use for: a few bytes on the wire may name as many."""
REMEMBERED: Final = 256
"""Streams that we reset and whose frames may still be under way (RFC 9113 §5.1)."""

_STATIC: Final = StaticTable(STATIC_TABLE)
_HEADERS_TYPE: Final = bytes((wire.HEADERS,))
_OURS: Final = b"hopstack"
"""What our PING carries."""


class Connection:
    """Either side. The owner feeds `receive`, acts on the events, and writes `outgoing` after each batch.

    A stream counts against the limit until its owner calls `release`, whatever happened to it on the wire: so a client
    that resets streams as fast as it opens them gets no more work done at a time than any other (CVE-2023-44487).
    """

    def __init__(self, *, is_client: bool, streams: int, window: int, max_head: int, tunnels: bool = False) -> None:
        """`streams` at a time, `window` bytes of content for each, field sections of `max_head` bytes.

        `tunnels`: a server takes extended CONNECT.
        """
        self._is_client = is_client
        self._limit = streams
        window, streams = max(window, wire.WINDOW), max(streams, 1)
        settings = {
            wire.ENABLE_PUSH: 0,
            wire.MAX_CONCURRENT_STREAMS: streams,
            wire.INITIAL_WINDOW_SIZE: window,
            wire.MAX_HEADER_LIST_SIZE: max_head,
            wire.NO_RFC7540_PRIORITIES: 1,
        }
        if is_client:
            del settings[wire.MAX_CONCURRENT_STREAMS]
        elif tunnels:
            settings[wire.ENABLE_CONNECT_PROTOCOL] = 1
        self._encoder = Encoder(_STATIC)
        self._sections = Sections(max_head)
        self._flow = Flow(wire.PREFACE if is_client else b"", settings.items(), window=window, streams=streams)
        self._rest = b""
        self._preface = b"" if is_client else wire.PREFACE
        self._settled = False
        self.acknowledged = False
        """The peer has taken our SETTINGS."""
        self._peers_priorities: int | None = None
        self._streams: dict[int, StreamState] = {}
        self._highest = 0
        self._accepted = wire.LAST_STREAM
        self._ignored = 0
        """The highest stream that came after our last GOAWAY."""
        self._early: dict[int, bytes] = {}
        """PRIORITY_UPDATE of streams that have not begun."""
        self._reset_by_us: dict[int, None] = {}
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
                    raise ConnectionFault(wire.FRAME_SIZE_ERROR, "a frame is larger than SETTINGS_MAX_FRAME_SIZE")
                stop = at + 9 + length
                if stop > end:
                    break
                self._frame(data[at:stop], events, now)
                at = stop
            self._rest = data[at:]
        except ConnectionFault as fault:
            self._fail(fault.code, fault.reason, events)
        return events

    @property
    def partial(self) -> bool:
        """A field section has begun and not ended, or the connection itself has not begun."""
        return self._sections.stream != 0 or not self._settled or self._rest[3:4] == _HEADERS_TYPE

    def _take_preface(self, data: bytes) -> int:
        size = len(self._preface)
        if not self._preface.startswith(data[:size]):
            raise ConnectionFault(wire.PROTOCOL_ERROR, "the connection preface is wrong")
        if len(data) < size:
            return 0
        self._preface = b""
        return size

    def _fail(self, code: int, reason: str, events: list[Event]) -> None:
        self.go_away(code, reason=reason.encode("ascii", "replace"))
        self.failed = True
        self._rest = b""
        events.append(Failed(code, reason))

    def _frame(self, frame: bytes, events: list[Event], now: float) -> None:
        kind, flags = frame[3], frame[4]
        stream = int.from_bytes(frame[5:9], "big") & wire.LAST_STREAM
        if self._sections.stream and (kind != wire.CONTINUATION or stream != self._sections.stream):
            raise ConnectionFault(wire.PROTOCOL_ERROR, "a frame within a field section")  # §4.3
        if not self._settled:
            if kind != wire.SETTINGS or flags & 1:
                raise ConnectionFault(wire.PROTOCOL_ERROR, "the first frame is not SETTINGS")  # §3.4
            self._settled = True
        if kind == wire.DATA:
            self._data(stream, frame, events, now)
        elif kind == wire.HEADERS:
            self._section(stream, self._sections.begin(stream, flags, frame[9:]), events, now)
        elif kind == wire.CONTINUATION:
            self._section(stream, self._sections.go_on(flags, frame[9:]), events, now)
        elif kind == wire.WINDOW_UPDATE:
            self._window_update(stream, frame, events, now)
        elif kind == wire.RST_STREAM:
            self._rst_stream(stream, frame, events, now)
        elif kind == wire.SETTINGS:
            self._settings(frame, events, now)
        elif kind == wire.PING:
            self._spend(Flood.PING, now)
            payload = read.ping(stream, frame)
            if not flags & 1:
                self._flow.frame(wire.PING, 0, payload, 1)
            elif payload == _OURS:
                events.append(Acknowledged())
        elif kind == wire.GOAWAY:
            self._spend(Flood.OTHER, now)
            events.append(Away(*read.go_away(stream, frame)))
        elif kind == wire.PUSH_PROMISE:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "PUSH_PROMISE was not allowed")  # §8.4
        elif kind == wire.PRIORITY_UPDATE:
            self._spend(Flood.OTHER, now)
            self._priority_update(stream, frame, events)
        else:
            self._spend(Flood.OTHER, now)
            if kind == wire.PRIORITY:
                self._priority(stream, frame, events, now)

    def _settings(self, frame: bytes, events: list[Event], now: float) -> None:
        self._spend(Flood.SETTINGS, now)
        values = read.settings(frame, from_server=self._is_client)
        if frame[4] & 1:
            self.acknowledged = True
            return
        self._peers_priorities = read.peers_priorities(values, self._peers_priorities)
        if wire.HEADER_TABLE_SIZE in values:
            self._encoder.resized()
        self._flow.set(values, self._streams.values())
        events.append(Opened(0))

    def _priority(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        """What it says is not followed (RFC 9113 §5.3.2), but it must be one (§6.3)."""
        if stream == 0:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(frame) == 14:
            return
        if stream > self._highest:  # nothing to reset: §5.4.1 lets it be the connection's
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes long")
        self._fault(stream, wire.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes long", events, now)

    def _priority_update(self, on: int, frame: bytes, events: list[Event]) -> None:
        """RFC 9218 §7.1."""
        if self._is_client:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "PRIORITY_UPDATE from a server")
        stream, value = read.priority_update(on, frame)
        if stream in self._streams:
            events.append(Prioritized(stream, value))
        elif stream > self._highest and len(value) <= MAX_LENGTH:
            if len(self._early) >= self._limit:
                self._early = {early: said for early, said in self._early.items() if early > self._highest}
            if stream in self._early or len(self._early) < self._limit:
                self._early[stream] = value

    def _spend(self, kind: Flood, now: float) -> None:
        if not self._floods.spend(kind, now):
            raise ConnectionFault(wire.ENHANCE_YOUR_CALM, kind.value)

    # Field sections.

    def _section(self, stream: int, section: tuple[Fields, bool] | None, events: list[Event], now: float) -> None:
        """A whole one. It was decoded in any case: the table is the connection's (§4.3)."""
        if section is None:
            return
        fields, ended = section
        if len(fields) > MANY:
            self._spend(Flood.LARGE, now)
        known = self._streams.get(stream)
        if known is None:
            if stream in self._reset_by_us:
                self._spend(Flood.LATE, now)
                return  # §5.1: sent before our RST_STREAM came
            if self._is_client:
                raise ConnectionFault(wire.PROTOCOL_ERROR, "a response to no request")
            self._begin(stream, fields, ended, events, now)
        elif known.closed:
            if known.ended:
                raise ConnectionFault(wire.STREAM_CLOSED, "HEADERS on a stream that its sender has ended")  # §5.1
            self._spend(Flood.LATE, now)
        elif known.ended:
            self._fault(stream, wire.STREAM_CLOSED, "HEADERS after the end of the stream", events, now)
        elif self._is_client and not known.begun:
            self._response(stream, known, fields, ended, events, now)
        elif not ended:
            self._fault(stream, wire.PROTOCOL_ERROR, "trailers that do not end the stream", events, now)  # §8.1
        else:
            known.ended = True
            events.append(Trailers(stream, fields))

    def _begin(self, stream: int, fields: Fields, ended: bool, events: list[Event], now: float) -> None:
        """A request."""
        if stream % 2 == 0:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "a client's stream has an even number")  # §5.1.1
        if stream <= self._highest:
            raise ConnectionFault(wire.STREAM_CLOSED, "HEADERS on a closed stream")  # §5.1
        if stream > self._accepted:
            self._spend(Flood.LATE, now)
            self._ignored = max(self._ignored, stream)
            return  # §6.8: after our last GOAWAY; the client knows that it may send it elsewhere
        self._highest = stream
        self._streams[stream] = known = StreamState(self._flow.initial)
        known.begun = True
        known.ended = ended
        if len(self._streams) > self._limit:
            self.reset(stream, wire.REFUSED_STREAM)  # §5.1.2
            self.release(stream)
            self._spend(Flood.RESET, now)
        else:
            events.append(Head(stream, fields, ended, self._early.pop(stream, None) if self._early else None))

    def _response(
        self, stream: int, known: StreamState, fields: Fields, ended: bool, events: list[Event], now: float
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
        else:
            known.begun = True
            known.ended = ended
        events.append(Head(stream, fields, ended))

    # The other frames of a stream.

    def _data(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        known = self._streams.get(stream)
        ended = bool(frame[4] & wire.END_STREAM)
        if not ended and (len(frame) == 9 or (frame[4] & wire.PADDED and len(frame) <= 10 + frame[9])):
            self._spend(Flood.EMPTY, now)
        if known is None or known.closed or known.ended:
            self._data_on_closed(stream, known, len(frame) - 9, events, now)
        elif not known.begun:
            self._fault(stream, wire.PROTOCOL_ERROR, "DATA before a response's head", events, now)  # §8.1
            self._flow.dropped(len(frame) - 9)
        else:
            content = self._flow.content(known, frame)
            known.ended = ended
            events.append(Data(stream, content, len(frame) - 9, ended))

    def _data_on_closed(
        self, stream: int, known: StreamState | None, size: int, events: list[Event], now: float
    ) -> None:
        """It counts in the connection's window all the same, and is given back there (§6.9)."""
        if stream == 0 or stream > max(self._highest, self._ignored):
            raise ConnectionFault(wire.PROTOCOL_ERROR, "DATA on a stream that was never opened")  # §5.1
        if stream in self._reset_by_us or stream > self._highest:
            self._spend(Flood.LATE, now)  # under way when we said that we would not take it
        elif known is None or known.closed:
            self._flow.frame(wire.RST_STREAM, stream, wire.STREAM_CLOSED.to_bytes(4, "big"))
            self._spend(Flood.RESET, now)  # each costs an RST_STREAM (CVE-2025-8671)
        else:
            self._fault(stream, wire.STREAM_CLOSED, "DATA after the end of the stream", events, now)
        self._flow.dropped(size)

    def _rst_stream(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        if len(frame) != 13:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes long")
        if stream == 0 or stream > max(self._highest, self._ignored):
            raise ConnectionFault(wire.PROTOCOL_ERROR, "RST_STREAM on a stream that was never opened")  # §6.4
        known = self._streams.get(stream)
        if not self._is_client:
            self._spend(Flood.OTHER if known is None or known.closed else Flood.RESET, now)
        if known is None or known.closed:
            return
        known.closed = known.ended = True
        events.append(Reset(stream, int.from_bytes(frame[9:13], "big"), True))

    def _window_update(self, stream: int, frame: bytes, events: list[Event], now: float) -> None:
        if len(frame) != 13:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes long")
        self._spend(Flood.WINDOW, now)
        known = self._streams.get(stream)
        if stream and (known is None or known.closed):
            if stream > max(self._highest, self._ignored):
                raise ConnectionFault(wire.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that was never opened")
            return
        if frame[9:] in (b"\0\0\0\0", b"\x80\0\0\0"):
            if not stream:
                raise ConnectionFault(wire.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self._fault(stream, wire.PROTOCOL_ERROR, "WINDOW_UPDATE by 0", events, now)  # §6.9
            return
        increment = int.from_bytes(frame[9:], "big") & wire.LAST_STREAM
        if known is None:
            self._flow.window += increment
            if self._flow.window > wire.LARGEST_WINDOW:
                raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "a window above 2**31-1")  # §6.9.1
        else:
            known.window += increment
            if known.window > wire.LARGEST_WINDOW:
                self._fault(stream, wire.FLOW_CONTROL_ERROR, "a window above 2**31-1", events, now)
                return
        events.append(Opened(stream))

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
        except ConnectionFault as fault:
            self._fail(fault.code, fault.reason, events)
        return events

    # Out.

    def outgoing(self) -> bytes:
        """All that is to be written now."""
        return self._flow.outgoing()

    def open(self, fields: Fields, *, ended: bool) -> int:
        """Send a request; its stream."""
        self._highest = stream = self._highest + 2 if self._highest else 1
        self._streams[stream] = StreamState(self._flow.initial)
        self._flow.section(stream, self._encoder.encode(fields), ended=ended)
        return stream

    def send_head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """A response's head, an interim one, or (ended) trailers."""
        if self.sending(stream):
            self._flow.section(stream, self._encoder.encode(fields), ended=ended)

    def room(self, stream: int) -> int:
        """Bytes of content that may be sent in one frame now; none on a stream that is gone."""
        known = self._streams.get(stream)
        if known is None or known.closed or self.failed:
            return 0
        return min(wire.FRAME, self._flow.window, known.window)

    def send_data(self, stream: int, content: bytes | memoryview, *, ended: bool) -> None:
        """At most `room` bytes."""
        known = self._streams.get(stream)
        if known is not None and not known.closed and not self.failed:
            self._flow.data(stream, known, content, ended=ended)
            self._floods.sent()

    def is_shut(self, stream: int) -> bool:
        """Whether the peer keeps the stream's own window closed."""
        known = self._streams.get(stream)
        return known is not None and not known.closed and known.window <= 0

    def sending(self, stream: int) -> bool:
        """Whether a stream can still be sent on, as far as the wire goes."""
        known = self._streams.get(stream)
        return known is not None and not known.closed and not self.failed

    def credit(self, stream: int, size: int) -> None:
        """Content was consumed: its sender may send as much again."""
        if size and not self.failed:
            self._flow.credit(stream, self._streams.get(stream), size)

    def reset(self, stream: int, code: int) -> None:
        """RST_STREAM, if the stream is still there."""
        if not self.sending(stream):
            return
        self._streams[stream].closed = True
        self._flow.frame(wire.RST_STREAM, stream, code.to_bytes(4, "big"))
        self._reset_by_us[stream] = None
        if len(self._reset_by_us) > REMEMBERED:
            del self._reset_by_us[next(iter(self._reset_by_us))]

    def release(self, stream: int, *, answered: bool = False) -> None:
        """The owner is done with the stream."""
        if self._streams.pop(stream, None) is not None and answered:
            self._floods.answered()

    def ended(self, stream: int) -> bool:
        """Whether the peer's side has ended."""
        known = self._streams.get(stream)
        return known is None or known.ended or known.closed

    @property
    def tunnels(self) -> bool | None:
        """Whether the server takes extended CONNECT (RFC 8441 §3); None before its SETTINGS have come."""
        return self._flow.tunnels if self._settled else None

    @property
    def capacity(self) -> int:
        """Requests that a client may still open; none on a connection that has used all its streams (§5.1.1)."""
        return self.limit - len(self._streams) if self._highest < wire.LAST_STREAM else 0

    @property
    def limit(self) -> int:
        """Streams that a client may have at a time: as its peer allows and it was made for."""
        return min(self._flow.allowed, self._limit)

    def ping(self) -> None:
        """Acknowledged by the peer in its own time."""
        self._flow.frame(wire.PING, 0, _OURS)

    def go_away(self, code: int = wire.NO_ERROR, *, reason: bytes = b"", last: bool = True) -> None:
        """No stream above the highest one (or, not `last`, none yet) is taken (§6.8). Others go on."""
        self._accepted = self._highest if last else wire.LAST_STREAM
        accepted = 0 if self._is_client else self._accepted
        self._flow.frame(wire.GOAWAY, 0, accepted.to_bytes(4, "big") + code.to_bytes(4, "big") + reason)
