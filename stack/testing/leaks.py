"""Whether what one user got is another's: by what both say of themselves, or by asking again without the cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from stack.http.structured import string
from stack.testing.response import Response

_SHORTEST: Final = 6
"""Characters of a value that are taken for somebody's own: shorter ones are found anywhere."""
_OF_HOPS: Final = frozenset({"x-request-id", "server-timing", "age", "date", "cache-status", "x-cache", "via"})


def leaks(a: Response, b: Response, secrets: Sequence[str] = ()) -> list[str]:
    """Each in a line."""
    found: list[str] = []
    cookies = {_pair(line) for line in a.headers.all("set-cookie")}
    for line in b.headers.all("set-cookie"):
        name, value = _pair(line)
        if (name, value) in cookies and len(value) >= _SHORTEST:
            found.append(f"the cookie {name}={value} was set for the other user")
    own = [value for value in [*(value for _, value in cookies), *_credentials(a)] if len(value) >= _SHORTEST]
    theirs = set(_credentials(b))
    for secret in dict.fromkeys([*secrets, *(value for value in own if value not in theirs)]):
        where = [name for name in b.headers if name not in (*_OF_HOPS, "set-cookie") and secret in b.headers[name]]
        if secret.encode() in b.body:
            found.append(f"{string(secret)} is the other user's, and stands in the content")
        found += [f"{string(secret)} is the other user's, and stands in {name}" for name in where]
    if not found and is_copy(b) and _is_personal(a, secrets) and a.body == b.body and a.body:
        found.append(_made_for_another(b))
    return found


def proven(a: Response, b: Response, b_alone: Response, a_alone: Response) -> list[str]:
    """What asking again without the cache says: `b` got what `a` gets, and alone gets something else.

    Nothing where `a` alone gets one thing now and another then: a page that has the time in it tells users not apart.
    """
    told_apart = a.body == a_alone.body != b_alone.body
    return [_made_for_another(b)] if told_apart and is_copy(b) and b.body == a.body else []


def is_copy(r: Response) -> bool:
    """Whether it came out of the cache."""
    return r.cache.hit or r.cache.stale or r.cache.revalidated


def _made_for_another(b: Response) -> str:
    return f"the content of {len(b.body)} bytes was made for the other user, and came from the shared cache"


def _is_personal(a: Response, secrets: Sequence[str]) -> bool:
    """Whether the app knew whom it answered and said so: by a cookie, or by what it was asked with."""
    if a.headers.all("set-cookie") or any(secret.encode() in a.body for secret in secrets):
        return True
    private = re.search(r"\b(private|no-store)\b", a.headers.get("cache-control", ""))
    varies = {name.strip().lower() for name in a.headers.get("vary", "").split(",")}
    return private is not None or bool(varies & {"cookie", "authorization"})


def _credentials(r: Response) -> list[str]:
    """What this user was known by: values of cookies, and the credentials of Authorization without their scheme."""
    cookies = [_pair(part)[1] for part in r.sent.get("cookie", "").split(";") if "=" in part]
    return [*cookies, r.sent.get("authorization", "").partition(" ")[2].strip()]


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(";")[0].partition("=")
    return name.strip(), value.strip()
