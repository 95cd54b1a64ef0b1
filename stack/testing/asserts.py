"""Assertions that say what happened instead. `assert r.cache.hit` explains itself as well."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, overload

from stack.testing.client import Client
from stack.testing.leaks import is_copy, leaks, proven
from stack.testing.response import Response
from stack.testing.sync import SyncClient, SyncStreamed


def assert_cached(r: Response, *, stale: bool = False) -> None:
    """It came from the edge's cache. `stale`: past its freshness is good as well."""
    __tracebackhide__ = True
    _check(r)
    if not (r.cache.hit or (stale and r.cache.stale)):
        remedy = f"\n  {r.cache.remedy}" if r.cache.remedy else ""
        raise AssertionError(f"{r.method} {r.url} was not answered from the cache: {r.cache!r}{_stored(r)}{remedy}")


def assert_miss(r: Response, *, reason: str | None = None) -> None:
    """The origin was asked. `reason`: a word of RFC 9211 §2.2, as uri-miss, vary-miss, method, request, stale."""
    __tracebackhide__ = True
    _check(r)
    if not r.cache.miss:
        raise AssertionError(f"{r.method} {r.url} was no miss: {r.cache!r}")
    if reason is not None and r.cache.reason != reason:
        raise AssertionError(f"{r.method} {r.url} was a miss for {r.cache.reason!r}, not {reason!r}: {r.cache!r}")


def assert_served_by(r: Response, backend: str) -> None:
    """This app instance answered."""
    __tracebackhide__ = True
    _check(r)
    if r.backend != backend:
        by = r.backend or f"no backend: {r.cache!r}"
        raise AssertionError(f"{r.method} {r.url} was served by {by}, not {backend}")


@overload
def assert_no_leak(a: Response, b: Response, *, secrets: Sequence[str] = ()) -> None: ...
@overload
def assert_no_leak(
    a: Client, b: Client, page: str | Callable[[Client], Awaitable[Response]], *, secrets: Sequence[str] = ()
) -> Coroutine[Any, Any, None]: ...
@overload
def assert_no_leak(
    a: SyncClient, b: SyncClient, page: str | Callable[[SyncClient], Response], *, secrets: Sequence[str] = ()
) -> None: ...


def assert_no_leak(
    a: Any, b: Any, page: Any = None, *, secrets: Sequence[str] = ()
) -> Coroutine[Any, Any, None] | None:
    """`b`, asked by somebody else, has nothing of `a`'s: no cookie, no credentials, none of `secrets`, no copy.

    Of two responses: one that one user got and another gets from a cache is a leak where it was personal, as it says
    itself: by Set-Cookie, `Vary: Cookie`, `private`, or by one of `secrets` in it.

    Of two users (`web.client()`) and a page, to be awaited: both ask for it, and where the second is given a copy both
    ask once more without the cache. A copy that differs from what the second user gets alone was another's, whatever
    the page says. `page`: a path, or what asks for it: `lambda user: user.get("/search", params={"q": "me"})`.
    """
    __tracebackhide__ = True
    secrets = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    if not all(secrets):
        raise ValueError("secrets has an empty one, and every page has that")
    if page is None:
        _check(a, b)
        _raise(b, leaks(a, b, secrets))
        return None
    if isinstance(a, Client) and isinstance(b, Client):
        return _two_users(a, b, (lambda user: user.get(page)) if isinstance(page, str) else page, secrets)
    if isinstance(a, SyncClient) and isinstance(b, SyncClient):
        a.with_other(b, page, lambda one, other, ask: _two_users(one, other, ask, secrets))
        return None
    raise TypeError(f"a page is for two users, as web.client() makes them, and these are {a!r} and {b!r}")


async def _two_users(
    a: Client, b: Client, ask: Callable[[Client], Awaitable[Response]], secrets: Sequence[str]
) -> None:
    __tracebackhide__ = True

    async def asked(user: Client, *, anew: Response | None = None) -> Response:
        if anew is not None:
            await a.web.purge(anew.url)
        r = await ask(user)
        _check(r)
        return r

    before = await asked(a)
    first = await asked(a, anew=before)
    second = await asked(b)
    if first.edge != second.edge:
        raise ValueError(f"the users went to {first.edge} and {second.edge}, whose caches are apart; let both take one")
    found = leaks(first, second, secrets)
    if not found and is_copy(second):
        alone = await asked(b, anew=second)
        found = proven(first, second, alone, await asked(a, anew=alone))
    _raise(second, found)


def _raise(b: Response, found: Sequence[str]) -> None:
    __tracebackhide__ = True
    if found:
        raise AssertionError(
            f"{b.method} {b.url} gave one user what is another's:\n  - " + "\n  - ".join(found) + f"\n  {b.cache!r}"
        )


def _check(*responses: Any) -> None:
    """TypeError for what is no response: a call that is not awaited, or one of another library's."""
    __tracebackhide__ = True
    for r in responses:
        if inspect.iscoroutine(r):
            r.close()  # or Python warns of it in another place
            raise TypeError("this is a call that was not awaited: write `await web.get(...)`")
        if not isinstance(r, Response | SyncStreamed):
            hint = "; two users need a page: assert_no_leak(a, b, page)" if isinstance(r, Client | SyncClient) else ""
            raise TypeError(f"wanted what web.get() gives, and this is a {type(r).__module__}.{type(r).__name__}{hint}")


def _stored(r: Response) -> str:
    """What the response itself says about keeping it."""
    said = [f"{name}: {r.headers[name]}" for name in ("cache-control", "vary", "set-cookie") if name in r.headers]
    return "; it says " + "; ".join(said) if said else "; it says nothing about caching"
