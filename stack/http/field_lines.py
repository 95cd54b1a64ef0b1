"""Field lines to pairs (RFC 9112 §5): one strict pattern, and a memory of the lines that keep coming back.

A peer sends most of its lines again with the next message: what was read once is looked up then. Only whole lines that
the pattern took are remembered, so a line means the same whether it was met before or not.
"""

from __future__ import annotations

import re
from typing import Final

from stack.http.message import Field, Fields

MOST: Final = 1024
"""Lines remembered; when there are so many, all are forgotten."""
LONGEST: Final = 160
"""Bytes of a line that is remembered."""

# field-name ":" OWS field-value OWS of RFC 9112 §5.1 and RFC 9110 §5.5: a token, no space before the colon, no control
# but HTAB, no line folding (§5.2)
_line = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)").fullmatch

_NEVER_KEPT: Final = frozenset(
    {b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"}  # secrets do not outlive their message
    | {b"traceparent", b"x-request-id"}  # never the same twice
)

KnownLines = dict[bytes, Field]
"""What one server, or one pool, remembers for all its connections."""


class FieldParser:
    """Reads the field lines of one connection's messages. `known` is shared with the other connections."""

    __slots__ = ("_known", "authority", "scheme")

    def __init__(self, scheme: bytes | None = None, known: KnownLines | None = None) -> None:
        """`scheme`: the only one a target in absolute form may have. None: a trusted gateway's word is taken."""
        self.scheme = scheme
        self._known: KnownLines = {} if known is None else known
        self.authority: bytes | None = None
        """The last Host that was found valid: on one connection it hardly ever changes."""

    def parse(self, lines: list[bytes]) -> Fields:
        """The lines without their ends. ValueError when one is not well-formed."""
        known, read = self._known.get, self._read
        return [known(line) or read(line) for line in lines]

    def _read(self, line: bytes) -> Field:
        match = _line(line)
        if match is None:
            raise ValueError(_complaint(line))
        name, value = match.groups()
        field = (name.lower(), value.rstrip(b"\t "))
        if len(line) <= LONGEST and field[0] not in _NEVER_KEPT:
            known = self._known
            if len(known) >= MOST:
                known.clear()
            known[line] = field
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
