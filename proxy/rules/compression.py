"""Whether a response is compressed, with which coding, and what its fields say then (RFC 9110 §8.4, §12.5.3)."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stack.http import cache_control
from stack.http.conditional import entity_tags
from stack.http.message import Fields, Request, Response, combined, get
from stack.http.negotiation import coding

IDENTITY = b"identity"

_MEDIA_TYPE = re.compile(rb"[a-z0-9!#$&^_.-]+/[a-z0-9!#$&^_.+-]+")  # RFC 6838 §4.2
_ANY_SUBTYPE = re.compile(rb"[a-z0-9!#$&^_.-]+/\*")
_ANY_WITH_SUFFIX = re.compile(rb"\*\+[a-z0-9!#$&^_.-]+")


class NotCompressed(enum.Enum):
    """Why a response is passed on as it came, whatever the client accepts. Vary is left alone then."""

    STATUS = "status"  # RFC 9110 §6.4.1: no content, or not a representation of the target
    RANGE = "range"  # §14.4: a part of the coded representation is not the coded part
    ENCODED = "encoded"  # §8.4: the app has chosen a coding itself
    NO_TRANSFORM = "no-transform"  # RFC 9111 §5.2.2.6
    TYPE = "type"  # not listed: images, video, archives are compressed already
    SMALL = "small"  # would not save a packet


@dataclass(frozen=True, slots=True)
class Plan:
    """An eligible response: it varies by Accept-Encoding, also where the choice fell on `identity`."""

    coding: bytes
    word: str
    """The word of the step `compress`."""
    held: bool = False
    """An event stream, which may stay open for hours: the coder should hold little memory."""


class Types:
    """A list of media types: `text/html`, `text/*`, `*+json`. ValueError for another pattern."""

    __slots__ = ("_exact", "_prefixes", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact, prefixes, suffixes = set(), [], []
        for pattern in patterns:
            raw = pattern.strip().lower().encode("latin-1", "replace")
            if _ANY_SUBTYPE.fullmatch(raw):
                prefixes.append(raw[:-1])
            elif _ANY_WITH_SUFFIX.fullmatch(raw):
                suffixes.append(raw[1:])
            elif _MEDIA_TYPE.fullmatch(raw):
                exact.add(raw)
            else:
                raise ValueError(repr(pattern))
        self._exact, self._prefixes, self._suffixes = frozenset(exact), tuple(prefixes), tuple(suffixes)

    def lists(self, content_type: bytes) -> bool:
        media = content_type.partition(b";")[0].strip().lower()
        return media in self._exact or media.startswith(self._prefixes) or media.endswith(self._suffixes)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one proxy compresses. `codings` in the server's order of preference, `minimum` in bytes."""

    codings: Sequence[bytes]
    minimum: int
    types: Types = field(repr=False)


_WITHOUT_CONTENT = frozenset({101, 204, 205, 304})
_IDENTITY = Plan(IDENTITY, "identity")
_ASKED_NOT_TO = Plan(IDENTITY, "no-transform")


def plan(request: Request, response: Response, policy: Policy) -> Plan | NotCompressed:
    """Decide over the two heads. The commonest refusals come first: most responses of an app are small or images."""
    status = response.status
    if status in _WITHOUT_CONTENT or status < 200 or request.method == b"CONNECT":
        return NotCompressed.STATUS
    if status == 206:
        return NotCompressed.RANGE
    fields = dict(response.fields)
    content_type = fields.get(b"content-type")
    if content_type is None or not policy.types.lists(content_type):
        return NotCompressed.TYPE
    if (length := fields.get(b"content-length")) is not None:
        # RFC 9110 §8.6: also what a GET would have had, in the response to HEAD
        if int(length) < policy.minimum:
            return NotCompressed.SMALL
    elif request.method != b"HEAD" and isinstance(response.body, bytes) and len(response.body) < policy.minimum:
        return NotCompressed.SMALL
    if b"content-encoding" in fields:
        return NotCompressed.ENCODED
    if b"content-range" in fields:
        return NotCompressed.RANGE
    if b"cache-control" in fields and _forbids(_whole(response.fields, fields, b"cache-control")):
        return NotCompressed.NO_TRANSFORM
    return _chosen(request, policy, held=content_type[:17].lower() == b"text/event-stream")


