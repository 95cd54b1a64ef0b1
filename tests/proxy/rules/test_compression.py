from __future__ import annotations

import pytest

from proxy.config import COMPRESSIBLE, Compression
from proxy.rules.compression import NotCompressed, Plan, Policy, Types, coded, plan, revalidated, varying, weak
from stack.http.message import Fields, Request, Response
from stack.path import STEPS

POLICY = Policy((b"zstd", b"br", b"gzip"), 1024, Types(COMPRESSIBLE))
BROWSER = b"gzip, deflate, br, zstd"


def decide(
    *,
    accept: bytes | None = BROWSER,
    status: int = 200,
    content_type: bytes | None = b"text/html; charset=utf-8",
    length: bytes | None = b"2048",
    method: bytes = b"GET",
    request: Fields | None = None,
    fields: Fields | None = None,
    body: bytes = b"",
) -> Plan | NotCompressed:
    asked: Fields = list(request or [])
    if accept is not None:
        asked.append((b"accept-encoding", accept))
    answered: Fields = list(fields or [])
    if content_type is not None:
        answered.append((b"content-type", content_type))
    if length is not None:
        answered.append((b"content-length", length))
    return plan(Request(method, b"/", asked, authority=b"shop.test"), Response(status, answered, body), POLICY)


IDENTITY = Plan(b"identity", "identity")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(BROWSER, Plan(b"zstd", "zstd"), id="RFC 9110 12.5.3: all equal, the server's order"),
        pytest.param(b"gzip, br", Plan(b"br", "br"), id="the server's order among those accepted"),
        pytest.param(b"gzip", Plan(b"gzip", "gzip"), id="one"),
        pytest.param(b"x-gzip", Plan(b"gzip", "gzip"), id="RFC 9110 8.4.1.3: the old name"),
        pytest.param(b"GZIP", Plan(b"gzip", "gzip"), id="RFC 9110 8.4.1: case-insensitive"),
        pytest.param(b"gzip;q=1.0, br;q=0.5, zstd;q=0.1", Plan(b"gzip", "gzip"), id="12.4.2: weights before order"),
        pytest.param(b"zstd;q=0, br;q=0, *", Plan(b"gzip", "gzip"), id="12.5.3: the rest by *"),
        pytest.param(b"*", Plan(b"zstd", "zstd"), id="12.5.3: anything"),
        pytest.param(b"identity;q=0, *;q=0", IDENTITY, id="12.5.3: nothing acceptable: identity all the same"),
        pytest.param(b"gzip;q=0", IDENTITY, id="refused"),
        pytest.param(b"gzip;q=0.5, identity", IDENTITY, id="identity preferred"),
        pytest.param(b"deflate", IDENTITY, id="none that is offered"),
        pytest.param(b"", IDENTITY, id="12.5.3: empty: no coding"),
        pytest.param(None, IDENTITY, id="absent: what every client can read"),
    ],
)
def test_the_coding(accept: bytes | None, expected: Plan) -> None:
    assert decide(accept=accept) == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        pytest.param({"status": 204}, NotCompressed.STATUS, id="RFC 9110 15.3.5: no content"),
        pytest.param({"status": 205}, NotCompressed.STATUS, id="RFC 9110 15.3.6: no content"),
        pytest.param({"status": 304}, NotCompressed.STATUS, id="RFC 9110 15.4.5: no content"),
        pytest.param({"status": 101}, NotCompressed.STATUS, id="RFC 9110 15.2.2: another protocol"),
        pytest.param({"method": b"CONNECT"}, NotCompressed.STATUS, id="RFC 9110 9.3.6: a tunnel"),
        pytest.param({"status": 206}, NotCompressed.RANGE, id="RFC 9110 15.3.7: a part"),
        pytest.param({"fields": [(b"content-range", b"bytes */9")]}, NotCompressed.RANGE, id="RFC 9110 14.4"),
        pytest.param({"content_type": None}, NotCompressed.TYPE, id="no type"),
        pytest.param({"content_type": b"image/png"}, NotCompressed.TYPE, id="compressed by its nature"),
        pytest.param({"content_type": b"font/woff2"}, NotCompressed.TYPE, id="brotli inside"),
        pytest.param({"content_type": b"application/grpc"}, NotCompressed.TYPE, id="grpc has codings of its own"),
        pytest.param({"content_type": b"application/octet-stream"}, NotCompressed.TYPE, id="unknown type"),
        pytest.param({"length": b"1023"}, NotCompressed.SMALL, id="below the minimum"),
        pytest.param({"length": b"0"}, NotCompressed.SMALL, id="empty"),
        pytest.param(
            {"length": b"10", "method": b"HEAD"}, NotCompressed.SMALL, id="RFC 9110 8.6: HEAD says GET's size"
        ),
        pytest.param({"length": None, "body": b"x" * 9}, NotCompressed.SMALL, id="complete and small, without length"),
        pytest.param({"fields": [(b"content-encoding", b"br")]}, NotCompressed.ENCODED, id="RFC 9110 8.4: encoded"),
        pytest.param({"fields": [(b"content-encoding", b"dcb")]}, NotCompressed.ENCODED, id="an unknown coding"),
        pytest.param(
            {"fields": [(b"cache-control", b"public, No-Transform")]},
            NotCompressed.NO_TRANSFORM,
            id="RFC 9111 5.2.2.6",
        ),
        pytest.param(
            {"fields": [(b"cache-control", b"no-transform"), (b"cache-control", b"max-age=9")]},
            NotCompressed.NO_TRANSFORM,
            id="RFC 9110 5.3: in the first of two lines",
        ),
        pytest.param({"length": b"1024"}, Plan(b"zstd", "zstd"), id="at the minimum"),
        pytest.param({"length": None, "body": b"x" * 1024}, Plan(b"zstd", "zstd"), id="complete, at the minimum"),
        pytest.param({"status": 404}, Plan(b"zstd", "zstd"), id="an error page"),
        pytest.param({"status": 500}, Plan(b"zstd", "zstd"), id="a server's error page"),
        pytest.param({"method": b"POST"}, Plan(b"zstd", "zstd"), id="the answer to a POST"),
        pytest.param({"method": b"HEAD"}, Plan(b"zstd", "head"), id="RFC 9110 9.3.2: the fields of GET"),
        pytest.param({"method": b"HEAD", "length": None}, Plan(b"zstd", "head"), id="HEAD of unknown length"),
        pytest.param(
            {"fields": [(b"cache-control", b'ext="no-transform"')]}, Plan(b"zstd", "zstd"), id="within a quoted string"
        ),
        pytest.param(
            {"content_type": b"Text/Event-Stream", "length": None, "body": bytes(2000)},
            Plan(b"zstd", "zstd", held=True),
            id="an event stream is held",
        ),
        pytest.param(
            {"request": [(b"cache-control", b"no-transform")]},
            Plan(b"identity", "no-transform"),
            id="RFC 9111 5.2.1.6: the client asks for it",
        ),
    ],
)
def test_eligible(how: dict[str, object], expected: Plan | NotCompressed) -> None:
    assert decide(**how) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/html", True),
        (b"TEXT/HTML ; charset=utf-8", True),
        (b"application/json;charset=utf-8", True),
        (b"application/problem+json", True),
        (b"image/svg+xml", True),
        (b"application/wasm", True),
        (b"text", False),
        (b"application/jsonp-like", False),
        (b"application/x+jsonish", False),
        (b"video/mp4", False),
        (b"", False),
        (b";text/html", False),
    ],
)
def test_types(content_type: bytes, expected: bool) -> None:
    assert Types(COMPRESSIBLE).lists(content_type) is expected


