"""One representation that is held in pieces: parts that came as 206, and slices of what is large (RFC 9111 §3.3, §3.4).

Its head lies in the store under the key as any other response, with `Stored.parts`; each piece is a stored object of
its own, so that eviction takes pieces one by one. Pieces live no longer than their head: whatever takes that out,
takes them too.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdn_edge.rules import parts as rules
from cdn_edge.rules.vary import Names, Selection
from cdn_edge.stored import NEVER, Stored, weight
from stack.errors import HopError
from stack.http.ranges import Range, content_range

if TYPE_CHECKING:
    import asyncio


class Piece(Stored, gc=False, eq=False):
    """One span of a representation, which its own head names: entity tag and Content-Range. Made by `piece_of`."""

    span: Range = Range(0, 0)


def piece_of(head: Stored, parts: Parts, start: int, body: bytes) -> Piece:
    """Bytes `start` up to `start + len(body)` of what `head` stands for."""
    span = Range(start, start + len(body))
    key = place(head.key, start)
    wire = b"content-range: %b\r\n" % content_range(span, parts.length)
    if parts.tag is not None:
        wire += b"etag: %b\r\n" % parts.tag
    return Piece(
        key,
        head.names,
        head.selection,
        206,
        wire,
        False,
        None,
        body,
        head.terms,
        head.date,
        head.born,
        head.fresh_until,
        NEVER,
        weight(key, head.selection, wire, body),
        parts=parts,
        span=span,
    )


@dataclass(frozen=True, slots=True)
class Lying:
    """Where a representation lies on disk: that of its head, and what its pieces there are told by."""

    key: bytes
    names: Names
    selection: Selection
    stamp: bytes
    """Of this storing: no other one ever has it, not even of the same version."""
    size: int
    """Bytes of a slice there."""


class Parts:
    """What is held of one representation. The event loop's: changes are whole or have not happened."""

    __slots__ = ("coming", "head", "length", "lying", "pieces", "tag", "whole")

    def __init__(self, length: int, tag: bytes | None) -> None:
        self.length = length
        """Of the complete representation, in bytes."""
        self.tag = tag
        """Its strong validator. None: it came without, so that nothing can be added to it."""
        self.head: Stored | None = None
        """What stands for it in the store, if anything does."""
        self.pieces: list[Piece] = []
        """In order, none overlapping another."""
        self.lying: Lying | None = None
        """Where it lies on disk, if its pieces go there."""
        self.whole: bytes | None = None
        """All of it, once it has become a response like any other: for who is still reading here."""
        self.coming: dict[int, asyncio.Task[tuple[int, bytes] | HopError]] = {}
        """Slices that are being fetched, by where they start: each once, however many wait for it."""

    def bytes_at(self, position: int) -> tuple[int, bytes] | None:
        """What is held around this byte, and where it starts."""
        if self.whole is not None:
            return 0, self.whole
        piece = self.at(position)
        return None if piece is None else (piece.span.start, piece.body)

    def at(self, position: int) -> Piece | None:
        """The piece that holds this byte."""
        index = bisect_right(self.pieces, position, key=_start) - 1
        if index < 0:
            return None
        piece = self.pieces[index]
        return piece if position < piece.span.stop else None

    def gaps(self, wanted: Range) -> list[Range]:
        """What of `wanted` is not held."""
        if self.whole is not None:
            return []
        index = max(0, bisect_right(self.pieces, wanted.start, key=_start) - 1)
        held = []
        for piece in self.pieces[index:]:
            if piece.span.start >= wanted.stop:
                break
            held.append(piece.span)
        return rules.gaps(held, wanted)

    def has(self, piece: Piece) -> bool:
        return self.at(piece.span.start) is piece

    def add(self, piece: Piece) -> None:
        """It must not overlap what is held."""
        self.pieces.insert(bisect_right(self.pieces, piece.span.start, key=_start), piece)

    def remove(self, piece: Piece) -> None:
        index = bisect_right(self.pieces, piece.span.start, key=_start) - 1
        if index >= 0 and self.pieces[index] is piece:
            del self.pieces[index]

    def __repr__(self) -> str:
        return f"<Parts {len(self.pieces)} of {self.length} bytes>"


def place(key: bytes, start: int) -> bytes:
    """Where a piece lies: no URL that is asked for has a fragment."""
    return b"%b#bytes=%d" % (key, start)


def _start(piece: Piece) -> int:
    return piece.span.start
