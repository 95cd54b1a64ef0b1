"""Where fuzzing begins: well-formed and nearly well-formed inputs of each target, from the conformance cases too."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import hpack

LONGEST: Final = 8192
CASES: Final = Path(__file__).parent.parent / "conformance" / "data" / "h1"
GET: Final = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/x?y")]

TOKENS: Final = [
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b",", b";", b"=", b'"', b"\\", b":", b"0\r\n\r\n", b"chunked",
    b"Transfer-Encoding: ", b"Content-Length: ", b"Connection: close\r\n", b"Host: ", b"HTTP/1.1", b"HTTP/1.0", b"*",
    b"W/", b"bytes=", b"max-age=", b"for=", b"[::1]", b"127.0.0.1", b"GMT", b"\xff", b"\x80", b"\x7f", b"ffffffff",
    b"\0\0\0\4\1\0\0\0\0", b"\0\0\4\3\0\0\0\0\1\0\0\0\x08", b"\0\0\4\x08\0\0\0\0\0\x7f\xff\xff\xff", b"\x82\x86\x84",
]  # fmt: skip


def _cases(name: str) -> list[bytes]:
    path = CASES / name
    if not path.exists():
        return []
    found: dict[str, Any] = json.loads(path.read_text())
    return [base64.b64decode(case["raw_b64"]) for case in found["cases"]]


def _heads(messages: Iterable[bytes]) -> list[bytes]:
    return [message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for message in messages]


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _sections() -> list[bytes]:
    encoder = hpack.Encoder()
    lists = [
        GET,
        [*GET, ("cookie", "a=b"), ("cookie", "c=d"), ("te", "trailers"), ("content-length", "5")],
        [(":method", "OPTIONS"), (":scheme", "https"), (":path", "*"), ("host", "a.test")],
        [*GET, ("x-long", "y" * 200), ("via", "1.1 a, 1.1 b"), ("max-forwards", "3"), ("expect", "100-continue")],
        [(":status", "200"), ("content-type", "text/plain")],
        [("x-trailer", "1")],
        [*GET, ("x", "a\r\nb: c"), ("connection", "close"), ("X", "y")],
    ]
    return [encoder.encode(fields, huffman=index % 2 == 0) for index, fields in enumerate(lists)]


def _conversations() -> list[bytes]:
    head, more, *_ = _sections()
    answer, trailer = _sections()[4:6]
    parts = [
        _frame(1, 5, 1, head),
        _frame(1, 4, 1, more) + _frame(0, 1, 1, b"hello") + _frame(3, 0, 1, b"\0\0\0\x08"),
        _frame(1, 0, 1, head[:3]) + _frame(9, 4, 1, head[3:]),
        _frame(1, 4, 1, head) + _frame(0, 8, 1, b"\3abc\0\0\0") + _frame(1, 5, 1, trailer),
        _frame(4, 0, 0, b"\0\4\0\0\0\0\0\3\0\0\0\1") + _frame(4, 1, 0) + _frame(6, 0, 0, b"12345678"),
        _frame(1, 5, 1, head) + _frame(8, 0, 1, b"\x7f\xff\xff\xff") + _frame(8, 0, 0, b"\0\0\0\1"),
        _frame(1, 4, 1, answer) + _frame(0, 0, 1, b"x" * 100) + _frame(0, 1, 1) + _frame(1, 5, 3, answer),
        _frame(7, 0, 0, b"\0\0\0\1\0\0\0\0") + _frame(2, 0, 1, b"\0\0\0\0\x10") + _frame(99, 0, 7, b"?"),
        _frame(5, 4, 1, b"\0\0\0\2" + answer),
    ]
    return [bytes((step,)) + part + following for step in (0, 1, 40) for part in parts for following in (b"", parts[0])]


def seeds(target: str) -> list[bytes]:
    """Inputs of one target, none of them long."""
    return [data for data in _seeds(target) if len(data) <= LONGEST]


def _seeds(target: str) -> list[bytes]:
    requests, responses = _cases("requests.json"), _cases("responses.json")
    match target:
        case "request-head":
            return [
                *_heads(requests),
                b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Y: z\r\n\r\n",
                b"POST http://a.test:80/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: x, close\r\n\r\n",
                b"PUT /%41?b=c HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
                b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n",
            ]
        case "response-head":
            return [
                *_heads(responses),
                *(b"\0" + head for head in _heads(responses)[:10]),
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                b'HTTP/1.1 304 Not Modified\r\nEtag: "x"\r\nContent-Length: 5\r\n\r\n',
                b"HTTP/1.0 999 \r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
            ]
        case "chunked":
            bodies = [message.partition(b"\r\n\r\n")[2] for message in requests if b"hunked" in message]
            return [
                *(bytes((number % 7,)) + body for number, body in enumerate(bodies)),
                b"\0005\r\nhello\r\n0\r\n\r\nGET /",
                b'\0035 ; a = "x;\\"y" ;c\r\nhello\r\n00\r\nX-Sum: 1\r\n\r\n',
                b"\1A\r\n0123456789\r\nfffffffffffffff\r\n",
            ]
        case "h1-connection":
            posts = [
                b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                b"GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            ]
            return [bytes((step,)) + data for step in (0, 3, 255) for data in (*posts, *requests[::7])]
        case "h2-server" | "h2-client" | "h2-connection":
            return _conversations()
        case "hpack":
            return [*_sections(), b"\xfe\xfe".join(_sections()), b"\x3f\xe1\x1f\x82\xbe", b"\x20\x82"]
        case "downgrade":
            return _sections()
        case "field-lists":
            return [b"a, b ,, c", b'a="x,y"; b; C=d', b'"a\\"b", "c', b"gzip;q=0.5, *;q=0", b'for="[::1]:80";by=_x']
        case "field-values":
            return [
                b'max-age=60, private="a,b", no-cache, s-maxage="5"', b"0-4, 5-9, -3, 20-", b'W/"a", "b", *', b"*",
                b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994",
                b"gzip;q=0.5, br, *;q=0, identity", b"text/html, */*;q=0.8", b"0-0,-1,99999999999999999999-",
            ]  # fmt: skip
        case _:
            return [
                b'for="[2001:db8::1]:80";host=a;proto=https, for=10.0.0.7\xff10.0.0.1, unknown, [::1]\xff1.1 a, 2 p\xffx, via',
                b'for=_hidden;by=_x\xff1.2.3.4:80\xff1.1 p\xffkeep-alive, x-y\xff0\xffa"b',
            ]
