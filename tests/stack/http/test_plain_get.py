"""The commonest request as one pattern: what it takes is what the parser of RFC 9112 takes, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import HopError
from stack.http.field_lines import FRAMING, FieldParser
from stack.http.h1 import parse_request
from stack.http.plain_get import plain_get

SAID = frozenset({b"cache-control", b"range", b"if-none-match", b"authorization"})
match = plain_get(SAID)
HEAD = b"GET /a?b=1 HTTP/1.1\r\nUser-Agent: x\r\nHost: shop.test\r\nAccept: */*\r\n\r\n"


def test_the_target_and_the_host_are_read_and_what_follows_is_left() -> None:
    found = match(HEAD + b"GET /next")
    assert found is not None
    assert (found.groups(), found.end()) == ((b"/a?b=1", b"shop.test"), len(HEAD))


@pytest.mark.parametrize(
    "line",
    [
        b"User-Agent:x",
        b"x-any: \t v\xff ",
        b"Connection: keep-alive",
        b"connection: Keep-Alive",
        b"Hosts: not a host",
        b"Cookie: a=b",
        b"Cache-Controls: another name",
        b"Ranger:",
        b"If-None-Matching: 1",
    ],
)
def test_lines_that_say_nothing_here(line: bytes) -> None:
    assert match(HEAD[:-2] + line + b"\r\n\r\n") is not None


@pytest.mark.parametrize(
    "line",
    [
        *(name + b": x" for name in sorted(SAID | FRAMING)),
        *(name.title() + b": x" for name in sorted(SAID | FRAMING)),
        *(name.upper() + b":x" for name in sorted(SAID | FRAMING)),
        b"Connection: close",
        b"Connection: keep-alive, Upgrade",
        b"Host: other.test",
        b" folded: x",
        b"no colon",
        b"Space : x",
        b": no name",
        b"A: \x00",
        b"A: b\rc",
        b"A: b\nc",
        b"A: b\x7f",
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_lines_that_go_the_long_way(line: bytes, first: bool) -> None:
    start, rest = HEAD.split(b"\r\n", 1)
    assert match(b"\r\n".join((start, line, rest)) if first else HEAD[:-2] + line + b"\r\n\r\n") is None


@pytest.mark.parametrize(
    "line",
    [
        b"HEAD /a HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"GET http://shop.test/a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET  /a HTTP/1.1",
        b"GET /a\\b HTTP/1.1",
        b'GET /"a" HTTP/1.1',
        b"GET /a#b HTTP/1.1",
        b"GET /a\xe9 HTTP/1.1",
        b"GET /a HTTP/1.1 ",
        b"get /a HTTP/1.1",
    ],
)
def test_request_lines_that_go_the_long_way(line: bytes) -> None:
    assert match(line + HEAD[HEAD.index(b"\r\n") :]) is None


@pytest.mark.parametrize("end", range(1, len(HEAD)))
def test_a_head_that_has_not_ended_is_none(end: int) -> None:
    assert match(HEAD[:end]) is None


PIECES = st.sampled_from(
    [
        b"Host: h.test",
        b"Host:h",
        b"host: [::1]:80",
        b"A: b",
        b"a:\tb ",
        b"Range: x",
        b"Connection: keep-alive",
        b"\r",
        b"\n",
        b"Expect: 100-continue",
        b"Content-Length: 3",
        b"B:\x80",
        b"C: \x01",
        b" x",
        b":",
        b"Upgrade: websocket",
        b"TE: x",
    ]
)


@given(
    st.sampled_from([b"GET /", b"GET /%00", b"GET /a b", b"POST /", b"GET //x", b"GET /?a=[]"]),
    st.lists(PIECES | st.binary(max_size=6), max_size=6),
)
def test_what_it_takes_the_parser_takes_and_reads_the_same(start: bytes, lines: list[bytes]) -> None:
    data = b"\r\n".join([start + b" HTTP/1.1", *lines, b"", b""])
    found = match(data)
    if found is None:
        return
    head = data[: found.end()]
    try:
        request = parse_request(FieldParser(), head, max_target=100, max_fields=100)
    except HopError:
        # the host, and `%00` in a path, are looked at besides
        assert b"%00" in start or found[2] != b"h.test"
        return
    assert (request.method, request.target, request.authority) == (b"GET", found[1], found[2])
    assert (request.keep_alive, request.framing, request.asks_upgrade, request.version) == (True, 0, False, b"1.1")
    assert SAID.isdisjoint(name for name, _ in request.fields)
