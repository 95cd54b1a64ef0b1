"""The content of one HTTP/1.1 message as it arrives: by length, chunked, or to the close (RFC 9112 §6.3)."""

from __future__ import annotations

from stack.http.chunked import Chunked
from stack.http.field_lines import FieldParser
from stack.http.h1 import CHUNKED, CLOSE
from stack.net.pace import Pace
from stack.net.stream import Incoming


class Content:
    """Feeds an `Incoming`. ValueError from `feed` when the coding is broken."""

    __slots__ = ("_chunked", "_left", "done", "pace", "received", "stream")

    def __init__(self, framing: int, stream: Incoming, parser: FieldParser, pace: Pace | None = None) -> None:
        self.stream = stream
        self.done = False
        self.received = 0
        self.pace = pace
        self._chunked = Chunked(parser) if framing == CHUNKED else None
        self._left = framing

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to this message; the rest is returned."""
        if self._chunked is not None:
            for piece in self._chunked.feed(data):
                self.received += len(piece)
                self.stream.feed(piece)
            if not self._chunked.done:
                return b""
            self.stream.trailers += self._chunked.trailers
            self._finish()
            return self._chunked.rest
        if self._left == CLOSE:
            self.received += len(data)
            self.stream.feed(data)
            return b""
        size = len(data)
        if size < self._left:
            self._left -= size
            self.received += size
            self.stream.feed(data)
            return b""
        mine, rest = data[: self._left], data[self._left :]
        self.received += len(mine)
        if mine:
            self.stream.feed(mine)
        self._finish()
        return rest

    def finished(self) -> bool:
        return self.done

    def closed(self) -> bool:
        """The sender closed: whether the message is whole."""
        if self._left == CLOSE and not self.done:
            self._finish()
        return self.done

    def _finish(self) -> None:
        self.done = True
        self.stream.end()
