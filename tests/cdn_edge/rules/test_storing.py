"""RFC 9111 §3."""

from __future__ import annotations

from typing import Any

import pytest

from cdn_edge.rules.asking import read
from cdn_edge.rules.directives import DEFAULT
from cdn_edge.rules.freshness import lifetime
from cdn_edge.rules.storing import kept, refusal
from cdn_edge.rules.vary import names
from stack.http.cache_control import parse
from stack.http.message import get
from tests.cdn_edge.lab import lines

NOW = 1_700_000_000.0
LM = "Last-Modified: Tue, 14 Nov 2023 00:00:00 GMT"

STORED = [
    ("3 max-age", 200, "Cache-Control: max-age=1", ""),
    ("3 s-maxage", 200, "Cache-Control: s-maxage=1", ""),
    ("3 Expires", 200, "Expires: Tue, 14 Nov 2029 00:00:00 GMT", ""),
    ("3 heuristic", 200, LM, ""),
    ("4.3 stale, but with a validator", 200, 'Cache-Control: max-age=0\nETag: "a"', ""),
    ("4.3 no-cache with a validator", 200, 'Cache-Control: no-cache\nETag: "a"', ""),
    ("4.3 nothing but a validator", 200, 'ETag: "a"', ""),
    ("5861 stale, but of use in an outage", 200, "Cache-Control: max-age=0, stale-if-error=60", ""),
    ("5861 stale, but of use meanwhile", 200, "Cache-Control: max-age=0, stale-while-revalidate=60", ""),
    *[(f"3 {status} with explicit freshness", status, "Cache-Control: max-age=1", "")
      for status in (200, 201, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 410, 499, 500, 503, 599)],
    *[(f"9110 15.1 {status} by default", status, LM, "") for status in (203, 204, 300, 301, 308, 404, 405, 410, 414, 501)],
    ("3 public makes any status cacheable", 599, f"Cache-Control: public\n{LM}", ""),
    ("3.5 public", 200, "Cache-Control: max-age=1, public", "Authorization: x"),
    ("3.5 s-maxage", 200, "Cache-Control: s-maxage=1", "Authorization: x"),
    ("3.5 must-revalidate", 200, "Cache-Control: max-age=1, must-revalidate", "Authorization: x"),
    ("5.2.2.3 must-understand overrides no-store", 200, "Cache-Control: max-age=1, no-store, must-understand", ""),
    ("5.2.2.7 private fields", 200, 'Cache-Control: max-age=1, private="x-user"\nX-User: 1', ""),
    ("5.2.2.4 no-cache fields", 200, 'Cache-Control: max-age=1, no-cache="set-cookie"\nSet-Cookie: a=b', ""),
    ("Set-Cookie with public", 200, "Cache-Control: max-age=1, public\nSet-Cookie: a=b", ""),
    ("Set-Cookie with s-maxage", 200, "Cache-Control: s-maxage=1\nSet-Cookie: a=b", ""),
    ("4.1 Vary", 200, "Cache-Control: max-age=1\nVary: a, b", ""),
    ("5.2.1.4 request no-cache may be stored", 200, "Cache-Control: max-age=1", "Cache-Control: no-cache"),
    ("4.2.2 Cookie, but a lifetime", 200, f"Cache-Control: max-age=1\n{LM}", "Cookie: a=b"),
    ("4.2.2 Cookie, a guess, but public", 200, f"Cache-Control: public\n{LM}", "Cookie: a=b"),
    ("4.2.2 Cookie, a guess, but in Vary", 200, f"Vary: Cookie\n{LM}", "Cookie: a=b"),
    ("4.2.2 Cookie, nothing to guess from", 200, 'ETag: "a"', "Cookie: a=b"),
    ("3 Pragma in a response means nothing", 200, "Cache-Control: max-age=1\nPragma: no-cache", ""),
]  # fmt: skip
REFUSED = [
    ("5.2.1.5", 200, "Cache-Control: max-age=1", "Cache-Control: no-store", "request-no-store"),
    ("4.3 304", 304, "Cache-Control: max-age=1", "", "status"),
    ("9110 15.5.13 412", 412, "Cache-Control: max-age=1", "", "status"),
    ("9110 15.5.17 416", 416, "Cache-Control: max-age=1", "", "status"),
    ("5.2.2.5", 200, "Cache-Control: max-age=1, no-store", "", "no-store"),
    ("5.2.2.5 with an argument", 200, 'Cache-Control: max-age=1, no-store="x"', "", "no-store"),
    ("5.2.2.5 in capitals", 200, "Cache-Control: MAX-AGE=1, NO-STORE", "", "no-store"),
    ("5.2.2.7", 200, "Cache-Control: max-age=1, private", "", "private"),
    ("5.2.2.7 against public", 200, "Cache-Control: max-age=1, private, public", "", "private"),
    ("3.5", 200, "Cache-Control: max-age=1", "Authorization: x", "authorization"),
    ("Set-Cookie", 200, "Cache-Control: max-age=1\nSet-Cookie: a=b", "", "set-cookie"),
    ("Set-Cookie by heuristic", 200, f"{LM}\nSet-Cookie: a=b", "", "set-cookie"),
    ("Set-Cookie2", 200, "Cache-Control: max-age=1\nSet-Cookie2: a=b", "", "set-cookie"),
    ("4.1", 200, "Cache-Control: max-age=1\nVary: *", "", "vary-star"),
    ("5.2.2.3 a status that is not understood", 299, "Cache-Control: max-age=1, must-understand", "", "status"),
    ("3 no lifetime, no validator", 200, "", "", "no-freshness"),
    ("3 stale at once, no validator", 200, "Cache-Control: max-age=0", "", "no-freshness"),
    ("5861 must-revalidate undoes stale-if-error", 200, "Cache-Control: max-age=0, stale-if-error=9, must-revalidate", "", "no-freshness"),
    ("4.2.2 Cookie, a guess", 200, LM, "Cookie: a=b", "cookie"),
    ("4.2.2 Cookie, a guess, no-cache", 200, f"Cache-Control: no-cache\n{LM}", "Cookie: a=b", "cookie"),
    ("4.2.2 Cookie, a guess, another Vary", 200, f"Vary: Accept\n{LM}", "Cookie: a=b", "cookie"),
    *[(f"3 {status} without explicit freshness", status, LM, "", "status")
      for status in (201, 302, 303, 307, 400, 401, 403, 500, 502, 503, 504, 599)],
    ("too large", 200, "Cache-Control: max-age=1\nContent-Length: 1001", "", "too-large"),
]  # fmt: skip


