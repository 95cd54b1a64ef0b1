"""Asking the origin whether a stored response still holds, and taking its answer in (RFC 9111 §4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from stack.http.conditional import is_entity_tag, strong_match, weak_match
from stack.http.dates import parse_http_date
from stack.http.message import Fields, combined, get
from stack.http.negotiation import coding

T = TypeVar("T")

_NOT_UPDATED: Final = frozenset({b"content-length", b"content-encoding", b"content-range", b"transfer-encoding"})
"""§3.2: they describe the content as it was stored, which a 304 or HEAD does not bring."""
_ALWAYS_NEW: Final = frozenset({b"cache-status", b"via"})
"""They tell of the way of the response that brings them: an old one does not stay when the new one has none."""


def conditions(stored: Fields, now: float) -> Fields:
    """§4.3.1: what to add to a request, so that it asks for news of the stored response. Empty without a validator."""
    added: Fields = []
    etag = get(stored, b"etag")
    if etag is not None and is_entity_tag(etag):
        added.append((b"if-none-match", etag))
    modified = get(stored, b"last-modified")
    if modified is not None and parse_http_date(modified, now) is not None:
        added.append((b"if-modified-since", modified))
    return added


def offered(stored: Fields, request: Fields) -> bytes | None:
    """The strong validator of a variant that was stored for other request fields, where it may do for these.

    A weak one is said of several codings alike, so that a 304 to it could mean another; and some origins say a strong
    one of them all, so that what this client could not decode is not offered.
    """
    tag = get(stored, b"etag")
    if tag is None or tag[:1] != b'"' or not is_entity_tag(tag):
        return None
    coded = get(stored, b"content-encoding")
    if coded is not None and coding(combined(request, b"accept-encoding"), [coded.lower()]) != coded.lower():
        return None
    return tag


def chosen(fresh: Fields, others: Mapping[bytes, T]) -> T | None:
    """§4.3.4: which of other variants a 304 with the fields `fresh` speaks of, by its strong validator."""
    tag = get(fresh, b"etag")
    return None if tag is None else others.get(tag)


def same_representation(stored: Fields, fresh: Fields) -> bool:
    """§4.3.4: whether the 304 with the fields `fresh` speaks of this stored response.

    A 304 without a validator can only mean the one response that was asked about.
    """
    new, old = get(fresh, b"etag"), get(stored, b"etag")
    if new is not None:
        if old is None:
            return False
        return (
            weak_match(new, old)
            if new.startswith(b"W/") or old.startswith(b"W/")
            else strong_match(new, old) or new == old
        )
    modified = get(fresh, b"last-modified")
    return modified is None or get(stored, b"last-modified") in (None, modified)


def same_as_head(stored: Fields, head: Fields) -> bool:
    """§4.3.5: whether a 200 to HEAD is of the stored response: validators and length do not differ."""
    for name in (b"etag", b"last-modified", b"content-length"):
        new = get(head, name)
        if new is not None and (old := get(stored, name)) is not None and new != old:
            return False
    return same_representation(stored, head)


def freshened(stored: Fields, fresh: Fields) -> Fields:
    """§3.2: fields of the new response take the place of all stored ones of their name; the others stay."""
    update = [field for field in fresh if field[0] not in _NOT_UPDATED]
    replaced = {name for name, _ in update} | _ALWAYS_NEW
    return [field for field in stored if field[0] not in replaced] + update
