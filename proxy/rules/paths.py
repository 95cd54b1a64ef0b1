"""From a request's path to names below the static root. Whatever could name anything else is refused."""

from __future__ import annotations

import enum
import re
from typing import Final

_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


class NotServed(enum.Enum):
    """Answered 404 either way, so that nobody learns what exists; the log has the word of the step `serve`."""

    MISSING = "not-found"
    FORBIDDEN = "forbidden"


INDEX: Final = "index.html"
"""What represents a directory, whose path ends in a slash."""
_WELL_KNOWN: Final = b".well-known"
"""RFC 8615 §3: of the site's root alone, and public by its very purpose."""


def names(path: bytes, prefix: bytes) -> tuple[str, ...] | NotServed:
    """The path's segments behind `prefix`, decoded once (RFC 3986 §2.4: never twice); of a directory, its index.

    Refused: dot segments in any spelling (§3.3; nobody downstream was asked to resolve them), an encoded slash, a
    backslash, control characters, empty segments, broken percent-encoding, invalid UTF-8, and every name that starts
    with a dot (.git, .env) but /.well-known/.
    """
    rest = path[len(prefix) :]
    if not rest or rest.endswith(b"/"):
        rest += INDEX.encode("ascii")
    out = []
    for number, segment in enumerate(rest.split(b"/")):
        if b"%" in segment:
            if segment.count(b"%") != len(_ENCODED.findall(segment)):
                return NotServed.FORBIDDEN
            segment = _ENCODED.sub(_octet, segment)
        hidden = segment.startswith(b".") and not (segment == _WELL_KNOWN and not number and prefix == b"/")
        if not segment or hidden or b"/" in segment or b"\\" in segment:
            return NotServed.FORBIDDEN
        try:
            name = segment.decode("utf-8")
        except UnicodeDecodeError:
            return NotServed.FORBIDDEN
        if not name.isprintable():
            return NotServed.FORBIDDEN
        out.append(name)
    return tuple(out)


def _octet(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))