@pytest.mark.parametrize(
    "pattern", ["", "text", "*", "*/*", "*/json", "text/", "/json", "te*t/html", "*+", "/*", "a/b/c"]
)
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(ValueError):
        Types([pattern])


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ([], [(b"vary", b"Accept-Encoding")]),
        ([(b"vary", b"Cookie")], [(b"vary", b"Cookie, Accept-Encoding")]),
        ([(b"vary", b"Cookie"), (b"vary", b"Origin")], [(b"vary", b"Cookie, Origin, Accept-Encoding")]),
        ([(b"vary", b"Cookie, accept-encoding")], [(b"vary", b"Cookie, accept-encoding")]),
        ([(b"vary", b"*")], [(b"vary", b"*")]),
        ([(b"vary", b"")], [(b"vary", b"Accept-Encoding")]),
        ([(b"vary", b"Accept-Encoding-Like")], [(b"vary", b"Accept-Encoding-Like, Accept-Encoding")]),
    ],
)
def test_vary(existing: Fields, expected: Fields) -> None:
    """RFC 9110 §12.5.5."""
    assert varying(existing) == expected


def test_the_fields_of_the_coded_representation() -> None:
    fields: Fields = [
        (b"content-type", b"text/html"),
        (b"content-length", b"2048"),
        (b"etag", b'"v1"'),
        (b"accept-ranges", b"bytes"),
        (b"content-digest", b"sha-256=:AA==:"),
        (b"repr-digest", b"sha-256=:AA==:"),
        (b"digest", b"sha-256=AA=="),
        (b"content-md5", b"AA=="),
        (b"vary", b"Cookie"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    ]
    assert coded(fields, b"br") == [
        (b"content-type", b"text/html"),
        (b"etag", b'W/"v1"'),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"content-encoding", b"br"),
        (b"vary", b"Cookie, Accept-Encoding"),
    ]


