"""Conditional requests (RFC 9110 §13): whether to answer in full, with 304, or with 412."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import Final

from stack.http.dates import parse_http_date
from stack.http.message import Field, combined

_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
# §5.6.1.2: a list, whose elements hold commas within their quotes, and may be empty
_LIST: Final = re.compile(rb"[ \t,]*(?:" + _ENTITY_TAG.pattern + rb"[ \t]*(?:,[ \t,]*|\Z))+")


class Condition(enum.Enum):
    """What the preconditions of a request come to. The value is the status of the answer, None for the method's own."""

    PROCEED = None
    NOT_MODIFIED = 304
    FAILED = 412


def is_entity_tag(value: bytes) -> bool:
    """Whether `value` is `"..."` or `W/"..."` (RFC 9110 §8.8.3)."""
    return _ENTITY_TAG.fullmatch(value) is not None


def entity_tags(value: bytes) -> tuple[bytes, ...] | None:
    """The tags of If-Match or If-None-Match in order; None for `*`. What is malformed lists nothing."""
    if value.strip(b" \t") == b"*":
        return None
    return tuple(_ENTITY_TAG.findall(value)) if _LIST.fullmatch(value) is not None else ()


def strong_match(first: bytes, second: bytes) -> bool:
    """RFC 9110 §8.8.3.2: equal, and neither is weak."""
    return first == second and first[:1] == b'"'


def weak_match(first: bytes, second: bytes) -> bool:
    """RFC 9110 §8.8.3.2: equal but for `W/`."""
    return first.removeprefix(b"W/") == second.removeprefix(b"W/")


def evaluate(
    method: bytes, fields: Iterable[Field], *, etag: bytes | None, last_modified: bytes | None, now: float
) -> Condition:
    """The preconditions against the selected representation, in the order of RFC 9110 §13.2.2.

    `etag` and `last_modified` are its field values, `now` is Unix seconds (for dates with two-digit years). To be
    asked only where the answer without preconditions would be a 2xx (§13.2.1). Range is the caller's: see
    `if_range_holds`.
    """
    conditions = [field for field in fields if field[0] in _CONDITIONS]
    if not conditions or method in _SELECTS_NOTHING:
        return Condition.PROCEED
    modified = None if last_modified is None else parse_http_date(last_modified, now)

    # Steps 1 and 2.
    if (if_match := combined(conditions, b"if-match")) is not None:
        wanted = entity_tags(if_match)
        if wanted is not None and (etag is None or not any(strong_match(tag, etag) for tag in wanted)):
            return Condition.FAILED
    elif modified is not None:  # §13.1.4: without a modification date the field is ignored
        since = _date(conditions, b"if-unmodified-since", now)
        if since is not None and modified > since:
            return Condition.FAILED

    # Steps 3 and 4.
    if (if_none_match := combined(conditions, b"if-none-match")) is not None:
        known = entity_tags(if_none_match)
        if known is None or (etag is not None and any(weak_match(tag, etag) for tag in known)):
            return Condition.NOT_MODIFIED if method in (b"GET", b"HEAD") else Condition.FAILED
    elif method in (b"GET", b"HEAD"):
        since = _date(conditions, b"if-modified-since", now)
        if since is not None and modified is not None and modified <= since:
            return Condition.NOT_MODIFIED
    return Condition.PROCEED


def if_range_holds(
    fields: Iterable[Field], *, etag: bytes | None, last_modified: bytes | None, date: bytes | None, now: float
) -> bool:
    """Step 5: whether Range is to be heeded as far as If-Range is concerned (RFC 9110 §13.1.5). True without If-Range.

    `date` is the Date of the stored or made response: a Last-Modified is a strong validator only when it is at least
    a second older (§8.8.2.2).
    """
    value = combined(fields, b"if-range")
    if value is None:
        return True
    value = value.strip(b" \t")
    if is_entity_tag(value):
        return etag is not None and strong_match(value, etag)
    # exact match of dates, not earlier or later
    since = parse_http_date(value, now)
    if since is None or last_modified is None or parse_http_date(last_modified, now) != since:
        return False
    made = now if date is None else parse_http_date(date, now)
    return made is not None and made - since >= 1


_SELECTS_NOTHING: Final = frozenset({b"CONNECT", b"OPTIONS", b"TRACE"})
"""§13.2.1."""
_CONDITIONS: Final = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})


def _date(fields: Iterable[Field], name: bytes, now: float) -> float | None:
    value = combined(fields, name)  # two lines make no date: §13.1.3 ignores what is not exactly one
    return None if value is None else parse_http_date(value, now)
