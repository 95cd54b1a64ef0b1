"""Flow control of one HTTP/2 connection, and the frames it sends (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from stack.http import h2_wire as wire
from stack.http.h2_fault import ConnectionFault

UNBOUNDED: Final = 2**32
"""Streams, before the peer has said how many."""
_SMALL: Final = 1024
"""Bytes below which a window is not opened again, unless it is as small."""


class Inbound:
    """A window of ours: what the peer may still send. It is opened again by halves, not for every byte."""

    __slots__ = ("_left", "_size", "_taken")

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._taken = 0

    def take(self, size: int) -> None:
        """Content came. Raises ConnectionFault above the window (§6.9.1)."""
        self._left -= size
        if self._left < 0:
            raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "more content than the window allows")

    def give(self, size: int) -> int:
        """Content was consumed; by how much to open the window now."""
        self._taken += size
        taken = self._taken
        if taken < self._size // 2 and (self._left or taken <= min(_SMALL, self._size // 4)):
            return 0
        self._taken = 0
        self._left += taken
        return taken


class StreamState:
    """One stream on the wire. `window`: bytes of content that the peer takes on it."""

    __slots__ = ("begun", "closed", "ended", "inbound", "window")

    def __init__(self, window: int) -> None:
        self.begun = False
        """The final head came."""
        self.ended = False
        """The peer's side has ended."""
        self.closed = False
        """Reset by either side; only its owner still holds it."""
        self.window = window
        self.inbound: Inbound | None = None
        """Made with its first content."""


class Flow:
    """`window`: bytes of content that the peer takes on all streams together."""

    __slots__ = ("_inbound", "_out", "_size", "allowed", "initial", "tunnels", "window")

    def __init__(self, preface: bytes, settings: Iterable[tuple[int, int]], *, window: int, streams: int) -> None:
        """`window` for the content of each stream; the connection's has room for all of them: one that is not read
        must not stop the others."""
        whole = min(window * streams, wire.LARGEST_WINDOW)
        self.window = self.initial = wire.WINDOW
        self.allowed = UNBOUNDED
        """Streams that the peer lets us have at a time."""
        self.tunnels = False
        """It takes extended CONNECT (RFC 8441 §3)."""
        self._size = window
        self._inbound = Inbound(whole)
        self._out: list[bytes | memoryview] = [preface] if preface else []
        payload = b"".join([code.to_bytes(2, "big") + value.to_bytes(4, "big") for code, value in settings])
        self.frame(wire.SETTINGS, 0, payload)
        if whole > wire.WINDOW:
            self.frame(wire.WINDOW_UPDATE, 0, (whole - wire.WINDOW).to_bytes(4, "big"))

    # In. All that raise raise ConnectionFault.

    def set(self, values: dict[int, int], streams: Collection[StreamState]) -> None:
        """The peer's SETTINGS, of which all that are open know at once (§6.9.2)."""
        self.allowed = values.get(wire.MAX_CONCURRENT_STREAMS, self.allowed)
        self.tunnels = bool(values.get(wire.ENABLE_CONNECT_PROTOCOL, self.tunnels))
        initial = values.get(wire.INITIAL_WINDOW_SIZE, self.initial)
        if initial != self.initial:
            grown, self.initial = initial - self.initial, initial
            for stream in streams:
                stream.window += grown
                if stream.window > wire.LARGEST_WINDOW:
                    raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "a window above 2**31-1")
        self.frame(wire.SETTINGS, 0, b"", 1)

    def content(self, stream: StreamState, frame: bytes) -> bytes:
        """What DATA brings, without its padding (§6.1)."""
        size = len(frame) - 9
        self._inbound.take(size)
        if stream.inbound is None:
            stream.inbound = Inbound(self._size)
        stream.inbound.take(size)
        if not frame[4] & wire.PADDED:
            return frame[9:]
        if not size:
            raise ConnectionFault(wire.FRAME_SIZE_ERROR, "DATA is too short")
        if frame[9] >= size:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "more padding than payload")
        return frame[10 : len(frame) - frame[9]]

    def dropped(self, size: int) -> None:
        """Content of no stream: it counts in the connection's window all the same, and is given back there (§6.9)."""
        self._inbound.take(size)
        self._give(size)

    def credit(self, number: int, stream: StreamState | None, size: int) -> None:
        """Content was consumed: as much may come again."""
        self._give(size)
        if stream is None or stream.inbound is None or stream.ended or stream.closed:
            return
        if grown := stream.inbound.give(size):
            self.frame(wire.WINDOW_UPDATE, number, grown.to_bytes(4, "big"))

    def _give(self, size: int) -> None:
        if grown := self._inbound.give(size):
            self.frame(wire.WINDOW_UPDATE, 0, grown.to_bytes(4, "big"))

    # Out.

    def outgoing(self) -> bytes:
        """All frames since the last time."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def frame(self, kind: int, stream: int, payload: bytes, flags: int = 0) -> None:
        self._out.append(len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload)

    def section(self, stream: int, block: bytes, *, ended: bool) -> None:
        """HEADERS, and CONTINUATION as far as needed."""
        flags = wire.END_STREAM if ended else 0
        if len(block) <= wire.FRAME:
            self.frame(wire.HEADERS, stream, block, flags | wire.END_HEADERS)
            return
        self.frame(wire.HEADERS, stream, block[: wire.FRAME], flags)
        for at in range(wire.FRAME, len(block), wire.FRAME):
            last = at + wire.FRAME >= len(block)
            self.frame(wire.CONTINUATION, stream, block[at : at + wire.FRAME], wire.END_HEADERS if last else 0)

    def data(self, number: int, stream: StreamState, content: bytes | memoryview, *, ended: bool) -> None:
        """Not more than either window."""
        size = len(content)
        stream.window -= size
        self.window -= size
        head = size.to_bytes(3, "big") + (b"\0\1" if ended else b"\0\0") + number.to_bytes(4, "big")
        self._out.append(head)
        if size:
            self._out.append(content)
