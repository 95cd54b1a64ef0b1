"""What is said of a static file: its type, its tag, how long it keeps, and which of its codings is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stack.http.negotiation import coding

DEFAULT_TYPE = b"application/octet-stream"

TYPES: Mapping[str, bytes] = {
    "aac": b"audio/aac",
    "apng": b"image/apng",
    "atom": b"application/atom+xml",
    "avif": b"image/avif",
    "bmp": b"image/bmp",
    "css": b"text/css; charset=utf-8",
    "csv": b"text/csv; charset=utf-8",
    "epub": b"application/epub+zip",
    "flac": b"audio/flac",
    "gif": b"image/gif",
    "gz": b"application/gzip",
    "htm": b"text/html; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "ico": b"image/vnd.microsoft.icon",
    "ics": b"text/calendar; charset=utf-8",
    "jpeg": b"image/jpeg",
    "jpg": b"image/jpeg",
    "js": b"text/javascript; charset=utf-8",  # RFC 9239 §6
    "json": b"application/json",  # RFC 8259 §11: no charset parameter
    "jsonld": b"application/ld+json",
    "jxl": b"image/jxl",
    "m3u8": b"application/vnd.apple.mpegurl",
    "map": b"application/json",
    "md": b"text/markdown; charset=utf-8",
    "mjs": b"text/javascript; charset=utf-8",
    "mp3": b"audio/mpeg",
    "mp4": b"video/mp4",
    "oga": b"audio/ogg",
    "ogg": b"audio/ogg",
    "ogv": b"video/ogg",
    "opus": b"audio/ogg",
    "otf": b"font/otf",
    "pdf": b"application/pdf",
    "png": b"image/png",
    "rss": b"application/rss+xml",
    "svg": b"image/svg+xml",
    "tar": b"application/x-tar",
    "ttf": b"font/ttf",
    "txt": b"text/plain; charset=utf-8",
    "vtt": b"text/vtt; charset=utf-8",
    "wasm": b"application/wasm",
    "wav": b"audio/wav",
    "webm": b"video/webm",
    "webmanifest": b"application/manifest+json",
    "webp": b"image/webp",
    "woff": b"font/woff",
    "woff2": b"font/woff2",
    "xhtml": b"application/xhtml+xml",
    "xml": b"application/xml",
    "zip": b"application/zip",
    "zst": b"application/zstd",
}
"""By suffix. Our own table: `mimetypes` reads the machine's files, and a type must not depend on the machine."""


def content_type(name: str) -> bytes:
    """The media type by the name's last suffix. Sent with nosniff, so an unknown type stays unknown."""
    return TYPES.get(name.rpartition(".")[2].lower(), DEFAULT_TYPE)


SIBLINGS: Mapping[bytes, str] = {b"br": ".br", b"zstd": ".zst", b"gzip": ".gz"}
"""Suffixes of files compressed beforehand. In order of size: made once and at leisure, br at its best level wins."""

_SIBLING_CODINGS: Sequence[bytes] = tuple(SIBLINGS)


def sibling_codings(accept_encoding: bytes | None) -> list[bytes]:
    """The codings to look for beside a file, best first; empty where the client prefers identity."""
    left = list(_SIBLING_CODINGS)
    found = []
    while left and (best := coding(accept_encoding, left)) is not None and best in left:
        found.append(best)
        left.remove(best)
    return found


_HASHED = re.compile(
    r"[.-](?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}\.[A-Za-z0-9]{1,12}(?:\.[A-Za-z0-9]{1,12})?"
)

IMMUTABLE = b"public, max-age=31536000, immutable"
"""RFC 8246: a name with a hash of its content never means anything else."""


def is_hashed(name: str) -> bool:
    """`site.3f2a9c1b.css`, `app-0123456789abcdef.js.map`. Letters and digits both, so that a date is not a hash."""
    return (match := _HASHED.search(name)) is not None and match.end() == len(name)


def cache_control(name: str, max_age: int) -> bytes:
    """`max_age` in seconds, for names that may change their content."""
    return IMMUTABLE if is_hashed(name) else b"public, max-age=%d" % max_age


def etag(mtime_ns: int, size: int, coding: bytes | None = None) -> bytes:
    """A strong tag, one for each coding (RFC 9110 §8.8.3.3). Nanoseconds: a file saved twice in a second differs."""
    suffix = b"-" + coding if coding is not None else b""
    return b'"%x-%x%b"' % (mtime_ns, size, suffix)


STALE_AFTER_NS = 2_000_000_000


def is_current(sibling_mtime_ns: int, mtime_ns: int) -> bool:
    """Whether a file compressed beforehand still belongs to its original.

    One that is clearly older was made from what the original used to be. Unpacking writes both within moments and in
    any order, hence the two seconds.
    """
    return sibling_mtime_ns >= mtime_ns - STALE_AFTER_NS
