"""What a stored response is found by: scheme, host, path and query (RFC 9111 §2, §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urljoin

from cdn_edge.rules.query import patterns, reduced
from cdn_edge.rules.search import Learned, variance
from cdn_edge.rules.vary import COOKIE, FORWARDED, Names
from stack.http.fields import TOKEN
from stack.http.h1 import valid_authority
from stack.http.message import Fields

_DEFAULT_PORT: Final = {b"http": b":80", b"https": b":443"}


def key(scheme: bytes, authority: bytes, target: bytes) -> bytes:
    """`https://shop.test/products?page=2`: host in lower case, without the scheme's own port (RFC 3986 §6.2).

    Path and query stay as they came: what the origin takes for the same, only the origin knows.
    """
    host = authority.lower()
    if host.endswith((b":80", b":443", b":")):
        host = host.removesuffix(b":").removesuffix(_DEFAULT_PORT[scheme])
    return b"%b://%b%b" % (scheme, host, target)


def host(scheme: bytes, authority: bytes) -> bytes:
    """The host as it stands in the key."""
    return key(scheme, authority, b"")[len(scheme) + 3 :]


class Keying:
    """The key as the operator wants it. What a request, a purge and an invalidation make of one URL is the same.

    ValueError for names that cannot be.
    """

    def __init__(
        self,
        *,
        sort_query: bool = False,
        ignore_query: Iterable[str] = (),
        only_query: Iterable[str] = (),
        headers: Iterable[str] = (),
        cookies: Iterable[str] = (),
        proxies: bool = False,
        learned: Learned | None = None,
    ) -> None:
        """`proxies`: some peers' word about a request is believed, and passed on.

        `learned`: what responses say of their queries is obeyed (No-Vary-Search), and remembered there."""
        self._sort = sort_query
        self._ignore, self._only = patterns(ignore_query), patterns(only_query)
        self.exact: Callable[[bytes, bytes, bytes], bytes] = key
        """The key of scheme, authority and target, whatever responses said."""
        if sort_query or self._ignore is not None or self._only is not None:
            self.exact = self._with_reduced_query
        self.of = self.exact
        """The key of scheme, authority and target. To be asked for anew each time: it is another once something is
        learned, and costs nothing before."""
        self.learned = learned
        told = {_token(name, "header").lower() for name in headers} | {_cookie(name) for name in cookies}
        self.names: Names = tuple(sorted(told | {FORWARDED} if proxies else told))
        """What tells stored responses of one key apart besides what their Vary names."""

    def _with_reduced_query(self, scheme: bytes, authority: bytes, target: bytes) -> bytes:
        path, mark, query = target.partition(b"?")
        if mark:
            left = reduced(query, ignore=self._ignore, only=self._only, sort=self._sort)
            target = path if left is None else b"%b?%b" % (path, left)
        return key(scheme, authority, target)

    @property
    def changes(self) -> int:
        """How many invalidations there were, where that matters."""
        return 0 if self.learned is None else self.learned.now

    def learn(self, exact: bytes, fields: Fields) -> bytes:
        """The key that a response with these fields is stored under. `exact` is that of its request."""
        if self.learned is None:
            return exact
        said = variance(fields)
        if said is None and not self.learned:
            return exact
        self.of = self._as_learned
        return self.learned.learn(exact, said)

    def _as_learned(self, scheme: bytes, authority: bytes, target: bytes) -> bytes:
        assert self.learned is not None
        return self.learned.key(self.exact(scheme, authority, target))

    def invalid(self, exact: bytes) -> tuple[bytes, ...]:
        """The keys of what is not valid any more once this URL is not: what was stored before a change of keys, too."""
        if self.learned is None:
            return (exact,)
        self.learned.touch(exact)
        found = self.learned.key(exact)
        return (exact,) if found == exact else (found, exact)

    def of_url(self, url: str) -> bytes:
        """`exact` for an absolute URL. ValueError, with the remedy, for what is none of http(s)."""
        return self.exact(*parts_of_url(url))

    def same_origin(self, base: bytes, reference: bytes) -> bytes | None:
        """What a Location or Content-Location names, if it is of the origin of `base`; both as `exact` has them."""
        try:
            found = self.of_url(urljoin(base.decode("latin-1"), reference.decode("latin-1")))
        except ValueError:
            return None
        return found if origin(found) == origin(base) else None


def parts_of_url(url: str) -> tuple[bytes, bytes, bytes]:
    """Scheme, authority and target of a request for `url`. ValueError, with the remedy, for what has none."""
    scheme, mark, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is no http or https URL; write it as https://host/path")
    rest = rest.partition("#")[0]
    end = min(at if (at := rest.find(mark)) >= 0 else len(rest) for mark in "/?")
    authority, target = rest[:end].rpartition("@")[2], rest[end:]
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in rest):
        raise ValueError(f"{url!r} has blanks, as no URL has; write them as %20")
    if not authority:
        raise ValueError(f"{url!r} has no host; write it as https://host/path")
    if authority.isascii() and not valid_authority(authority.encode()):
        raise ValueError(f"{url!r} has no host that a request could name; write it as https://host:port/path")
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


def _token(name: str, kind: str) -> bytes:
    text = name.encode("latin-1", "replace")
    if TOKEN.fullmatch(text) is None or text == b"*":
        raise ValueError(f"{name!r} is no name of a {kind} that could be in the key")
    return text


def _cookie(name: str) -> bytes:
    return COOKIE + _token(name, "cookie")  # names of cookies have case (RFC 6265 §5.4)
