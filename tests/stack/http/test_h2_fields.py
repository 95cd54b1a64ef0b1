"""Field lists of HTTP/2, by the clause that allows or forbids them."""

from __future__ import annotations

import pytest

from stack.errors import HeadTooLarge, HopError, TargetTooLong
from stack.http.h2_fields import (
    Length,
    Malformed,
    RequestHead,
    request_head,
    request_list,
    response_head,
    response_list,
    trailer_fields,
    trailer_list,
)
from stack.http.message import FieldBlock, Fields

METHOD, SCHEME, AUTHORITY, PATH = (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")
GET = [METHOD, SCHEME, AUTHORITY, PATH]


def parse(fields: Fields, *, max_head: int = 32768, max_fields: int = 100, max_target: int = 8192) -> RequestHead:
    return request_head(fields, max_head=max_head, max_fields=max_fields, max_target=max_target)


def test_a_request_is_taken_apart() -> None:
    head = parse(
        [
            (b":path", b"/a?b=c"),
            (b":method", b"POST"),
            (b":authority", b"shop.test:8443"),
            (b":scheme", b"https"),
            (b"cookie", b"a=1"),
            (b"accept", b"*/*"),
            (b"cookie", b"b=2"),
            (b"host", b"SHOP.test:8443"),
            (b"content-length", b"5"),
            (b"te", b"trailers"),
            (b"expect", b"100-Continue"),
            (b"cookie", b"c=3"),
        ]
    )
    assert (head.method, head.scheme, head.authority, head.target) == (b"POST", b"https", b"shop.test:8443", b"/a?b=c")
    assert head.fields == [
        (b"cookie", b"a=1; b=2; c=3"),  # RFC 9113 8.2.3
        (b"accept", b"*/*"),
        (b"content-length", b"5"),
        (b"te", b"trailers"),
        (b"expect", b"100-Continue"),
    ]
    assert (head.length, head.expects_continue) == (5, True)


@pytest.mark.parametrize(
    ("fields", "authority"),
    [
        pytest.param([METHOD, SCHEME, PATH, (b"host", b"h.test")], b"h.test", id="8.3.1-host-without-authority"),
        pytest.param([*GET, (b"x", b"")], b"a", id="9110-5.5-empty-value"),
        pytest.param([*GET, (b"x", b"a\tb \xff")], b"a", id="9110-5.5-tab-and-obs-text-within"),
        pytest.param([(b":method", b"OPTIONS"), SCHEME, AUTHORITY, (b":path", b"*")], b"a", id="8.3.1-options-star"),
        pytest.param([(b":method", b"M-SEARCH"), SCHEME, AUTHORITY, PATH], b"a", id="9110-9.1-any-token"),
        pytest.param([*GET[:2], (b":authority", b"[::1]:80"), PATH], b"[::1]:80", id="3986-ip-literal"),
    ],
)
def test_well_formed(fields: Fields, authority: bytes) -> None:
    assert parse(fields).authority == authority


MALFORMED = {
    "8.2-uppercase-name": [*GET, (b"X-A", b"1")],
    "8.2.1-space-in-name": [*GET, (b"x a", b"1")],
    "8.2.1-colon-in-name": [*GET, (b"x:", b"1")],
    "8.2.1-quote-in-name": [*GET, (b'x"a', b"1")],
    "8.2.1-parenthesis-in-name": [*GET, (b"x(a", b"1")],
    "8.2.1-nul-in-name": [*GET, (b"x\0", b"1")],
    "8.2.1-high-byte-in-name": [*GET, (b"x\xe9", b"1")],
    "8.2.1-empty-name": [*GET, (b"", b"1")],
    "8.2.1-cr-in-value": [*GET, (b"x", b"a\rb")],
    "8.2.1-lf-in-value": [*GET, (b"x", b"a\nb: c")],
    "8.2.1-nul-in-value": [*GET, (b"x", b"a\0b")],
    "8.2.1-trailing-newline": [*GET, (b"x", b"a\n")],
    "8.2.1-leading-space": [*GET, (b"x", b" a")],
    "8.2.1-trailing-tab": [*GET, (b"x", b"a\t")],
    "9110-5.5-escape-in-value": [*GET, (b"x", b"a\x1b")],
    "9110-5.5-delete-in-value": [*GET, (b"x", b"a\x7fb")],
    "8.2.2-connection": [*GET, (b"connection", b"close")],
    "8.2.2-keep-alive": [*GET, (b"keep-alive", b"1")],
    "8.2.2-proxy-connection": [*GET, (b"proxy-connection", b"x")],
    "8.2.2-transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "8.2.2-upgrade": [*GET, (b"upgrade", b"h2c")],
    "8.2.2-te-gzip": [*GET, (b"te", b"trailers, gzip")],
    "8.3-pseudo-after-field": [METHOD, SCHEME, AUTHORITY, (b"x", b"1"), PATH],
    "8.3-unknown-pseudo": [*GET, (b":protocol", b"websocket")],
    "8.3-response-pseudo": [*GET, (b":status", b"200")],
    "8.3-twice-method": [METHOD, *GET],
    "8.3-twice-path": [*GET, PATH],
    "8.3-twice-authority": [*GET, AUTHORITY],
    "8.3.1-no-method": GET[1:],
    "8.3.1-no-scheme": [METHOD, AUTHORITY, PATH],
    "8.3.1-no-path": GET[:3],
    "8.3.1-empty-path": [*GET[:3], (b":path", b"")],
    "8.3.1-relative-path": [*GET[:3], (b":path", b"a")],
    "8.3.1-absolute-path": [*GET[:3], (b":path", b"http://a/")],
    "8.3.1-star-for-get": [*GET[:3], (b":path", b"*")],
    "8.3.1-space-in-path": [*GET[:3], (b":path", b"/a b")],
    "8.3.1-injection-in-path": [*GET[:3], (b":path", b"/ HTTP/1.1\r\nx: y")],
    "8.3.1-fragment-in-path": [*GET[:3], (b":path", b"/a#b")],
    "8.3.1-method-line": [(b":method", b"GET /x"), *GET[1:]],
    "8.3.1-empty-method": [(b":method", b""), *GET[1:]],
    "8.3.1-scheme-injection": [METHOD, (b":scheme", b"http://x/?"), AUTHORITY, PATH],
    "8.3.1-no-authority": [METHOD, SCHEME, PATH],
    "8.3.1-empty-authority": [METHOD, SCHEME, (b":authority", b""), PATH],
    "8.3.1-userinfo": [METHOD, SCHEME, (b":authority", b"u@a"), PATH],
    "8.3.1-authority-injection": [METHOD, SCHEME, (b":authority", b"a\r\nx: y"), PATH],
    "8.3.1-host-differs": [*GET, (b"host", b"b")],
    "9112-3.2-two-hosts": [*GET, (b"host", b"a"), (b"host", b"a")],
    "9110-8.6-length-sign": [*GET, (b"content-length", b"+5")],
    "9110-8.6-length-underscore": [*GET, (b"content-length", b"0_5")],
    "9110-8.6-length-list": [*GET, (b"content-length", b"5, 5")],
    "9110-8.6-length-huge": [*GET, (b"content-length", b"9" * 5000)],
    "9110-8.6-two-lengths": [*GET, (b"content-length", b"5"), (b"content-length", b"5")],
    "8.5-connect-with-path": [(b":method", b"CONNECT"), AUTHORITY, PATH],
    "8.5-connect-without-authority": [(b":method", b"CONNECT")],
    "8.3-empty-list": [],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(fields: Fields) -> None:
    with pytest.raises(Malformed):
        parse(fields)


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [
        pytest.param([*GET, *[(b"x", b"1")] * 101], HeadTooLarge, 431, id="6585-5-fields"),
        pytest.param([*GET, *[(b"cookie", b"a")] * 101], HeadTooLarge, 431, id="6585-5-crumbs-count"),
        pytest.param([*GET, (b"x", b"y" * 32800)], HeadTooLarge, 431, id="6585-5-bytes"),
        pytest.param([*GET[:3], (b":path", b"/" * 9000)], TargetTooLong, 414, id="9110-15.5.15-target"),
        pytest.param([(b":method", b"CONNECT"), (b":authority", b"a:80")], HopError, 501, id="8.5-connect"),
        pytest.param([*GET, (b"expect", b"the-unexpected")], HopError, 417, id="9110-10.1.1-expect"),
    ],
)
def test_well_formed_and_refused(fields: Fields, error: type[HopError], status: int) -> None:
    with pytest.raises(error) as caught:
        parse(fields)
    assert caught.value.status == status


def test_a_response() -> None:
    head = response_head([(b":status", b"200"), (b"content-length", b"7"), (b"etag", b'"a"')])
    assert (head.status, head.length) == (200, 7)
    assert head.fields == [(b"content-length", b"7"), (b"etag", b'"a"')]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="8.3.2-none"),
        pytest.param([(b"x", b"1"), (b":status", b"200")], id="8.3-status-behind"),
        pytest.param([(b":status", b"200"), (b":status", b"200")], id="8.3-twice"),
        pytest.param([(b":status", b"20")], id="9110-15-two-digits"),
        pytest.param([(b":status", b"099")], id="9110-15-below-100"),
        pytest.param([(b":status", b"2 0")], id="9110-15-not-digits"),
        pytest.param([(b":status", b"101")], id="8.6-switching-protocols"),
        pytest.param([(b":status", b"200"), (b":path", b"/")], id="8.3-request-pseudo"),
        pytest.param([(b":status", b"200"), (b"connection", b"close")], id="8.2.2-connection"),
        pytest.param([(b":status", b"200"), (b"transfer-encoding", b"chunked")], id="8.2.2-transfer-encoding"),
        pytest.param([(b":status", b"200"), (b"X", b"1")], id="8.2-uppercase"),
        pytest.param([(b":status", b"200"), (b"x", b"a\r\nset-cookie: b")], id="8.2.1-crlf"),
        pytest.param([(b":status", b"200"), (b"content-length", b"x")], id="9110-8.6-length"),
        pytest.param([(b":status", b"200"), *[(b"x", b"1")] * 1001], id="10.5.1-fields"),
    ],
)
def test_a_malformed_response(fields: Fields) -> None:
    with pytest.raises(Malformed):
        response_head(fields)


