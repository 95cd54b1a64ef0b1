"""A stored response as it lies on disk: its head in one row of the index, its times as wall clock (RFC 9111 §4.2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from cdn_edge.parts import Lying, Parts, Piece
from cdn_edge.rules.parts import part, strong_tag
from cdn_edge.rules.reuse import Terms
from cdn_edge.rules.vary import Names, Selection
from cdn_edge.stored import Stored, of_wire
from stack.http.message import FieldBlock
from stack.http.ranges import Range

VERSION: Final = 2
"""Of the rows and of the index around them: what is written by another version is not read."""
_SUM: Final = 8


class Torn(Exception):
    """A row or its content is not what was written."""


@dataclass(frozen=True, slots=True)
class Times:
    """What turns this process's monotonic seconds into Unix seconds and back.

    `offset` is fixed when the tier opens: a step of the wall clock then changes no age while the process runs. Over a
    restart the wall clock is all there is, and the time in between counts as age.
    """

    offset: float
    """Unix seconds minus monotonic ones."""

    def unix(self, monotonic: float) -> float:
        return monotonic + self.offset

    def monotonic(self, unix: float) -> float:
        return unix - self.offset


class _Head(msgspec.Struct, array_like=True, frozen=True):
    names: Names
    selection: Selection
    status: int
    head: bytes
    dated: bool
    length: bytes | None
    terms: Terms
    date: float
    born: float
    """Unix seconds at which its age was 0."""
    arrived: float
    saved: float
    """Unix seconds at which this was written."""
    # Of what is held in pieces.
    stamp: bytes = b""
    """`Lying.stamp`; also of a piece."""
    complete: int | None = None
    """The length of all of it, if this is the head of pieces."""
    tag: bytes | None = None
    """The strong validator that the pieces are combined by."""
    size: int = 0
    """`Lying.size`."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Head).decode
_names: Final = msgspec.msgpack.Decoder(Names).decode


def place(names: Names, selection: Selection) -> tuple[bytes, bytes]:
    """What a row is found by beside its key: the names as bytes, the selection as a hash. Both empty without Vary."""
    if not names:
        return b"", b""
    return _encode(names), blake2b(_encode(selection), digest_size=16).digest()


def names_of(packed: bytes) -> Names:
    """Raises Torn."""
    try:
        return _names(packed) if packed else ()
    except msgspec.MsgspecError as error:
        raise Torn(f"the names of a row cannot be read: {error}") from None


def pack(stored: Stored, content: bytes, times: Times, now: float) -> bytes:
    """`content` is the hash of its body, `now` Unix seconds as `times` has them.

    The sum in front ties head, key and body together.
    """
    parts = stored.parts
    stamp, complete, tag, size = b"", None, None, 0
    if parts is not None:
        if parts.lying is not None:
            stamp, size = parts.lying.stamp, parts.lying.size
        if not isinstance(stored, Piece):
            complete, tag = parts.length, parts.tag
    head = _encode(
        _Head(
            stored.names,
            stored.selection,
            stored.status,
            stored.head,
            stored.dated,
            stored.length,
            stored.terms,
            stored.date,
            times.unix(stored.born),
            stored.arrived,
            now,
            stamp,
            complete,
            tag,
            size,
        )
    )
    return _sum(stored.key, content, head) + head


def unpack(key: bytes, row: bytes, body: bytes, content: bytes, times: Times, now: float) -> Stored:
    """Raises Torn.

    A wall clock that shows a time before the one at which this was written has been set back: how old it is then cannot
    be known, and so it is as stale as it can be said to be, and validated.
    """
    read = _read(key, row, content)
    if read.stamp and read.complete is None:
        raise Torn("a piece where a response was looked for")
    born = read.born
    if now < max(read.saved, read.born):
        born = now - max(read.saved - read.born, read.terms.lifetime)
    stored = of_wire(
        key,
        read.names,
        read.selection,
        status=read.status,
        head=read.head,
        dated=read.dated,
        length=read.length,
        body=body,
        terms=read.terms,
        date=read.date,
        born=times.monotonic(born),
        arrived=read.arrived,
    )
    if read.complete is None:
        return stored
    parts = Parts(read.complete, read.tag)
    parts.lying = Lying(key, read.names, read.selection, read.stamp, read.size)
    return stored.held_in(parts)


def check_piece(key: bytes, row: bytes, content: bytes, stamp: bytes, span: Range, length: int, tag: bytes) -> bool:
    """Whether a row is these bytes of this storing of this version (RFC 9111 §3.4). Raises Torn."""
    read = _read(key, row, content)
    if read.stamp != stamp or read.complete is not None:
        return False
    fields = FieldBlock.of_wire(read.head, dated=False, length=None).fields
    found = part(fields)
    return found is not None and (found.span, found.length, strong_tag(fields)) == (span, length, tag)


def _read(key: bytes, row: bytes, content: bytes) -> _Head:
    head = row[_SUM:]
    if _sum(key, content, head) != row[:_SUM]:
        raise Torn("the head of a row is not what was written")
    try:
        return _decode(head)
    except msgspec.MsgspecError as error:
        raise Torn(f"the head of a row cannot be read: {error}") from None


def _sum(key: bytes, content: bytes, head: bytes) -> bytes:
    hashed = blake2b(key, digest_size=_SUM)
    hashed.update(content)
    hashed.update(head)
    return hashed.digest()