def _chosen(request: Request, policy: Policy, *, held: bool = False) -> Plan:
    fields = dict(request.fields)
    if b"cache-control" in fields and _forbids(_whole(request.fields, fields, b"cache-control")):
        return _ASKED_NOT_TO  # RFC 9111 §5.2.1.6: the client may ask for it as well
    if b"accept-encoding" not in fields:
        return _IDENTITY
    # RFC 9110 §12.5.3: where nothing is acceptable, not even identity, identity is sent all the same
    chosen = coding(_whole(request.fields, fields, b"accept-encoding"), policy.codings) or IDENTITY
    if chosen == IDENTITY:
        return _IDENTITY
    return Plan(chosen, "head" if request.method == b"HEAD" else chosen.decode("ascii"), held)


def _whole(lines: Fields, fields: dict[bytes, bytes], name: bytes) -> bytes:
    """All lines of a field that is there; `fields` has the last one, which is all where no name repeats."""
    return fields[name] if len(fields) == len(lines) else combined(lines, name) or b""


def _forbids(value: bytes) -> bool:
    return b"no-transform" in value.lower() and cache_control.parse(value).no_transform


# What the fields say afterwards.

OF_THE_OTHER_CODING = frozenset(
    {
        b"content-length",  # the new length is not known yet; the engine frames what it gets
        b"accept-ranges",  # §14.3: the app would take ranges of another representation
        b"content-digest",  # RFC 9530 §2: of the content as it was coded
        b"repr-digest",  # RFC 9530 §3: of the representation, coding included
        b"digest",  # RFC 3230, replaced by RFC 9530
        b"content-md5",  # RFC 1864
    }
)
"""Fields that say something of the representation as the app sent it, and are wrong for the coded one."""


def coded(fields: Fields, chosen: bytes) -> Fields:
    """The fields of the representation in `chosen`."""
    kept = [
        (name, weak(value)) if name == b"etag" else (name, value)
        for name, value in fields
        if name not in OF_THE_OTHER_CODING
    ]
    kept.append((b"content-encoding", chosen))
    return varying(kept)


def varying(fields: Fields) -> Fields:
    """With Accept-Encoding in Vary (RFC 9110 §12.5.5); the lines of an existing Vary become one."""
    existing = combined(fields, b"vary")
    if existing is None:
        return [*fields, (b"vary", b"Accept-Encoding")]
    members = [member.strip().lower() for member in existing.split(b",")]
    if b"*" in members or b"accept-encoding" in members:
        return fields
    merged = b", ".join(part for part in (existing.strip(b" \t,"), b"Accept-Encoding") if part)
    return [*(pair for pair in fields if pair[0] != b"vary"), (b"vary", merged)]


def weak(etag: bytes) -> bytes:
    """RFC 9110 §8.8.3.3: a strong tag must differ between codings; equal only in meaning is what weak tags say.

    The app sees the weak tag again in If-None-Match, which compares weakly (§13.1.2), so revalidation still works;
    in If-Match and If-Range it never matches (§13.1.1, §13.1.5), which is right: those are about the exact bytes.
    """
    return b"W/" + etag if etag.startswith(b'"') else etag


def revalidated(request: Request, response: Response, policy: Policy) -> Fields | None:
    """The fields of a 304 that is about a response this proxy has compressed; None: leave them.

    RFC 9110 §15.4.5: a 304 carries the ETag and Vary that the 200 would have. With the app's strong tag a cache may
    not freshen what it stored under our weak one (RFC 9111 §4.3.4), and would fetch the whole response again.
    """
    etag = get(response.fields, b"etag")
    if etag is None or not etag.startswith(b'"'):
        return None
    held = entity_tags(combined(request.fields, b"if-none-match") or b"")
    if held is None or weak(etag) not in held:
        return None
    if _chosen(request, policy).coding == IDENTITY:
        return None
    return varying([(name, weak(value)) if name == b"etag" else (name, value) for name, value in response.fields])
