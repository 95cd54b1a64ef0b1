"""The one door to h2, hpack and hyperframe.

The library keeps the streams' states and the windows, answers SETTINGS and PING, and frames what goes out. It sees no
field: whatever its checks would find there is decided in front of it, where an error has the scope that RFC 9113 gives
it. And it does not count streams: it looks at every one of them for every request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionInputs, H2Connection
from h2.events import DataReceived, PingAckReceived, StreamReset
from h2.exceptions import FlowControlError, ProtocolError
from h2.settings import Settings
from h2.stream import StreamInputs
from hpack import HeaderTuple
from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from stack.http.h2_wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME,
    HEADERS,
    PREFACE,
)
from stack.http.message import Field

STATIC_TABLE: Final[Sequence[Field]] = HeaderTable.STATIC_TABLE
"""RFC 7541 appendix A."""

_GOAWAY: Final = 17
"""Bytes of the GOAWAY that h2 writes when it raises."""
_In = ConnectionInputs
_Of = StreamInputs
_ODD: Final = AllowedStreamIDs.ODD
_FINAL: Final = b"f"
_INTERIM: Final = b"i"
_SHOWN: Final = {_FINAL: [HeaderTuple(b":status", b"200")], _INTERIM: [HeaderTuple(b":status", b"103")]}
"""All that h2 is told of a field section."""


class LibraryFault(Exception):
    """An error of the connection, with its code of RFC 9113 §7."""

    def __init__(self, code: int, reason: str, pending: bytes = b"") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.pending = pending
        """What was to be sent before."""


def huffman(text: bytes) -> bytes:
    """RFC 7541 §5.2. ValueError when it is not well-formed."""
    try:
        return decode_huffman(text)
    except HPACKError as error:
        raise ValueError(str(error)) from None


class _Connection(H2Connection):
    MAX_CLOSED_STREAMS = 0

    @property
    def open_inbound_streams(self) -> int:
        return 0

    @property
    def open_outbound_streams(self) -> int:
        return 0


class _Sections:
    """In the place of h2's encoder and decoder. `block` is what goes out next, encoded already."""

    def __init__(self, resized: Callable[[], None]) -> None:
        self.block = b""
        self._resized = resized

    @property
    def header_table_size(self) -> int:
        return 0

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._resized()

    def encode(self, fields: object) -> bytes:
        return self.block

    def decode(self, section: bytes, raw: bool) -> list[HeaderTuple]:
        return _SHOWN[section]


class _Values(list[int]):
    """The values of one setting, oldest first. A deque of one value holds 760 bytes, and a connection had fourteen."""

    __slots__ = ()

    def popleft(self) -> int:
        return self.pop(0)


def _shrink(settings: Settings) -> None:
    held: dict[Any, Any] = settings._settings
    held.update((code, _Values(values)) for code, values in held.items())


def _frame_head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """RFC 9113 §4.1."""
    return (size << 48 | kind << 40 | flags << 32 | stream).to_bytes(9, "big")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _frame_head(len(payload), kind, flags, stream) + payload


