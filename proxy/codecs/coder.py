"""What a content coding is to the proxy: all of a body at once, or a stream that can be flushed."""

from __future__ import annotations

from typing import Protocol


class Coding(Protocol):
    """The encoder of one stream. Each call returns what may be sent now, often nothing."""

    def feed(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes:
        """Everything fed so far can be decoded from what has been returned."""

    def finish(self) -> bytes: ...


class Coder(Protocol):
    """A content coding at its level. Shared by all responses of a proxy."""

    def once(self, data: bytes) -> bytes:
        """A complete body; runs in the event loop, so the caller bounds its size."""

    def stream(self, *, held: bool = False) -> Coding:
        """A coding of its own. `held`: it may stay open for hours, so it trades size for memory."""
