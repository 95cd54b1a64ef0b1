"""Field lines to pairs (RFC 9112 §5): one strict pattern, and a memory of the lines that keep coming back.

A peer sends most of its lines again with the next message: what was read once is looked up then. Only whole lines that
the pattern took are remembered, so a line means the same whether it was met before or not.
"""

from __future__ import annotations

import re
from typing import Final, cast

from stack.http.forwarding import NOTED
from stack.http.message import Field, Fields

MOST: Final = 1024
"""Lines remembered; when there are so many, all are forgotten."""
LONGEST: Final = 160
"""Bytes of a line that is remembered."""

# field-name ":" OWS field-value OWS of RFC 9112 §5.1 and RFC 9110 §5.5: a token, no space before the colon, no control
# but HTAB, no line folding (§5.2)
_line = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)").fullmatch

FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
"""What `stack.http.h1` has a rule for."""
_NOTED: Final = FRAMING | NOTED

_NEVER_KEPT: Final = frozenset(
    {b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"}  # secrets do not outlive their message
    | {b"traceparent", b"x-request-id"}  # never the same twice
)


class KnownLines:
    """What one server, or one pool, remembers for all its connections."""

    __slots__ = ("fields", "noted")

    def __init__(self) -> None:
        self.fields: dict[bytes, Field] = {}
        self.noted: dict[bytes, Field] = {}
        """Those of them that are told apart: see `FieldParser.noted`."""

    def keep(self, line: bytes, field: Field, *, noted: bool) -> None:
        if len(self.fields) >= MOST:
            self.fields.clear()
            self.noted.clear()
        self.fields[line] = field
        if noted:
            self.noted[line] = field


class FieldParser:
    """Reads the field lines of one connection's messages. `known` is shared with the other connections."""

    __slots__ = ("_field", "_known", "_noted", "authority", "noted", "scheme")

    def __init__(self, scheme: bytes | None = None, known: KnownLines | None = None) -> None:
        """`scheme`: the only one a target in absolute form may have. None: a trusted gateway's word is taken."""
        self.scheme = scheme
        self._known = known or KnownLines()
        self._field, self._noted = self._known.fields.get, self._known.noted.get
        self.noted: Fields = []
        """Of the message read last, those that `FRAMING` or `NOTED` names; every message has a list of its own."""
        self.authority: bytes | None = None
        """The last Host that was found valid: on one connection it hardly ever changes."""

    def parse(self, lines: list[bytes]) -> Fields:
        """The lines without their ends. ValueError when one is not well-formed."""
        fields, noted = list(map(self._field, lines)), map(self._noted, lines)
        if all(fields):
            self.noted = [*filter(None, noted)]
            return cast(Fields, fields)
        told, at = list(noted), -1
        for _ in range(fields.count(None)):
            at = fields.index(None, at + 1)
            fields[at] = field = self._read(lines[at])
            if field[0] in _NOTED:
                told[at] = field
        self.noted = [*filter(None, told)]
        return cast(Fields, fields)

    def _read(self, line: bytes) -> Field:
        match = _line(line)
        if match is None:
            raise ValueError(_complaint(line))
        name, value = match.groups()
        name = name.lower()
        field = (name, value.rstrip(b"\t "))
        if len(line) <= LONGEST and name not in _NEVER_KEPT:
            self._known.keep(line, field, noted=name in _NOTED)
        return field


def _complaint(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a line is folded"
    name, colon, _ = line.partition(b":")
    if not colon:
        return "a line has no colon"
    if name[-1:] in (b" ", b"\t"):
        return "there is space before a colon"
    if _line(name + b":") is None:
        return "a name is no token"
    return "a value holds a line break, a NUL or another control character"
