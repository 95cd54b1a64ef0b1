"""Parts of a representation: what a 206 brings, what may be put together, what is kept in slices.

RFC 9110 §14.4, §15.3.7; RFC 9111 §3.3, §3.4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stack.http.conditional import is_entity_tag
from stack.http.message import Fields, combined, get
from stack.http.ranges import Range

_CONTENT_RANGE: Final = re.compile(rb"bytes[ \t]+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes of how many one 206 has."""

    span: Range
    length: int
    """Of the whole representation."""


def part(fields: Fields) -> Part | None:
    """What a 206 brings. None for what cannot be told, so that nothing may be built on it.

    That is: no Content-Range, several, another unit, one that is invalid (§14.4), that does not say the complete
    length, or that Content-Length contradicts; several ranges (§15.3.7.2).
    """
    value = combined(fields, b"content-range")
    match = None if value is None else _CONTENT_RANGE.fullmatch(value.strip(b" \t"))
    if match is None:
        return None
    first, last, length = map(int, match.groups())
    if not first <= last < length:
        return None
    told = combined(fields, b"content-length")
    if told is not None and told.strip(b" \t") != b"%d" % (last + 1 - first):
        return None
    return Part(Range(first, last + 1), length)


def strong_tag(fields: Fields) -> bytes | None:
    """The strong validator that parts are combined by (§3.4). No date: two versions may share its second."""
    tag = combined(fields, b"etag")
    return tag if tag is not None and tag[:1] == b'"' and is_entity_tag(tag) else None


def whole_head(fields: Fields, length: int) -> Fields:
    """The head of the complete response that a 206 with `fields` is a part of (RFC 9110 §15.3.7)."""
    kept = [field for field in fields if field[0] not in (b"content-range", b"content-length")]
    return [*kept, (b"content-length", b"%d" % length)]


def sliced(status: int, fields: Fields, *, size: int, beyond: int) -> int | None:
    """The length of a complete response that is kept in slices of `size` bytes; None where it is not.

    A slice that is missing is fetched again, so that the origin must take ranges, and a strong validator must tell
    that they are of the same representation: else two versions could be glued together.
    """
    if status != 200 or not size:
        return None
    told = get(fields, b"content-length")
    if told is None or not told.isdigit() or len(told) > 18 or int(told) <= beyond:
        return None  # as most are
    if strong_tag(fields) is None:
        return None
    taken = combined(fields, b"accept-ranges")
    if taken is None or taken.strip(b" \t").lower() != b"bytes" or strong_tag(fields) is None:
        return None
    return int(told)


def gaps(held: Sequence[Range], wanted: Range) -> list[Range]:
    """What of `wanted` is not in `held`, whose ranges are in order and do not overlap."""
    missing, at = [], wanted.start
    for one in held:
        if one.start >= wanted.stop:
            break
        if one.stop <= at:
            continue
        if one.start > at:
            missing.append(Range(at, one.start))
        at = one.stop
    if at < wanted.stop:
        missing.append(Range(at, wanted.stop))
    return missing


def aligned(at: int, size: int, length: int) -> Range:
    """The slice that byte `at` lies in. `size` 0: there is one, the whole."""
    if not size:
        return Range(0, length)
    start = at - at % size
    return Range(start, min(start + size, length))
