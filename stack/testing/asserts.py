"""Assertions that say what happened instead. `assert r.cache.hit` explains itself as well."""

from __future__ import annotations

import re
from typing import Final

from stack.http.structured import string
from stack.testing.response import Response

_SHORTEST: Final = 6
"""Characters of a value that are taken for somebody's own: shorter ones are found anywhere."""
_OF_HOPS: Final = frozenset({"x-request-id", "server-timing", "age", "date", "cache-status", "x-cache", "via"})


def assert_cached(r: Response, *, stale: bool = False) -> None:
    """It came from the edge's cache. `stale`: past its freshness is good as well."""
    __tracebackhide__ = True
    if not (r.cache.hit or (stale and r.cache.stale)):
        raise AssertionError(f"{r.method} {r.url} was not answered from the cache: {r.cache!r}{_stored(r)}")


def assert_miss(r: Response, *, reason: str | None = None) -> None:
    """The origin was asked. `reason`: a word of RFC 9211 §2.2, as uri-miss, vary-miss, method, request, stale."""
    __tracebackhide__ = True
    if not r.cache.miss:
        raise AssertionError(f"{r.method} {r.url} was no miss: {r.cache!r}")
    if reason is not None and r.cache.reason != reason:
        raise AssertionError(f"{r.method} {r.url} was a miss for {r.cache.reason!r}, not {reason!r}: {r.cache!r}")


def assert_served_by(r: Response, backend: str) -> None:
    """This app instance answered."""
    __tracebackhide__ = True
    if r.backend != backend:
        by = r.backend or f"no backend: {r.cache!r}"
        raise AssertionError(f"{r.method} {r.url} was served by {by}, not {backend}")


def assert_no_leak(a: Response, b: Response, *, secrets: tuple[str, ...] = ()) -> None:
    """`b`, asked by somebody else, has nothing of `a`'s: no cookie, no session's value, none of `secrets`, no copy.

    A response that one user got and another gets from a cache is a leak where it was personal: where it answers to a
    Cookie or an Authorization, sets a cookie, or contains one of `secrets`.
    """
    __tracebackhide__ = True
    found = leaks(a, b, secrets)
    if found:
        raise AssertionError(
            f"{b.method} {b.url} gave one user what is another's:\n  - " + "\n  - ".join(found) + f"\n  {b.cache!r}"
        )


def leaks(a: Response, b: Response, secrets: tuple[str, ...] = ()) -> list[str]:
    """Each in a line."""
    found: list[str] = []
    cookies = {_pair(line) for line in a.headers.all("set-cookie")}
    for line in b.headers.all("set-cookie"):
        name, value = _pair(line)
        if (name, value) in cookies and len(value) >= _SHORTEST:
            found.append(f"the cookie {name}={value} was set for the other user")
    own = [value for _, value in cookies | _sent_cookies(a) if len(value) >= _SHORTEST]
    theirs = {value for _, value in _sent_cookies(b)}
    for secret in dict.fromkeys([*secrets, *(value for value in own if value not in theirs)]):
        where = [name for name in b.headers if name not in (*_OF_HOPS, "set-cookie") and secret in b.headers[name]]
        if secret.encode() in b.body:
            found.append(f"{string(secret)} is the other user's, and stands in the content")
        found += [f"{string(secret)} is the other user's, and stands in {name}" for name in where]
    if not found and (b.cache.hit or b.cache.stale) and _is_personal(a, secrets) and a.body == b.body and a.body:
        found.append(f"the content of {len(b.body)} bytes was made for the other user, and came from the shared cache")
    return found


def _is_personal(a: Response, secrets: tuple[str, ...]) -> bool:
    """Whether the app knew whom it answered and said so: by a cookie, or by what it was asked with."""
    if a.headers.all("set-cookie") or any(secret.encode() in a.body for secret in secrets):
        return True
    private = re.search(r"\b(private|no-store)\b", a.headers.get("cache-control", ""))
    varies = {name.strip().lower() for name in a.headers.get("vary", "").split(",")}
    return private is not None or bool(varies & {"cookie", "authorization"})


def _sent_cookies(r: Response) -> set[tuple[str, str]]:
    return {_pair(part) for part in r.sent.get("cookie", "").split(";") if "=" in part}


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(";")[0].partition("=")
    return name.strip(), value.strip()


def _stored(r: Response) -> str:
    """What the response itself says about keeping it."""
    said = [f"{name}: {r.headers[name]}" for name in ("cache-control", "vary", "set-cookie") if name in r.headers]
    return "; it says " + "; ".join(said) if said else "; it says nothing about caching"