def decide(status: int, text: str, request_fields: str, **options: Any) -> str:
    fields = lines(text)
    said = DEFAULT.said(fields)
    found = refusal(
        status,
        fields,
        said,
        lifetime(status, fields, said, received=NOW),
        names(fields),
        read(lines(request_fields)),
        max_object=1000,
        cookie=get(lines(request_fields), b"cookie") is not None,
        **{"request_errors": "explicit", **options},
    )
    return "stored" if found is None else found.value


@pytest.mark.parametrize(("status", "text", "asked"), [pytest.param(*row, id=case) for case, *row in STORED])
def test_stored(status: int, text: str, asked: str) -> None:
    assert decide(status, text, asked) == "stored"


@pytest.mark.parametrize(("status", "text", "asked", "word"), [pytest.param(*row, id=case) for case, *row in REFUSED])
def test_refused(status: int, text: str, asked: str, word: str) -> None:
    assert decide(status, text, asked) == word


SETS = "Set-Cookie: a=b"
SET_COOKIE = [
    # case, fields, what becomes of it by explicit, store, pass, strip
    ("nothing explicit", f"Cache-Control: max-age=1\n{SETS}", "set-cookie", "stored", "set-cookie", "stored"),
    ("public", f"Cache-Control: max-age=1, public\n{SETS}", "stored", "stored", "set-cookie", "stored"),
    ("s-maxage", f"Cache-Control: s-maxage=1\n{SETS}", "stored", "stored", "set-cookie", "stored"),
    ("CDN-Cache-Control", f"CDN-Cache-Control: max-age=1\n{SETS}", "stored", "stored", "set-cookie", "stored"),
    ("Surrogate-Control", f"Surrogate-Control: max-age=1\n{SETS}", "stored", "stored", "set-cookie", "stored"),
    ("a targeted field without a lifetime", f"CDN-Cache-Control: must-revalidate\n{LM}\n{SETS}", "set-cookie", "stored", "set-cookie", "stored"),
    ("somebody else's", f"ExampleCDN-Cache-Control: max-age=1\n{LM}\n{SETS}", "set-cookie", "stored", "set-cookie", "stored"),
    ("private", f"Cache-Control: private, max-age=1\n{SETS}", "private", "private", "private", "private"),
    ("left out by no-cache", f'Cache-Control: max-age=1, no-cache="set-cookie"\n{SETS}', "stored", "stored", "stored", "stored"),
    ("left out by private", f'Cache-Control: max-age=1, private="Set-Cookie"\n{SETS}', "stored", "stored", "stored", "stored"),
    ("none set", "Cache-Control: max-age=1", "stored", "stored", "stored", "stored"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "explicit", "store", "passed", "strip"),
    [pytest.param(*row, id=f"7.3 {case}") for case, *row in SET_COOKIE],
)
def test_set_cookie(text: str, explicit: str, store: str, passed: str, strip: str) -> None:
    modes = ("explicit", "store", "pass", "strip")
    found = tuple(decide(200, text, "", set_cookie=mode) for mode in modes)
    assert found == (explicit, store, passed, strip)


@pytest.mark.parametrize("status", [400, 408, 411, 413, 414, 415, 417, 421, 426, 428, 429, 431, 511])
@pytest.mark.parametrize(
    "text", ["Cache-Control: public, max-age=60", "Cache-Control: must-understand, s-maxage=60", LM]
)
def test_what_finds_fault_with_the_request_is_not_stored(status: int, text: str) -> None:
    assert decide(status, text, "", request_errors="never") in ("request-error", "status")


@pytest.mark.parametrize("status", [428, 429, 431, 511])
def test_6585_what_must_not_be_stored_never_is(status: int) -> None:
    assert decide(status, "Cache-Control: public, max-age=60", "") == "request-error"


def test_406_is_about_the_request_unless_it_says_of_what() -> None:
    assert decide(406, "Cache-Control: max-age=60", "", request_errors="never") == "request-error"
    assert decide(406, "Cache-Control: max-age=60\nVary: Accept", "", request_errors="never") == "stored"


def test_what_is_kept() -> None:
    fields = lines("""
        Content-Type: text/html
        Age: 5
        Server-Timing: app;dur=3
        X-Request-ID: theirs
        X-Cache: HIT
        Proxy-Authenticate: Basic
        Proxy-Authorization: x
        Keep-Alive: timeout=5
        Trailer: x-sum
        Cache-Status: shield; hit
        Via: 1.1 lb
        Set-Cookie: a=b
        X-User: 7
        X-Other: 8
    """)
    cc = parse(b'no-cache="set-cookie", private="x-user"')
    assert [name for name, _ in kept(fields, cc)] == [b"content-type", b"cache-status", b"via", b"x-other"]
