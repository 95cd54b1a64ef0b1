"""HPACK in (RFC 7541): a third of the library's time, and it says what was wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from stack.http.message import Field, Fields

TABLE: Final = 4096
"""SETTINGS_HEADER_TABLE_SIZE, at its default."""
OVERHEAD: Final = 32
"""What an entry counts besides its bytes (RFC 7541 §4.1)."""
INTEGER_BYTES: Final = 5
"""A longer integer is an error (RFC 7541 §5.1)."""


class BadSection(ValueError):
    """The section cannot be decoded: an error of the connection, whose table is out of step."""


class LargeSection(ValueError):
    """The section decodes to more than is taken."""


class Decoder:
    """One connection's table. `huffman` decodes a string literal; its ValueError is a BadSection."""

    __slots__ = ("_entries", "_huffman", "_limit", "_max_size", "_size", "_static")

    def __init__(self, static: Sequence[Field], huffman: Callable[[bytes], bytes], *, max_size: int) -> None:
        self._static = tuple(static)
        self._huffman = huffman
        self._max_size = max_size
        self._entries: deque[Field] = deque()
        self._size = 0
        self._limit = TABLE

    def decode(self, block: bytes) -> Fields:
        """The fields of a whole section."""
        fields: Fields = []
        static = self._static
        at, end, size = 0, len(block), 0
        try:
            while at < end:
                byte = block[at]
                if byte & 0x80:  # §6.1 indexed
                    index, at = (byte & 0x7F, at + 1) if byte != 0xFF else _integer(block, at, 0x7F)
                    field = static[index - 1] if 0 < index <= 61 else self._entry(index)
                elif byte & 0xE0 == 0x20:  # §6.3
                    limit, at = (byte & 0x1F, at + 1) if byte != 0x3F else _integer(block, at, 0x1F)
                    if fields or limit > TABLE:
                        raise BadSection("a table size that is too large, or not in front")
                    self._limit = limit
                    self._evict()
                    continue
                else:  # §6.2 literal, with incremental indexing or without
                    mask = 0x3F if byte & 0x40 else 0x0F
                    index, at = (byte & mask, at + 1) if byte & mask != mask else _integer(block, at, mask)
                    if index == 0:
                        name, at = self._string(block, at)
                    else:
                        name = static[index - 1][0] if index <= 61 else self._entry(index)[0]
                    value, at = self._string(block, at)
                    field = (name, value)
                    if mask == 0x3F:
                        self._add(field)
                size += len(field[0]) + len(field[1]) + OVERHEAD
                if size > self._max_size:
                    raise LargeSection(f"more than {self._max_size} bytes")
                fields.append(field)
        except IndexError:
            raise BadSection("an index out of the table, or the end too early") from None
        return fields

    def _entry(self, index: int) -> Field:
        if index == 0:
            raise BadSection("index 0")
        return self._entries[index - 62]

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """§5.2."""
        byte = block[at]
        length, at = (byte & 0x7F, at + 1) if byte & 0x7F != 0x7F else _integer(block, at, 0x7F)
        stop = at + length
        if stop > len(block):
            raise BadSection("a string longer than its section")
        text = block[at:stop]
        if not byte & 0x80:
            return text, stop
        try:
            return self._huffman(text), stop
        except ValueError as error:
            raise BadSection(str(error)) from None

    def _add(self, field: Field) -> None:
        self._entries.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + OVERHEAD
        if self._size > self._limit:
            self._evict()

    def _evict(self) -> None:
        """§4.4: an entry larger than the table leaves it empty."""
        entries = self._entries
        while self._size > self._limit:
            name, value = entries.pop()
            self._size -= len(name) + len(value) + OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """§5.1, when the prefix is all ones; `at` is at the prefix."""
    value, shift = mask, 0
    for step in range(1, INTEGER_BYTES + 1):
        byte = block[at + step]
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + step + 1
        shift += 7
    raise BadSection("an integer that does not end")