class Library:
    """One connection's states and windows. A method that takes a frame takes all of it, header and payload."""

    __slots__ = ("_h2", "_sections")

    def __init__(
        self, *, is_client: bool, settings: Mapping[int, int], window: int, resized: Callable[[], None]
    ) -> None:
        """`window` is how much the connection's window is above its default; `resized`: the peer's table changed."""
        self._sections = sections = _Sections(resized)
        self._h2 = h2 = _Connection(
            H2Configuration(
                client_side=is_client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        h2.decoder = h2.encoder = sections  # type: ignore[assignment]
        h2.local_settings = Settings(
            client=is_client,
            initial_values=dict(settings),  # type: ignore[arg-type]  # it knows not all codes
        )
        for known in (h2.local_settings, h2.remote_settings):
            _shrink(known)
        h2.initiate_connection()
        if window > 0:
            h2.increment_flow_control_window(window)
        if not is_client:
            h2.receive_data(PREFACE)

    # In. All raise LibraryFault.

    def settings(self, frame: bytes) -> None:
        self._receive(frame)

    def ping(self, frame: bytes) -> bool:
        """Whether it was the answer to ours."""
        return any(isinstance(event, PingAckReceived) for event in self._receive(frame))

    def section(self, stream: int, *, interim: bool, ended: bool) -> None:
        """A field section came; the first one of a stream opens it on a server.

        Straight to the states: framed and parsed by the library it takes five times as long.
        """
        h2 = self._h2
        try:
            h2.state_machine.process_input(_In.RECV_HEADERS)
            known = h2.streams.get(stream) or h2._begin_new_stream(stream, _ODD)
            states = known.state_machine
            states.process_input(_Of.RECV_INFORMATIONAL_HEADERS if interim else _Of.RECV_HEADERS)
            if ended:
                states.process_input(_Of.RECV_END_STREAM)
        except ProtocolError as error:
            raise LibraryFault(int(error.error_code), str(error), h2.data_to_send()) from None

    def data(self, frame: bytes) -> tuple[bytes, int] | None:
        """Content and its size in the windows."""
        for event in self._receive(frame):
            if isinstance(event, DataReceived):
                return event.data or b"", event.flow_controlled_length or 0
        return None

    def dropped(self, size: int) -> int:
        """Content of no stream came; by how much the connection's window is to be opened again, 0 for not yet."""
        window = self._h2._inbound_flow_control_window_manager
        try:
            window.window_consumed(size)
        except FlowControlError as error:
            raise LibraryFault(FLOW_CONTROL_ERROR, str(error)) from None
        return window.process_bytes(size) or 0

    def window_update(self, frame: bytes) -> int | None:
        """The code of the reset that answers it, if one does."""
        for event in self._receive(frame):
            if isinstance(event, StreamReset):
                return int(event.error_code or 0)
        return None

    def _receive(self, frame: bytes) -> list[object]:
        try:
            return self._h2.receive_data(frame)  # type: ignore[return-value]
        except ProtocolError as error:
            pending = self._h2.data_to_send()[:-_GOAWAY]
            raise LibraryFault(int(error.error_code), str(error), pending) from None

    # Out.

    def outgoing(self) -> bytes:
        return self._h2.data_to_send()

    def next_stream(self) -> int:
        return self._h2.get_next_available_stream_id()

    def send_section(self, stream: int, block: bytes, *, interim: bool, ended: bool) -> None:
        h2 = self._h2
        known = h2.streams.get(stream)
        if known is None:  # of a client's: opens it
            self._sections.block = block
            h2.send_headers(stream, _SHOWN[_FINAL], end_stream=ended)
            return
        h2.state_machine.process_input(_In.SEND_HEADERS)
        states = known.state_machine
        states.process_input(_Of.SEND_INFORMATIONAL_HEADERS if interim else _Of.SEND_HEADERS)
        if ended:
            states.process_input(_Of.SEND_END_STREAM)
        flags = END_STREAM if ended else 0
        if len(block) <= FRAME:
            h2._data_to_send += _frame(HEADERS, flags | END_HEADERS, stream, block)
            return
        h2._data_to_send += _frame(HEADERS, flags, stream, block[:FRAME])
        for at in range(FRAME, len(block), FRAME):
            piece = block[at : at + FRAME]
            h2._data_to_send += _frame(CONTINUATION, END_HEADERS if at + FRAME >= len(block) else 0, stream, piece)

    def send_data(self, stream: int, content: bytes | memoryview, *, ended: bool) -> None:
        """At most `window` and FRAME bytes."""
        h2 = self._h2
        known = h2.streams[stream]
        h2.state_machine.process_input(_In.SEND_DATA)
        states = known.state_machine
        states.process_input(_Of.SEND_DATA)
        if ended:
            states.process_input(_Of.SEND_END_STREAM)
        size = len(content)
        known.outbound_flow_control_window -= size
        h2.outbound_flow_control_window -= size
        out = h2._data_to_send
        out += _frame_head(size, DATA, END_STREAM if ended else 0, stream)
        out += content

    def window(self, stream: int) -> int:
        """Bytes of content that the peer takes now."""
        return self._h2.local_flow_control_window(stream)

    def stream_window(self, stream: int) -> int:
        """The same, were the connection's window open."""
        return self._h2.streams[stream].outbound_flow_control_window

    def credit(self, stream: int, size: int) -> None:
        self._h2.acknowledge_received_data(size, stream)

    @property
    def takes_tunnels(self) -> bool:
        return self._h2.remote_settings.enable_connect_protocol == 1

    def forget(self, stream: int) -> None:
        self._h2.streams.pop(stream, None)

    @property
    def allowed_streams(self) -> int:
        """How many streams the peer lets us have at a time."""
        return self._h2.remote_settings.max_concurrent_streams
