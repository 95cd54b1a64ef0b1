"""Heads of RFC 9112: what is taken, what is refused, and how content is delimited."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import HopError, Misdirected, ResponseMalformed
from stack.http.field_lines import FieldParser
from stack.http.h1 import (
    CHUNKED,
    CLOSE,
    RequestHead,
    parse_request,
    parse_response,
    request_head,
    response_head,
    serialise,
    valid_authority,
)
from stack.http.message import FieldBlock


def parse(head: bytes) -> RequestHead:
    return parse_request(FieldParser(), head, max_target=100, max_fields=10)


def test_a_request_is_taken_apart() -> None:
    head = parse(b"POST /a?b=c HTTP/1.1\r\nHost: shop.test:8443\r\nX-Y: \t z \t\r\nContent-Length: 3\r\n\r\n")
    assert (head.method, head.target, head.version, head.authority) == (b"POST", b"/a?b=c", b"1.1", b"shop.test:8443")
    assert head.fields == [(b"x-y", b"z"), (b"content-length", b"3")]
    assert (head.framing, head.keep_alive) == (3, True)


@pytest.mark.parametrize(
    ("lines", "framing", "keep_alive"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", 0, True, id="9112-6.3-none"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n", CHUNKED, True, id="9112-6.3-chunked"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n", None, True, id="9112-6.3-same-twice"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n", 0, False, id="9112-9.6-close"),
        pytest.param(b"GET / HTTP/1.0\r\n", 0, False, id="9112-9.3-1.0"),
        pytest.param(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", 0, True, id="9112-9.3-1.0-keep-alive"),
        pytest.param(b"GET / HTTP/1.2\r\nHost: a\r\n", 0, True, id="9112-2.3-minor"),
        pytest.param(b"M-SEARCH * HTTP/1.1\r\nHost: a\r\n", None, True, id="9112-3.2.4-star-only-options"),
    ],
)
def test_framing_and_persistence(lines: bytes, framing: int | None, keep_alive: bool) -> None:
    if framing is None:
        with pytest.raises(HopError):
            parse(lines + b"\r\n")
        return
    head = parse(lines + b"\r\n")
    assert (head.framing, head.keep_alive) == (framing, keep_alive)


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        pytest.param(b"X-A", [b"cookie", b"x-real-ip"], id="9110-7.6.1-named"),
        pytest.param(b"close, x-REAL-ip , cookie", [b"x-a"], id="9110-7.6.1-any-case"),
        pytest.param(b"X-A\r\nConnection: Cookie", [b"x-real-ip"], id="9110-7.6.1-two-lines"),
        pytest.param(b"keep-alive, Content-Length, Host", [b"x-a", b"cookie", b"x-real-ip"], id="9112-6-never-framing"),
        pytest.param(b"keep-alive", [b"x-a", b"cookie", b"x-real-ip"], id="9112-9.3-nothing-named"),
    ],
)
def test_a_field_that_connection_names_is_not_the_requests(connection: bytes, left: list[bytes]) -> None:
    """Neither a key nor a log nor the next hop is to see what was for this connection alone."""
    head = parse(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nContent-Length: 1\r\nCookie: b\r\nX-Real-IP: c\r\nConnection: "
        + connection
        + b"\r\n\r\n"
    )
    assert [name for name, _ in head.fields if name not in (b"content-length", b"connection")] == left
    assert (head.authority, head.framing) == (b"a", 1)
    assert all(field in head.fields for field in head.noted if field[0] == b"x-real-ip")


@pytest.mark.parametrize("method", [b"GET", b"PROPFIND", b"M-SEARCH", b"FOO", b"a!#"])
def test_any_token_is_a_method(method: bytes) -> None:
    assert parse(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n").method == method


@pytest.mark.parametrize(
    ("target", "authority", "rest"),
    [
        (b"http://b.test/x?y", b"b.test", b"/x?y"),
        (b"HTTP://b.test:80", b"b.test:80", b"/"),
        (b"http://b.test?q", b"b.test", b"/?q"),
    ],
)
def test_absolute_form_overrides_host(target: bytes, authority: bytes, rest: bytes) -> None:
    head = parse(b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert (head.authority, head.target, head.scheme) == (authority, rest, b"http")


@pytest.mark.parametrize(
    ("connection", "target", "taken"),
    [
        pytest.param(b"http", b"http://a/", True, id="9110-7.4-http"),
        pytest.param(b"https", b"HTTPS://a/", True, id="9110-7.4-https"),
        pytest.param(b"http", b"https://a/", False, id="9110-7.4-https-in-the-clear"),
        pytest.param(b"https", b"http://a/", False, id="9110-7.4-http-over-tls"),
        pytest.param(None, b"https://a/", True, id="9110-7.4-trusted-gateway"),
        pytest.param(None, b"http://a/", True, id="9110-7.4-trusted-gateway-http"),
    ],
)
def test_the_scheme_of_an_absolute_target_is_the_connections(
    connection: bytes | None, target: bytes, taken: bool
) -> None:
    lines = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    if taken:
        head = parse_request(FieldParser(connection), lines, max_target=100, max_fields=10)
        assert head.scheme == target.partition(b":")[0].lower()
    else:
        with pytest.raises(Misdirected) as caught:
            parse_request(FieldParser(connection), lines, max_target=100, max_fields=10)
        assert caught.value.status == 421


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="9112-3.2-no-host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, id="9112-3.2-two-hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, id="9110-7.2-host-space"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a,b/\r\n\r\n", 400, id="9110-7.2-host-slash"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, id="9110-4.2.4-userinfo"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400, id="9110-4.2-port"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, id="9112-5.1-space-before-colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400, id="9112-5.2-obs-fold"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, id="9110-5.5-nul"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, id="9112-2.2-bare-cr"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, id="9112-2.2-bare-lf"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, id="9112-5-no-colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", 400, id="9110-5.1-name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400, id="9110-8.6-sign"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5_0\r\n\r\n", 400, id="9110-8.6-underscore"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,6\r\n\r\n", 400, id="9112-6.3-differ"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, id="9112-6.3-two"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="9112-6.3-both"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, id="9112-6.3-not-chunked"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo, chunked\r\n\r\n", 501, id="9112-6.1-unknown"),
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="9112-6.1-in-1.0"),
        pytest.param("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\u212aed\r\n\r\n".encode(), 400, id="kelvin"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="9110-15.6.6-version"),
        pytest.param(b"GET /\r\n\r\n", 400, id="0.9"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="9112-3-two-spaces"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="9112-3.2-space-in-target"),
        pytest.param(b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="9112-3.2-fragment"),
        pytest.param(b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="9112-3.2-relative"),
        pytest.param(b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="9112-3.2.2-scheme"),
        pytest.param(b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="9110-4.2.1-no-host"),
        pytest.param(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="9110-9.3.6-connect"),
        pytest.param(b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, id="9112-3-too-long"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10 + b"\r\n", 431, id="6585-5-fields"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, id="9110-10.1.1-expect"),
        pytest.param(b"RTSP/1.0 200 OK\r\nHost: a\r\n\r\n", 400, id="other-protocol"),
    ],
)  # fmt: skip
def test_refused(head: bytes, status: int) -> None:
    with pytest.raises(HopError) as caught:
        parse(head)
    assert caught.value.status == status
    assert caught.value.detail


def test_a_parser_goes_on_after_every_kind_of_message() -> None:
    parser = FieldParser()
    for extra in (
        b"Connection: close\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: x\r\n",
        b"Proxy-Connection: close\r\n",
        b"",
    ):
        head = b"GET / HTTP/1.1\r\nHost: a\r\n" + extra + b"X: y\r\n\r\n"
        for _ in range(2):
            assert parse_request(parser, head, max_target=99, max_fields=9).fields[-1] == (b"x", b"y")
    with pytest.raises(HopError):
        parse_request(parser, b"GET / HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n", max_target=99, max_fields=9)
    assert parse_request(parser, head, max_target=99, max_fields=9).fields == [(b"x", b"y")]


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"a", True), (b"a.b:80", True), (b"[::1]:80", True), (b"[::1]", True), (b"127.0.0.1:", True), (b"%41", True),
        (b"", False), (b"a:b", False), (b":80", False), (b"a@b", False), (b"[::1", False), (b"a/b", False), (b"a?b", False),
        (b"a b", False), (b"a:70000", False), (b"%4", False), (b"\xc3\xa4", False), (b"a,b\x7f", False),
        # RFC 3986 §3.2.2 IPv6address and IPvFuture, §3.2.3 port
        *((b"[%b]" % text, True) for text in (
            b"::", b"2001:db8::1", b"1:2:3:4:5:6:7:8", b"1:2:3:4:5:6:192.0.2.1", b"::ffff:192.0.2.1", b"FE80::A", b"v1.a",
            b"vF.fe80::a+en1",
        )),
        *((b"[%b]" % text, False) for text in (
            b"", b":", b":::", b"1", b"1:2", b"::1::2", b"12345::", b"192.0.2.1", b"::1.2.3", b"::256.1.1.1", b"::01.2.3.4",
            b"1:2:3:4:5:6:7", b"1:2:3:4:5:6:7:8:9", b"1:2:3:4:5:6:7:192.0.2.1", b"::g", b"a.test", b"v.a", b"v1.", b"vg.a",
            b"fe80::1%eth0", b"fe80::1%25eth0", b"[::1]", b"v1.a/b",
        )),
        (b"a:0000080", True), (b"a:" + b"0" * 5000 + b"80", True), (b"a:" + b"9" * 5000, False), (b"[v1.a]:80", True),
        (b"[v1.a]:65536", False),
    ],
)  # fmt: skip
def test_authority(value: bytes, valid: bool) -> None:
    assert valid_authority(value) is valid


@pytest.mark.parametrize(
    ("head", "method", "framing", "keep_alive"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", 5, True, id="9112-6.3-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", 0, True, id="9112-6.3-head"),
        pytest.param(b"HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n", b"GET", 0, True, id="9112-6.3-304"),
        pytest.param(b"HTTP/1.1 204\r\n\r\n", b"GET", 0, True, id="9112-4-no-reason"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"GET", CLOSE, False, id="9112-6.3-close"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET", CHUNKED, True, id="9112-6.3-chunked"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\n", b"GET", CLOSE, False, id="9112-6.3-unknown-coding"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", b"GET", 1, False, id="9112-9.3-1.0"),
        pytest.param(
            b"HTTP/1.1 999 Odd\r\nContent-Length: 1\r\nConnection: close\r\n\r\n", b"GET", 1, False, id="9110-15-999"
        ),
    ],
)
def test_responses(head: bytes, method: bytes, framing: int, keep_alive: bool) -> None:
    found = parse_response(FieldParser(), head, method=method)
    assert (found.framing, found.keep_alive) == (framing, keep_alive)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="two-digits"),
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", id="version"),
        pytest.param(b"HTTP/1.1 099 OK\r\n\r\n", id="below-100"),
        pytest.param(b"HTTP/1.1  200 OK\r\n\r\n", id="two-spaces"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", id="space-before-colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", id="obs-fold"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", id="both"),
        pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked-in-1.0"),
    ],
)
def test_malformed_responses(head: bytes) -> None:
    with pytest.raises(ResponseMalformed):
        parse_response(FieldParser(), head, method=b"GET")


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
def test_nothing_is_injected_into_a_head(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        serialise([(b"x", value)])


def test_heads_out() -> None:
    block = FieldBlock([(b"etag", b'"x"')])
    assert response_head(200, [(b"age", b"1")], [(b"date", b"d")], block=block, framing=b"content-length: 0\r\n") == (
        b'HTTP/1.1 200 OK\r\netag: "x"\r\nage: 1\r\ndate: d\r\ncontent-length: 0\r\n\r\n'
    )
    assert response_head(299, [], []) == b"HTTP/1.1 299 \r\n\r\n"
    assert request_head(b"GET", b"/", b"a", [(b"b", b"c")]) == b"GET / HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\n"


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(junk: bytes) -> None:
    for prefix in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        with contextlib.suppress(HopError):
            parse(prefix + junk + b"\r\n\r\n")
        with contextlib.suppress(HopError):
            parse_response(FieldParser(), b"HTTP/1.1 200 OK\r\n" + junk + b"\r\n\r\n", method=b"GET")


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"xchunked", b"chunked, chunked"])
def test_content_inside_another_coding_cannot_be_found(coding: bytes) -> None:
    with pytest.raises(ResponseMalformed):
        parse_response(FieldParser(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n", method=b"GET")


@pytest.mark.parametrize(
    ("method", "target", "authority", "field"),
    [
        pytest.param(b"GET /", b"/", b"a", None, id="9112 §3 space in the method"),
        pytest.param(b"", b"/", b"a", None, id="9112 §3 no method"),
        pytest.param(b"G\r\nX", b"/", b"a", None, id="9112 §3 line break in the method"),
        pytest.param(b"GET", b"", b"a", None, id="9112 §3.2 no target"),
        pytest.param(b"GET", b"/ HTTP/1.1\r\nX: y", b"a", None, id="9112 §3.2 line break in the target"),
        pytest.param(b"GET", b"/a b", b"a", None, id="9112 §3.2 space in the target"),
        pytest.param(b"GET", b"/\x7f", b"a", None, id="9112 §3.2 DEL in the target"),
        pytest.param(b"GET", b"/\xff", b"a", None, id="9112 §3.2 not ASCII"),
        pytest.param(b"GET", b"/", b"a\r\nX: y", None, id="9110 §7.2 line break in Host"),
        pytest.param(b"GET", b"/", b"a b", None, id="9110 §7.2 space in Host"),
        pytest.param(b"GET", b"/", b"a", (b"x", b"a\r\nb: c"), id="9110 §5.5 line break"),
        pytest.param(b"GET", b"/", b"a", (b"x", b"a\nb"), id="9110 §5.5 LF"),
        pytest.param(b"GET", b"/", b"a", (b"x", b"a\rb"), id="9110 §5.5 CR"),
        pytest.param(b"GET", b"/", b"a", (b"x", b"a\0b"), id="9110 §5.5 NUL"),
        pytest.param(b"GET", b"/", b"a", (b"x\r\ny", b"a"), id="9110 §5.1 line break in a name"),
        pytest.param(b"GET", b"/", b"a", (b"transfer-encoding:chunked, x", b"a"), id="9110 §5.1 colon in a name"),
        pytest.param(b"GET", b"/", b"a", (b"transfer-encoding ", b"chunked"), id="9112 §5.1 space behind a name"),
        pytest.param(b"GET", b"/", b"a", (b" x", b"a"), id="9112 §5.2 a name that folds"),
        pytest.param(b"GET", b"/", b"a", (b":path", b"/b"), id="9113 §8.3 a pseudo-field"),
        pytest.param(b"GET", b"/", b"a", (b"", b"a"), id="9110 §5.1 no name"),
        pytest.param(b"GET", b"/", b"a", (b"caf\xc3\xa9", b"a"), id="9110 §5.1 not ASCII"),
    ],
)
def test_what_is_no_request_does_not_leave(
    method: bytes, target: bytes, authority: bytes, field: tuple[bytes, bytes] | None
) -> None:
    fields = [(b"accept", b"*/*"), *([field] if field else [])]
    with pytest.raises(ValueError, match=r"is|holds"):
        request_head(method, target, authority, fields)
    if field is not None:
        with pytest.raises(ValueError, match=r"is|holds"):
            response_head(200, fields, [])
        with pytest.raises(ValueError, match=r"is|holds"):
            response_head(200, [], fields)


@pytest.mark.parametrize("status", [0, 99, 1000, -200])
def test_a_status_has_three_digits(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        response_head(status, [], [])
    assert response_head(999, [], []) == b"HTTP/1.1 999 \r\n\r\n"


def test_methods_and_names_of_any_token_leave() -> None:
    assert request_head(b"M-SEARCH", b"*", b"", [(b"x_!#$%&'*+-.^`|~", b"\xff\t ")]) == (
        b"M-SEARCH * HTTP/1.1\r\nhost: \r\nx_!#$%&'*+-.^`|~: \xff\t \r\n\r\n"
    )