@pytest.mark.parametrize(("etag", "expected"), [(b'"a"', b'W/"a"'), (b'W/"a"', b'W/"a"'), (b"junk", b"junk")])
def test_weak(etag: bytes, expected: bytes) -> None:
    assert weak(etag) == expected


@pytest.mark.parametrize(
    ("if_none_match", "etag", "accept", "expected"),
    [
        pytest.param(b'W/"v1"', b'"v1"', BROWSER, b'W/"v1"', id="RFC 9111 4.3.4: about the coded copy"),
        pytest.param(b'"v0", W/"v1"', b'"v1"', BROWSER, b'W/"v1"', id="one of several"),
        pytest.param(b'"v1"', b'"v1"', BROWSER, None, id="about the app's own representation"),
        pytest.param(b'W/"v1"', b'W/"v1"', BROWSER, None, id="the app's tag is weak itself"),
        pytest.param(b'W/"v11"', b'"v1"', BROWSER, None, id="another tag"),
        pytest.param(b'W/"v1"', b'"v1"', b"identity", None, id="this client gets identity"),
        pytest.param(b"*", b'"v1"', BROWSER, None, id="any"),
        pytest.param(None, b'"v1"', BROWSER, None, id="a date decided"),
        pytest.param(b'W/"v1"', None, BROWSER, None, id="no tag"),
    ],
)
def test_a_304_carries_the_tag_of_the_200(
    if_none_match: bytes | None, etag: bytes | None, accept: bytes, expected: bytes | None
) -> None:
    """RFC 9110 §15.4.5."""
    asked: Fields = [(b"accept-encoding", accept)]
    if if_none_match is not None:
        asked.append((b"if-none-match", if_none_match))
    answered: Fields = [] if etag is None else [(b"etag", etag)]
    fields = revalidated(Request(b"GET", b"/", asked, authority=b"a"), Response(304, answered), POLICY)
    assert fields == (None if expected is None else [(b"etag", expected), (b"vary", b"Accept-Encoding")])


def test_the_words_are_those_of_the_path() -> None:
    words = {refused.value for refused in NotCompressed} | {"head", "identity", *Compression().codings}
    assert words == set(STEPS["proxy"]["compress"])
