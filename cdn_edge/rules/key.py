"""What a stored response is found by: scheme, host, path and query (RFC 9111 §2, §4)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin

_DEFAULT_PORT: Final = {b"http": b":80", b"https": b":443"}


def key(scheme: bytes, authority: bytes, target: bytes) -> bytes:
    """`https://shop.test/products?page=2`: host in lower case, without the scheme's own port (RFC 3986 §6.2).

    Path and query stay as they came: what the origin takes for the same, only the origin knows.
    """
    host = authority.lower()
    if host.endswith((b":80", b":443", b":")):
        host = host.removesuffix(b":").removesuffix(_DEFAULT_PORT[scheme])
    return b"%b://%b%b" % (scheme, host, target)


def key_of_url(url: str) -> bytes:
    """The key that a request for `url` has. ValueError as of `parts_of_url`."""
    return key(*parts_of_url(url))


def parts_of_url(url: str) -> tuple[bytes, bytes, bytes]:
    """Scheme, authority and target of a request for `url`. ValueError, with the remedy, for no absolute http(s) URL."""
    scheme, mark, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is no absolute URL; write it as https://host/path")
    rest = rest.partition("#")[0]
    end = min(at if (at := rest.find(mark)) >= 0 else len(rest) for mark in "/?")
    authority, target = rest[:end].rpartition("@")[2], rest[end:]
    if not authority or any(ord(char) <= 0x20 for char in rest):
        raise ValueError(f"{url!r} has no host, or blanks; write it as https://host/path")
    if not target.startswith("/"):
        target = "/" + target
    try:
        return scheme.encode(), authority.encode("ascii"), target.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(f"{url!r} is not ASCII; percent-encode the path, and write the host as xn--") from None


def origin(key: bytes) -> bytes:
    """The part of a key that says whose it is: `https://shop.test` (RFC 6454 §4)."""
    return key[: key.index(b"/", key.index(b"://") + 3)]


def page(key: bytes) -> bytes:
    """Host and target of a key, without scheme and port: `shop.test/a`, `[::1]/a`."""
    authority, slash, target = key.partition(b"://")[2].partition(b"/")
    host, colon, port = authority.rpartition(b":")
    return b"%b%b%b" % (host if colon and port.isdigit() else authority, slash, target)


def same_origin(base: bytes, reference: bytes) -> bytes | None:
    """The key that a Location or Content-Location names, if it is of the same origin as `base`, itself a key."""
    try:
        found = key_of_url(urljoin(base.decode("latin-1"), reference.decode("latin-1")))
    except ValueError:
        return None
    return found if origin(found) == origin(base) else None
