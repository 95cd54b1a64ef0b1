"""Byte ranges (RFC 9110 §14): which bytes a Range field asks for, and how they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stack.http.fields import split_list

MOST: Final = 32
"""More ranges than this are not honoured: the whole representation is the cheaper answer (§14.2, §17.15)."""
_SPEC: Final = re.compile(rb"(?:(\d+)-(\d*)|-(\d+))")


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `start` up to but not including `stop`. Never empty."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416: none of the ranges has a byte of the representation."""

    size: int

    @property
    def content_range(self) -> bytes:
        """§15.5.17."""
        return b"bytes */%d" % self.size


def parse(value: bytes, size: int) -> tuple[Range, ...] | Unsatisfiable | None:
    """The ranges of a representation of `size` bytes, in the order asked for; none of them overlap or touch.

    None: ignore the field and send the whole (§14.2), because it is malformed, in an unknown unit, or has the shape
    of an attack: more than MOST ranges, more than two that overlap, or more bytes than there are.
    """
    unit, equals, specs = value.partition(b"=")
    if not equals or unit.strip(b" \t").lower() != b"bytes":
        return None
    found: list[Range] = []
    asked = split_list(specs)
    if not asked or len(asked) > MOST:
        return None
    for spec in asked:
        match = _SPEC.fullmatch(spec)
        if match is None or len(spec) > 40:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            start, stop = max(0, size - int(suffix)), size
        else:
            start, stop = int(first), min(int(last) + 1, size) if last else size
            if last and int(last) < start:  # §14.1.1: invalid, and so is the whole set
                return None
        if start < stop:
            found.append(Range(start, stop))
    if not found:
        # §14.1.2: a suffix that is not empty is satisfiable, even by nothing, which Content-Range cannot say
        return (
            None if size == 0 and any(spec[:1] == b"-" and spec.strip(b"-0") for spec in asked) else Unsatisfiable(size)
        )
    if len(found) > 1 and (_overlaps(found) > 2 or sum(map(len, found)) > size):
        return None
    return tuple(found) if len(found) == 1 else _coalesced(found)


def _coalesced(found: list[Range]) -> tuple[Range, ...]:
    """§15.3.7.2: what overlaps or touches is sent once, in the place of the first of them that was asked for."""
    joined: list[tuple[int, Range]] = []
    for index, part in sorted(enumerate(found), key=lambda one: one[1].start):
        if joined and part.start <= joined[-1][1].stop:
            first, before = joined[-1]
            joined[-1] = (min(first, index), Range(before.start, max(before.stop, part.stop)))
        else:
            joined.append((index, part))
    return tuple(part for _, part in sorted(joined, key=lambda one: one[0]))


def _overlaps(found: list[Range]) -> int:
    """How many ranges begin before an earlier one has ended."""
    count = reached = 0
    for part in sorted(found, key=lambda part: part.start):
        count += part.start < reached
        reached = max(reached, part.stop)
    return count


def content_range(part: Range, size: int) -> bytes:
    """§14.4."""
    return b"bytes %d-%d/%d" % (part.start, part.stop - 1, size)


def multipart(parts: Sequence[Range], size: int, *, content_type: bytes | None, boundary: bytes) -> Multipart:
    """Several ranges as one 206 (§14.6). `boundary` must not occur in the content: make it of random bits."""
    typed = b"" if content_type is None else b"content-type: %b\r\n" % content_type
    heads = tuple(
        b"%b--%b\r\n%bcontent-range: %b\r\n\r\n" % (b"\r\n" if i else b"", boundary, typed, content_range(part, size))
        for i, part in enumerate(parts)
    )
    return Multipart(tuple(parts), heads, b"\r\n--%b--\r\n" % boundary, b"multipart/byteranges; boundary=%b" % boundary)


@dataclass(frozen=True, slots=True)
class Multipart:
    """A body of several ranges: each of `heads` goes before its part's bytes, `tail` after the last."""

    parts: tuple[Range, ...]
    heads: tuple[bytes, ...]
    tail: bytes
    content_type: bytes

    @property
    def content_length(self) -> int:
        return sum(map(len, self.heads)) + sum(map(len, self.parts)) + len(self.tail)

    def pieces(self, content: bytes | memoryview) -> Iterator[bytes]:
        """The whole body, cut from a representation that is in memory."""
        for head, part in zip(self.heads, self.parts, strict=True):
            yield head
            yield bytes(content[part.start : part.stop])
        yield self.tail
