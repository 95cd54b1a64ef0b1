"""Request lines: whole, begun, and what is none (RFC 9112 §3)."""

from __future__ import annotations

import pytest

from stack.errors import HopError
from stack.http.field_lines import FieldParser
from stack.http.h1 import parse_request
from stack.http.request_line import MAX_METHOD, origin_form, too_large, unfinished

HOST = b"\r\nHost: a\r\n\r\n"


def refused(head: bytes) -> int:
    """The status that a whole head is refused with; 0 when it is taken."""
    try:
        parse_request(FieldParser(b"http"), head, max_target=100, max_fields=10)
    except HopError as error:
        return error.status
    return 0


LINES = [
    pytest.param(b"GET / HTTP/1.1", 0, id="§3 plain"),
    pytest.param(b"M-SEARCH * HTTP/1.1", 400, id="§3.2.4 asterisk-form is for OPTIONS alone"),
    pytest.param(b"M-SEARCH / HTTP/1.1", 0, id="9110 §9.1 M-SEARCH"),
    pytest.param(b"PROPFIND /a HTTP/1.1", 0, id="9110 §9.1 PROPFIND"),
    pytest.param(b"FOO / HTTP/1.1", 0, id="9110 §9.1 any token"),
    pytest.param(b"get / HTTP/1.1", 0, id="9110 §9.1 methods have a case"),
    pytest.param(b"!#$%&'*+-.^_`|~09 / HTTP/1.1", 0, id="9110 §5.6.2 every tchar"),
    pytest.param(b"A" * MAX_METHOD + b" / HTTP/1.1", 0, id="§3 longest method"),
    pytest.param(b"A" * (MAX_METHOD + 1) + b" / HTTP/1.1", 501, id="§3 method too long"),
    pytest.param(b"G(T / HTTP/1.1", 400, id="9110 §5.6.2 delimiter in a method"),
    pytest.param(b" GET / HTTP/1.1", 400, id="§2.2 white space in front"),
    pytest.param(b"GET / HTTP/1.1 ", 400, id="§3 white space behind"),
    pytest.param(b"GET / HTTP/1.0\r", 400, id="§2.2 CR CR LF"),
    pytest.param(b"GET  / HTTP/1.1", 400, id="§3 two spaces"),
    pytest.param(b"GET\t/ HTTP/1.1", 400, id="§3 tab"),
    pytest.param(b"GET /\x0bHTTP/1.1", 400, id="§3 VT"),
    pytest.param(b"GET /\xa0HTTP/1.1", 400, id="§3 no-break space"),
    pytest.param(b"GET / HTTP/1.1\0", 400, id="9110 §5.5 NUL"),
    pytest.param(b"GET /", 400, id="§2.3 HTTP/0.9"),
    pytest.param(b"GET / HTTP/0.9", 505, id="9110 §15.6.6 0.9"),
    pytest.param(b"GET / HTTP/2.0", 505, id="9110 §15.6.6 2.0"),
    pytest.param(b"GET / HTTP/3.0", 505, id="9110 §15.6.6 3.0"),
    pytest.param(b"GET / HTTP/1.9", 0, id="9110 §2.5 a higher minor version is 1.1"),
    pytest.param(b"GET / HTTP/1.", 400, id="§2.3 no minor version"),
    pytest.param(b"GET / HTTP/11", 400, id="§2.3 no dot"),
    pytest.param(b"GET / HTTP/01.1", 400, id="§2.3 two digits"),
    pytest.param(b"GET / HTTPS/1.1", 400, id="§2.3 another name"),
    pytest.param(b"GET / Http/1.1", 400, id="§2.3 the name has a case"),
    pytest.param(b"DESCRIBE rtsp://a/b RTSP/1.0", 400, id="RTSP"),
    pytest.param(b"EHLO client.example", 400, id="SMTP"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2", 400, id="SSH"),
    pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", 400, id="PROXY protocol 1"),
    pytest.param(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400, id="TLS"),
    pytest.param(b"INVITE sip:a@b SIP/2.0", 400, id="SIP"),
    pytest.param(b"CONNECT a:443 HTTP/1.1", 501, id="9110 §9.3.6 CONNECT"),
    pytest.param(b"TRACE / HTTP/1.1", 405, id="9110 §9.3.8 TRACE"),
    pytest.param(b"OPTIONS * HTTP/1.1", 0, id="§3.2.4"),
    pytest.param(b"OPTIONS *x HTTP/1.1", 400, id="§3.2.4 not an asterisk alone"),
    pytest.param(b"GET * HTTP/1.1", 400, id="§3.2.4 GET"),
    pytest.param(b"GET a:80 HTTP/1.1", 400, id="§3.2.3 authority-form is for CONNECT alone"),
    pytest.param(b"GET http://a HTTP/1.1", 0, id="§3.2.2 no path"),
    pytest.param(b"GET http://a?b HTTP/1.1", 0, id="§3.2.2 no path, a query"),
    pytest.param(b"GET http:/a HTTP/1.1", 400, id="§3.2.2 one slash"),
    pytest.param(b"GET http:///a HTTP/1.1", 400, id="9110 §4.2.1 empty host"),
    pytest.param(b"GET http://u@a/ HTTP/1.1", 400, id="9110 §4.2.4 userinfo"),
    pytest.param(b"GET http://a:99999/ HTTP/1.1", 400, id="9110 §4.2.1 port"),
    pytest.param(b"GET http://a/#b HTTP/1.1", 400, id="§3.2.2 fragment"),
    pytest.param(b"GET http://a\\b/ HTTP/1.1", 400, id="§3.2.2 backslash in the host"),
    pytest.param(b"GET http://a/\\b HTTP/1.1", 400, id="§3.2.2 backslash in the path"),
    pytest.param(b"GET ftp://a/ HTTP/1.1", 400, id="9110 §4.2 another scheme"),
    pytest.param(b"GET https://a/ HTTP/1.1", 421, id="9110 §7.4 another scheme than the connection's"),
    pytest.param(b"GET /a#b HTTP/1.1", 400, id="§3.2.1 fragment"),
    pytest.param(b"GET /a?b#c HTTP/1.1", 400, id="§3.2.1 fragment behind a query"),
    pytest.param(b"GET /\\..\\a HTTP/1.1", 400, id="3986 §3.3 backslash"),
    pytest.param(b"GET /a%00b HTTP/1.1", 400, id="3986 §7.3 NUL in the path"),
    pytest.param(b"GET /a?b=%00&c=\\ HTTP/1.1", 0, id="in a query they mean nothing to a path"),
    pytest.param(b"GET /caf\xc3\xa9 HTTP/1.1", 400, id="3986 §2.1 not ASCII"),
    pytest.param(b'GET /a|b^`{"}[]<>?|^`{"}[]<> HTTP/1.1', 0, id="more than 3986 allows, as browsers send it"),
    pytest.param(b"GET /" + b"a" * 99 + b" HTTP/1.1", 0, id="§3 longest target"),
    pytest.param(b"GET /" + b"a" * 100 + b" HTTP/1.1", 414, id="§3 target too long"),
]


@pytest.mark.parametrize(("line", "status"), LINES)
def test_a_whole_head(line: bytes, status: int) -> None:
    assert refused(line + HOST) == status


@pytest.mark.parametrize(("line", "status"), LINES)
def test_what_is_refused_is_so_by_the_end_of_its_line_and_what_is_taken_is_waited_for(line: bytes, status: int) -> None:
    for size in range(1, len(line) + 1):
        begun = unfinished(line[:size])
        assert status or begun is None, line[:size]
    found = unfinished(line + b"\r\nHost: a")
    if not status:
        assert found is None
    elif found is None:  # a request line, and no request that is taken: only the whole head tells
        assert status in (400, 405, 414, 421, 501, 505)
        assert b" HTTP/" in line
    else:
        assert found.status == status


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03", id="TLS at its first bytes"),
        pytest.param(b"GET /\n", id="§2.2 LF alone"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\nC: d", id="§2.2 LF within the fields"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\rC: d", id="§2.2 CR within the fields"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\0", id="9110 §5.5 NUL"),
        pytest.param(b"GET / HTTP/1.1x", id="§3"),
        pytest.param(b"GET /\x7f", id="DEL"),
    ],
)
def test_a_head_that_cannot_become_one_is_not_waited_for(data: bytes) -> None:
    error = unfinished(data)
    assert error is not None
    assert error.status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 5000, 414),
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a" + b"a" * 5000, 414),
        (b"GET / HTTP/1.1\r\nHost: a" + b"a" * 5000, 431),
        (b"G" * 5000, 431),
        (b"(" * 4 + b" /" + b"a" * 5000, 431),
    ],
)
def test_what_is_too_large(data: bytes, status: int) -> None:
    assert too_large(data, 1000, 100).status == status


def test_origin_form() -> None:
    assert origin_form(b"/a?\\%00")
    assert not origin_form(b"/\\?a")
    assert not origin_form(b"/%00")
