"""HPACK out (RFC 7541): from the static table and literals only, so that a block depends on nothing sent before.

The dynamic table would save bytes on the wire and cost more than all the rest of a response: 25 of 33 us measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from stack.http.message import Field

_LITERAL: Final = 0x10
"""Never to be indexed by anybody on the way (RFC 7541 §6.2.3, §7.1.3): so a field that came as one goes on as one,
whatever its name, and nobody has to remember how each of them came."""
KNOWN_NAMES: Final = 256
"""Names whose encoding one connection remembers."""


class StaticTable:
    """RFC 7541 appendix A, by what is looked up in it."""

    def __init__(self, entries: Sequence[Field]) -> None:
        self.fields: Mapping[Field, bytes] = {
            field: integer(i, 7, 0x80) for i, field in reversed(list(enumerate(entries, 1))) if field[1]
        }
        self.names: Mapping[bytes, bytes] = {
            name: integer(i, 4, _LITERAL) for i, (name, _) in reversed(list(enumerate(entries, 1)))
        }


class Encoder:
    """Its table has no entries, whatever size the peer allows."""

    def __init__(self, static: StaticTable) -> None:
        self._fields = static.fields
        self._static_names = static.names
        self._names: dict[bytes, bytes] = {}
        self._announce = False

    def resized(self) -> None:
        """The peer changed the size that it allows: acknowledged at the start of the next block (RFC 7541 §4.2)."""
        self._announce = True

    def encode(self, fields: Iterable[Field]) -> bytes:
        known, names, new_names = self._fields, self._static_names, self._names
        out: list[bytes] = []
        if self._announce:
            self._announce = False
            out.append(b"\x20")  # a table of size 0
        for field in fields:
            if (whole := known.get(field)) is not None:
                out.append(whole)
                continue
            name, value = field
            prefix = names.get(name) or new_names.get(name)
            if prefix is None:
                prefix = bytes((_LITERAL,)) + integer(len(name), 7, 0) + name
                if len(new_names) < KNOWN_NAMES:
                    new_names[name] = prefix
            size = len(value)
            out += (prefix, _SHORT[size] if size < 127 else integer(size, 7, 0), value)
        return b"".join(out)


def integer(value: int, bits: int, flags: int) -> bytes:
    """RFC 7541 §5.1: `value` with a prefix of `bits` bits, above them `flags`."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((flags | value,))
    out = bytearray((flags | limit,))
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT: Final = [bytes((i,)) for i in range(127)]
