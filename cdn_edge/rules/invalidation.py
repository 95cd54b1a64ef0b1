"""Which stored responses an unsafe request makes invalid (RFC 9111 §4.4)."""

from __future__ import annotations

from typing import Final

from cdn_edge.rules.key import Keying
from stack.http.message import Fields, get

_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PRI", b"PROPFIND", b"QUERY", b"REPORT", b"SEARCH"})
"""Safe by their registration (RFC 9110 §16.1.1). What is not known to be safe is not."""


def invalidated(method: bytes, key: bytes, status: int, fields: Fields, keying: Keying) -> tuple[bytes, ...]:
    """Keys: of the target, and of what Location and Content-Location name of the same origin. None after an error.

    `key` is the target's as `Keying.exact` has it, and so are these: `Keying.invalid` says what is to go for each.
    """
    if method in _SAFE or not 200 <= status < 400:
        return ()
    found = [key]
    for name in (b"location", b"content-location"):
        reference = get(fields, name)
        if reference is not None and (other := keying.same_origin(key, reference)) is not None and other not in found:
            found.append(other)
    return tuple(found)
