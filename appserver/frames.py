"""The one door to wsproto: bytes to messages and back (RFC 6455 §5), with a bound on what a message may hold."""

from __future__ import annotations

from typing import Final, NamedTuple

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from appserver.rules.handshake import Agreed

SLICE: Final = 4096
"""Bytes that are inflated at a time: a bomb is noticed after a thousand times as many at the worst."""

NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
TOO_BIG: Final = 1009


class Message(NamedTuple):
    data: str | bytes
    size: int
    """In bytes."""


class Close(NamedTuple):
    """The client's Close, or (`ours`) what it did wrong and is told with one."""

    code: int
    reason: str
    ours: bool


class Answered(NamedTuple):
    """A Pong."""


Event = Message | Close | Answered


class Frames:
    """One connection. Write `reply` after each `receive`: what the protocol itself has to say."""

    def __init__(self, agreed: Agreed | None, *, max_size: int) -> None:
        extensions: list[Extension] = []
        if agreed is not None:
            extensions.append(_Deflate(agreed))
        self._connection = Connection(ConnectionType.SERVER, extensions)
        self._slice = SLICE if extensions else 0
        self._max = max_size
        self._parts: list[str] | list[bytes] = []
        self._size = 0
        self.over = False
        """The client's Close has come, or it has broken the protocol: nothing more is read."""
        self._reply: list[bytes] = []

    @property
    def closing(self) -> bool:
        """Our Close is sent."""
        return self._connection.state in (ConnectionState.LOCAL_CLOSING, ConnectionState.CLOSED)

    def receive(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        step = self._slice or len(data)
        for at in range(0, len(data), step):
            self._connection.receive_data(data[at : at + step] if step < len(data) else data)
            if not self._go_on(events):
                break
        return events

    def _go_on(self, events: list[Event]) -> bool:
        for event in self._connection.events():
            self._on(event, events)
            if self.over:
                return False
        return True

    def reply(self) -> bytes:
        data = b"".join(self._reply)
        self._reply.clear()
        return data

    def _on(self, event: object, events: list[Event]) -> None:
        if isinstance(event, TextMessage | BytesMessage):
            self._part(event, events)
        elif isinstance(event, Ping):
            if not self.closing:
                self._reply.append(self._connection.send(event.response()))
        elif isinstance(event, Pong):
            events.append(Answered())
        elif isinstance(event, CloseConnection):
            reason = event.reason or ""
            if self._connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
                if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    self._reply.append(self._connection.send(event.response()))
                self.over = True
                events.append(Close(int(event.code), reason, False))
            else:
                self._fail(int(event.code), reason, events)

    def _part(self, event: TextMessage | BytesMessage, events: list[Event]) -> None:
        """A message may come in any number of frames, and a frame in any number of parts."""
        data = event.data if isinstance(event.data, str) else bytes(event.data)
        self._size += len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        if self._max and self._size > self._max:
            self._fail(TOO_BIG, f"a message of more than {self._max} bytes", events)
            return
        self._parts.append(data)  # type: ignore[arg-type]
        if event.message_finished:
            parts, self._parts = self._parts, []
            whole = parts[0] if len(parts) == 1 else ("" if isinstance(data, str) else b"").join(parts)  # type: ignore[arg-type]
            events.append(Message(whole, self._size))
            self._size = 0

    def _fail(self, code: int, reason: str, events: list[Event]) -> None:
        self._reply.append(self.close(code, reason))
        self._parts.clear()
        self.over = True
        events.append(Close(code, reason, True))

    # What goes out.

    def send(self, data: str | bytes) -> bytes:
        if isinstance(data, str):
            return self._connection.send(TextMessage(data=data))
        return self._connection.send(BytesMessage(data=data))

    def ping(self) -> bytes:
        return b"" if self.closing or self.over else self._connection.send(Ping(payload=b"hopstack"))

    def close(self, code: int, reason: str) -> bytes:
        """Close, unless it has been said. The reason is cut to what fits in a control frame (RFC 6455 §5.5)."""
        if self.closing:
            return b""
        reason = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")
        return self._connection.send(CloseConnection(code=code, reason=reason))


class _Deflate(PerMessageDeflate):
    """wsproto takes a control frame between two fragments for the end of a compressed message; this does not."""

    def __init__(self, agreed: Agreed) -> None:
        super().__init__(
            client_no_context_takeover=agreed.client_forgets,
            client_max_window_bits=agreed.client_bits,
            server_no_context_takeover=agreed.server_forgets,
            server_max_window_bits=agreed.server_bits,
        )
        self.finalize(self.name)

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        if not opcode.iscontrol():
            return super().frame_inbound_header(proto, opcode, rsv, payload_length)
        self._inbound_is_compressible = False
        return CloseReason.PROTOCOL_ERROR if rsv.rsv1 else RsvBits(True, False, False)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        return super().frame_inbound_complete(proto, fin) if self._inbound_is_compressible else None