def test_trailers_lose_what_has_no_place_there() -> None:
    received = [(b"grpc-status", b"0"), (b"content-length", b"5"), (b"host", b"x"), (b"x-sum", b"1")]
    assert trailer_fields(received, max_fields=10) == [(b"grpc-status", b"0"), (b"x-sum", b"1")]
    assert trailer_list(received) == [(b"grpc-status", b"0"), (b"x-sum", b"1")]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b":status", b"200")], id="8.1-pseudo"),
        pytest.param([(b"X", b"1")], id="8.2-uppercase"),
        pytest.param([(b"x", b"a\nb")], id="8.2.1-lf"),
        pytest.param([(b"connection", b"x")], id="8.2.2-connection"),
        pytest.param([(b"x", b"1")] * 11, id="10.5.1-fields"),
    ],
)
def test_malformed_trailers(fields: Fields) -> None:
    with pytest.raises(Malformed):
        trailer_fields(fields, max_fields=10)


def test_what_goes_out_has_no_connection_specific_field() -> None:
    block = FieldBlock([(b"connection", b"close"), (b"etag", b"x")])
    sent = response_list(200, block, [(b"keep-alive", b"1"), (b"vary", b"a")], [(b"date", b"d")])
    assert sent == [(b":status", b"200"), (b"etag", b"x"), (b"vary", b"a"), (b"date", b"d")]
    asked = request_list(b"GET", b"http", b"a", b"/", [(b"host", b"b"), (b"te", b"gzip"), (b"te", b"trailers")])
    assert asked == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", b"/"),
        (b"te", b"trailers"),
    ]


def test_no_authority_is_made_up() -> None:
    """RFC 9113 8.3.1."""
    sent = request_list(b"GET", b"http", b"", b"/", [])
    assert sent == [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
def test_no_line_break_goes_out(value: bytes) -> None:
    with pytest.raises(ValueError):
        response_list(200, None, [(b"x", value)], [])
    with pytest.raises(ValueError):
        request_list(b"GET", b"http", b"a", b"/" + value, [])


@pytest.mark.parametrize(
    ("expected", "pieces", "fits", "complete"),
    [
        (None, [5, 5], True, True),
        (5, [2, 3], True, True),
        (5, [2], True, False),
        (5, [6], False, False),
        (0, [], True, True),
    ],
)
def test_content_against_its_length(expected: int | None, pieces: list[int], fits: bool, complete: bool) -> None:
    length = Length(expected)
    assert all(length.take(piece) for piece in pieces) is fits
    assert length.complete() is complete
