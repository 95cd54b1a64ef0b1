"""The chunked transfer coding (RFC 9112 §7.1), strictly: bare line feeds, signs, white space and junk are refused."""

from __future__ import annotations

import re
from typing import Final

from stack.http.field_lines import FieldParser
from stack.http.h1 import serialise
from stack.http.message import Fields
from stack.http.trailers import NOT_IN_TRAILERS

_SIZE = re.compile(
    # chunk-size and chunk-ext of §7.1.1: ;name, ;name=token, ;name="quoted"
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb"(?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb"|\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*\"))?)*"
    rb"\r\n"
)
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
MAX_LINE: Final = 4096
MAX_TRAILERS: Final = 16 * 1024
MAX_EXTENSIONS: Final = 16 * 1024
"""So many bytes of chunk extensions, and as many more as there is content (RFC 9112 §7.1.1)."""


class Chunked:
    """Decodes one message's content. Feed until `done`; `rest` is what came behind it."""

    __slots__ = ("_buffer", "_extensions", "_left", "_parser", "_seen", "done", "rest", "trailers")

    def __init__(self, parser: FieldParser) -> None:
        self._parser = parser
        self._buffer = b""
        self._extensions = MAX_EXTENSIONS
        """Bytes of them that may still come."""
        self._left = -1
        """Bytes of the present chunk still to come; -1 before its size line, 0 before the line end behind it,
        -2 behind the last chunk."""
        self._seen = 0
        """Bytes of the trailer section that were looked at: each is looked at once, however they come."""
        self.done = False
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> list[bytes]:
        """The content in `data`. ValueError when the coding is broken."""
        if self._buffer:
            ends = b"\n" in data
            data, self._buffer = self._buffer + data, b""
            if self._left == -1 and not ends:
                self._unfinished(data)
                return []
        if self._left == -2:
            self._end(data)
            return []
        out: list[bytes] = []
        at, end = 0, len(data)
        while True:
            left = self._left
            if left > 0:
                piece = data[at : at + left]
                if not piece:
                    return out
                out.append(piece)
                at += len(piece)
                self._left = left - len(piece)
                if self._left:
                    return out
                left = 0
            if left == 0:
                if end - at < 2:
                    if data[at:end] not in (b"", b"\r"):
                        raise ValueError("a chunk is longer than its size")
                    self._buffer = data[at:]
                    return out
                if data[at : at + 2] != b"\r\n":
                    raise ValueError("a chunk is longer than its size")
                at += 2
                self._left = -1
            match = _SIZE.match(data, at)
            if match is None:
                if data.find(b"\n", at) >= 0:
                    raise ValueError("a chunk size line is not well-formed")
                self._unfinished(data[at:])
                return out
            size = int(match[1], 16)
            extensions = match.end() - match.end(1) - 2
            if extensions:
                self._extensions -= extensions
                if extensions > MAX_LINE or self._extensions < 0:
                    raise ValueError("there is more of chunk extensions than of content")
                self._extensions += size
            if size == 0:
                self._left = -2
                self._end(data[match.end() :])
                return out
            at = match.end()
            self._left = size

    def _unfinished(self, line: bytes) -> None:
        """The beginning of a size line."""
        if not _may_become_size(line):
            raise ValueError("a chunk size line is not well-formed")
        self._buffer = line

    def _end(self, data: bytes) -> None:
        """The trailer section behind the last chunk."""
        if data[:2] == b"\r\n":
            self.done, self.rest = True, data[2:]
            return
        end = data.find(b"\r\n\r\n", max(0, self._seen - 3))
        if (len(data) - 3 if end < 0 else end) > MAX_TRAILERS:
            raise ValueError("the trailer section is too large")
        if end < 0:
            if _BARE.search(data, max(0, self._seen - 1)):
                raise ValueError("the trailer section is not well-formed")
            self._buffer, self._seen = data, len(data)
            return
        fields = self._parser.parse(data[:end].split(b"\r\n"))
        # §7.1.2: what a trailer may not carry is dropped, never merged into the head
        self.trailers = [field for field in fields if field[0] not in NOT_IN_TRAILERS]
        self.done, self.rest = True, data[end + 4 :]


def _may_become_size(line: bytes) -> bool:
    digits = re.match(rb"[0-9A-Fa-f]{0,16}", line)
    assert digits is not None
    behind = line[digits.end() :]
    if digits.end() == 0 or digits.end() > 15:
        return not line
    if len(behind) > MAX_LINE and len(behind.removesuffix(b"\r")) > MAX_LINE:
        return False
    return not behind or behind == b"\r" or behind.lstrip(b" \t")[:1] in (b"", b";")


def encode(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def last(trailers: Fields) -> bytes:
    """The last chunk and the trailer section. ValueError for what is no field."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n%b\r\n" % serialise([field for field in trailers if field[0] not in NOT_IN_TRAILERS])
