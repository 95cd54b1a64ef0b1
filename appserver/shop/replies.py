"""How the shop answers: what may be cached and for how long, validators, and the fields of every response."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from stack.http.conditional import Condition, evaluate
from stack.http.dates import http_date

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

# Who may keep an answer. A browser asks again each time (max-age=0) and mostly hears 304; an edge keeps it for a while.
PAGE: Final = "public, max-age=0, s-maxage=60, stale-while-revalidate=30"
SEARCH: Final = "public, max-age=0, s-maxage=10"
API: Final = "public, max-age=0, s-maxage=30"
MISSING: Final = "public, max-age=0, s-maxage=10"
SESSION: Final = "private, no-store"
NEVER: Final = "no-store"
DAY: Final = "public, max-age=86400"
FOREVER: Final = "public, max-age=31536000, immutable"

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
ALWAYS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Fields of every response of the shop."""


def reply(
    body: bytes, content_type: str, policy: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer without validators: what is not to be kept, and errors."""
    fields = {"Content-Type": content_type, "Cache-Control": policy, **(headers or {})}
    return web.Response(status=status, body=body, headers=fields)


def publish(
    request: web.Request, body: bytes, content_type: str, policy: str, *, modified: int | None, now: float
) -> web.Response:
    """An answer that caches keep, in full or as 304 or 412 (RFC 9110 §13).

    The tag is strong: it is made from the very bytes, and nothing in them tells which instance rendered them or for
    whom. `modified` and `now` in Unix seconds.
    """
    etag = b'"%b"' % hashlib.blake2b(body, digest_size=8).hexdigest().encode()
    # RFC 9110 §8.8.2.1: never later than the message itself
    since = None if modified is None else http_date(min(modified, now))
    fields = {"Cache-Control": policy, "ETag": etag.decode()}
    if since is not None:
        fields["Last-Modified"] = since.decode()
    asked = [(name.lower(), value) for name, value in request.raw_headers]
    condition = evaluate(request.method.encode(), asked, etag=etag, last_modified=since, now=now)
    if condition is Condition.NOT_MODIFIED:
        return web.Response(status=304, headers=fields)
    if condition is Condition.FAILED:
        return web.Response(status=412, headers={"Cache-Control": NEVER, "ETag": fields["ETag"]})
    return web.Response(body=body, headers={"Content-Type": content_type, **fields})


def see_other(path: str) -> web.Response:
    """After a form: the browser fetches `path`, and reloading that does not send the form again."""
    return web.Response(status=303, headers={"Location": path, "Cache-Control": SESSION})


def json(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def problem(status: int, title: str, detail: str = "", **more: Any) -> bytes:
    """A problem document (RFC 9457)."""
    document = {"type": "about:blank", "title": title, "status": status}
    if detail:
        document["detail"] = detail
    return json({**document, **more})
