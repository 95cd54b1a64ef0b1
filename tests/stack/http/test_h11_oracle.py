"""Heads and chunks against h11: what we take, it takes alike; what we write, it reads back.

Where we differ on purpose: we refuse more (below, each with its clause), and take white space before a chunk
extension, which RFC 9112 §7.1.1 has recipients parse.
"""

from __future__ import annotations

import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import HopError
from stack.http.chunked import Chunked, encode, last
from stack.http.field_lines import FieldParser
from stack.http.h1 import parse_request, parse_response, request_head, response_head

TOKEN = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
VALUE = st.lists(st.integers(0x21, 0x7E).map(lambda byte: bytes((byte,))), max_size=20).map(b"".join)
NAME = TOKEN.filter(
    lambda name: name.lower() not in (b"host", b"connection", b"expect", b"te", b"trailer", b"upgrade")
).map(lambda name: b"x" + name)
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=6)
TARGET = st.text("abc/?=&%.~-_0123", max_size=20).map(lambda text: b"/" + text.replace("%", "%41").encode())
METHOD = TOKEN.filter(lambda name: name not in (b"CONNECT", b"TRACE"))


def read_request(data: bytes) -> tuple[h11.Request, bytes, list[tuple[bytes, bytes]]]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    head = connection.next_event()
    assert isinstance(head, h11.Request), head
    content = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            content += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return head, content, list(event.headers)
        else:
            raise AssertionError(event)


@given(method=METHOD, target=TARGET, fields=FIELDS, pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=4))
def test_what_we_write_it_reads(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], pieces: list[bytes]
) -> None:
    lower = [(name.lower(), value) for name, value in fields]
    wire = request_head(method, target, b"a.test:80", lower, framing=b"transfer-encoding: chunked\r\n")
    head, content, trailers = read_request(wire + b"".join(map(encode, pieces)) + last([(b"x-sum", b"1")]))
    assert (head.method, head.target, head.http_version) == (method, target, b"1.1")
    assert list(head.headers) == [(b"host", b"a.test:80"), *lower, (b"transfer-encoding", b"chunked")]
    assert (content, trailers) == (b"".join(pieces), [(b"x-sum", b"1")])


@given(method=METHOD, target=TARGET, fields=FIELDS, spaces=st.sampled_from(["", " ", " \t "]))
def test_what_we_take_it_takes_alike(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], spaces: str
) -> None:
    lines = b"".join(b"%b:%b%b%b\r\n" % (name, spaces.encode(), value, spaces.encode()) for name, value in fields)
    wire = b"%b %b HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % (method, target, lines)
    ours = parse_request(FieldParser(), wire, max_target=1000, max_fields=50)
    theirs, _, _ = read_request(wire)
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert [(b"host", ours.authority), *ours.fields] == list(theirs.headers)


@given(status=st.integers(200, 999), fields=FIELDS, size=st.integers(0, 50))
def test_responses_both_ways(status: int, fields: list[tuple[bytes, bytes]], size: int) -> None:
    lower = [(name.lower(), value) for name, value in fields]
    none = status in (204, 304)
    wire = response_head(status, lower, [], framing=b"" if none else b"content-length: %d\r\n" % size)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire + (b"" if none else b"x" * size))
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    ours = parse_response(FieldParser(), wire, method=b"GET")
    assert (head.status_code, list(head.headers)) == (ours.status, ours.fields)
    if size and not none:
        assert bytes(connection.next_event().data) == b"x" * size  # type: ignore[union-attr]
    assert isinstance(connection.next_event(), h11.EndOfMessage)


@given(st.data())
def test_chunks_that_we_take_mean_the_same_to_it(data: st.DataObject) -> None:
    """From well-formed ones with a few bytes changed."""
    pieces = data.draw(st.lists(st.binary(min_size=1, max_size=40), max_size=3))
    wire = bytearray(b"".join(map(encode, pieces)) + last([(b"x-sum", b"1")]))
    for _ in range(data.draw(st.integers(0, 2))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.sampled_from(b"0159afg;=\r\n \t:-x"))
    decoder = Chunked(FieldParser())
    try:
        content = b"".join(decoder.feed(bytes(wire)))
    except ValueError:
        return
    if not decoder.done or any(space + b";" in wire for space in (b" ", b"\t")):
        return
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, theirs, trailers = read_request(head + bytes(wire))
    assert content == theirs
    assert decoder.trailers == [field for field in trailers if field in decoder.trailers]


STRICTER = [
    pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", id="9112-2.2-bare-lf"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", id="9112-5.2-obs-fold"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", id="9110-7.2-invalid-host"),
    pytest.param(b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", id="9112-3.2-relative-target"),
    pytest.param(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", id="9112-3.2.4-star"),
    pytest.param(b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", id="9112-3.2-fragment"),
    pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", id="9110-15.6.6-version"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", id="9112-6.3-both"
    ),
    pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", id="9112-6.3-list-of-lengths"),
]


@pytest.mark.parametrize("wire", STRICTER)
def test_where_we_are_stricter(wire: bytes) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(wire)
    taken = False
    with contextlib.suppress(h11.RemoteProtocolError):
        taken = isinstance(connection.next_event(), h11.Request)
    assert taken, "h11 refuses it too: no difference any more"
    with pytest.raises(HopError):
        parse_request(FieldParser(), wire, max_target=100, max_fields=10)
