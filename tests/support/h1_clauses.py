"""More HTTP/1.1 cases of the kind in tests/conformance/data/h1, from the text of RFC 9110 and 9112, clause by clause."""

from __future__ import annotations

import base64
from typing import Any

from tests.support.h1_cases import Case

HOST = b"Host: corpus.test\r\n"
OK = ["ok"]
REFUSED = ["400"]


def case(name: str, raw: bytes, accept: list[str], **more: Any) -> Case:
    """`name` begins with the clause. `gateway`: only an intermediary is asked."""
    rule, _, title = name.partition(" ")
    found: Case = {
        "id": name.replace(" ", "-").replace("§", ""),
        "rule": f"RFC {rule}",
        "title": title,
        "level": "MUST",
        "role": "gateway" if more.pop("gateway", False) else "any",
        "raw_b64": base64.b64encode(raw).decode(),
        "split": [],
        "pause_ms": 0,
        "half_close": False,
        "methods": [],
        "accept": accept,
        "close": None,
        "max_final": None,
        "min_final": None,
        "forward": {},
        "note": "",
    }
    assert set(more) <= set(found), more
    return {**found, **more}


def get(name: str, fields: bytes, accept: list[str], line: bytes = b"GET / HTTP/1.1", **more: Any) -> Case:
    return case(name, line + b"\r\n" + HOST + fields + b"\r\n", accept, **more)


def post(name: str, fields: bytes, content: bytes, accept: list[str], **more: Any) -> Case:
    return case(name, b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + content, accept, **more)


def chunked(name: str, content: bytes, accept: list[str], **more: Any) -> Case:
    return post(name, b"Transfer-Encoding: chunked\r\n", content, accept, **more)


def line(name: str, text: bytes, accept: list[str], **more: Any) -> Case:
    """A request line, or what stands in its place."""
    return case(name, text + b"\r\n" + HOST + b"\r\n", accept, **more)


def first(name: str, text: bytes, **more: Any) -> Case:
    """All that is sent, by a client that then waits for an answer: it is told at once."""
    return case(name, text, REFUSED, close="must", max_final=1, **more)


HELLO = {"body": base64.b64encode(b"hello").decode()}
NOTHING = {"requests": 0}
BAD: dict[str, Any] = {"close": "must", "max_final": 1, "forward": NOTHING}
"""Refused, the end of the connection, and nothing was passed on."""
AFTER = b"GET /behind HTTP/1.1\r\n" + HOST + b"\r\n"

REQUESTS: list[Case] = [
    # 9112 §2.2
    case("9112§2.2 empty lines in front", b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", OK),
    case("9112§2.2 LF in front", b"\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", REFUSED, **BAD),
    case("9112§2.2 CR in front", b"\rGET / HTTP/1.1\r\n" + HOST + b"\r\n", REFUSED, **BAD),
    case("9112§2.2 empty line with a space", b" \r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", REFUSED, **BAD),
    case("9112§2.2 white space behind the start line", b"GET / HTTP/1.1\r\n " + HOST + b"\r\n", REFUSED, **BAD),
    case("9112§2.2 LF ends the head", b"GET / HTTP/1.1\r\n" + HOST + b"\n", REFUSED, **BAD),
    # other protocols, whose client waits for an answer to its first line
    first("other SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    first("other SMTP", b"EHLO client.example\r\n"),
    first("other RTSP", b"OPTIONS rtsp://a.test/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
    first("other SIP", b"OPTIONS sip:a@b.test SIP/2.0\r\n\r\n"),
    first("other PROXY 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    first("other PROXY 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\xdc\4\0\x50"),
    first("other TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    first("other ICAP", b"REQMOD icap://a.test/ ICAP/1.0\r\nHost: a\r\n\r\n"),
    first("other Redis", b"*1\r\n$4\r\nPING\r\n"),
    first("other memcached", b"stats\r\n"),
    first("other MQTT", b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"),
    first("other HTTP/0.9", b"GET /\r\n"),
    # 9112 §3, 9110 §9.1
    line("9110§9.1 M-SEARCH", b"M-SEARCH / HTTP/1.1", OK, forward={"method": "M-SEARCH"}),
    line("9110§9.1 PROPFIND", b"PROPFIND / HTTP/1.1", OK, forward={"method": "PROPFIND"}),
    line("9110§9.1 FOO", b"FOO /x HTTP/1.1", OK, forward={"method": "FOO", "target": "/x"}),
    line("9110§9.1 every tchar", b"!#$%&'*+-.^_`|~0aZ / HTTP/1.1", OK, forward={"method": "!#$%&'*+-.^_`|~0aZ"}),
    line("9110§9.1 case", b"get / HTTP/1.1", OK, forward={"method": "get"}),
    line("9110§15.6.6 2.0", b"GET / HTTP/2.0", ["505"], close="must", forward=NOTHING),
    line("9110§15.6.6 0.9", b"GET / HTTP/0.9", ["505"], close="must", forward=NOTHING),
    line("9112§3.2.3 authority-form", b"GET corpus.test:80 HTTP/1.1", REFUSED, **BAD),
    line("9110§9.3.6 CONNECT", b"CONNECT corpus.test:443 HTTP/1.1", ["501", "400", "405"], forward=NOTHING),
    line("9112§3.2.4 asterisk for GET", b"GET * HTTP/1.1", REFUSED, **BAD),
    line("9112§3.2.4 asterisk", b"OPTIONS * HTTP/1.1", OK, forward={"target": "*"}),
    line("9112§3.2.4 absolute-form of all", b"OPTIONS http://corpus.test HTTP/1.1", OK, forward={"target": "*"}),
    line("9112§3.2.4 absolute-form of /", b"OPTIONS http://corpus.test/ HTTP/1.1", OK, forward={"target": "/"}),
    line(
        "9112§3.2.2 the target's authority counts",
        b"GET http://other.test:81/a?b HTTP/1.1",
        OK,
        forward={"target": "/a?b", "header_equals": ["host", "other.test:81"]},
    ),
    line("9110§4.2.4 userinfo", b"GET http://u:p@corpus.test/ HTTP/1.1", REFUSED, **BAD),
    line("9110§4.2.1 empty host", b"GET http:///a HTTP/1.1", REFUSED, **BAD),
    line("9110§7.4 another scheme", b"GET https://corpus.test/ HTTP/1.1", ["421"], forward=NOTHING),
    line("3986§2.1 a target that is not ASCII", b"GET /caf\xc3\xa9 HTTP/1.1", REFUSED, **BAD),
    case("9110§9.3.2 no content for a HEAD without Host", b"HEAD / HTTP/1.1\r\n\r\n", REFUSED, **BAD),
    get("9110§9.3.2 no content for a HEAD with a bad field", b"X A: b\r\n", REFUSED, line=b"HEAD / HTTP/1.1", **BAD),
    line("9110§9.3.2 no content for a HEAD with a bad target", b"HEAD x HTTP/1.1", REFUSED, **BAD),
    line("9110§9.3.2 no content for a HEAD of another version", b"HEAD / HTTP/3.0", ["505"], close="must", forward=NOTHING),
    case("9110§9.3.2 no content for a HEAD with a bare LF", b"HEAD / HTTP/1.1\n" + HOST, REFUSED, **BAD),
    case("9110§9.3.2 no content for a HEAD with bad content", b"HEAD / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", REFUSED, **BAD),
    # 9112 §5
    get("9110§5.6.2 a name of every tchar", b"!#$%&'*+-.^`|~0aZ: 1\r\n", OK, forward={"header_present": "!#$%&'*+-.^`|~0az"}),
    get("9110§5.5 HTAB within a value", b"X-A: a\tb\r\n", OK, forward={"header_equals": ["x-a", "a\tb"]}),
    get("9110§5.5 VT", b"X-A: a\x0bb\r\n", REFUSED, **BAD),
    get("9110§5.5 ESC", b"X-A: \x1b[2J\r\n", REFUSED, **BAD),
    get("9112§5.2 folded", b"X-A: a\r\n b\r\n", REFUSED, **BAD),
    get("9112§5.1 tab before the colon", b"X-A\t: a\r\n", REFUSED, **BAD),
    get("9110§5.3 order of lines", b"X-A: 2\r\nX-B: x\r\nX-A: 1\r\n", OK, forward={"header_equals": ["x-a", "2, 1"]}),
    get("9110§7.2 Host not first", b"", OK, line=b"GET / HTTP/1.1\r\nX-A: 1", forward={"header_present": "host"}),
    case("9112§3.2 Host by a comma", b"GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host with a fragment", b"GET / HTTP/1.1\r\nHost: a.test#b\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host with a query", b"GET / HTTP/1.1\r\nHost: a.test?b\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host with a tab", b"GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host with two ports", b"GET / HTTP/1.1\r\nHost: a.test:1:2\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host with a port of six digits", b"GET / HTTP/1.1\r\nHost: a.test:655360\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host as a URL", b"GET / HTTP/1.1\r\nHost: http://a.test\r\n\r\n", REFUSED, **BAD),
    case("9112§3.2 Host with angle brackets", b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", REFUSED, **BAD),
    case("9110§4.2.1 Host with an empty port", b"GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n", OK),
    *(
        case(f"9112§3.2 Host {text}", b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % text.encode(), REFUSED, **BAD)
        for text in ("[:::]", "[1:2]", "[::1::2]", "[192.0.2.1]", "[1:2:3:4:5:6:7]", "[::1]a", "[v1.]", "[fe80::1%eth0]")
    ),
    *(
        case(f"3986§3.2 Host {text}", b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % text.encode(), OK, forward={"header_equals": ["host", text]})
        for text in ("[1:2:3:4:5:6:192.0.2.1]:80", "[v1.a:b]", "a_b.test.:0000080", "%41!$&'()*+;=~.test")
    ),
    case("9110§4.2.1 an address that is none in the target", b"GET http://[1:2]/ HTTP/1.1\r\n" + HOST + b"\r\n", REFUSED, **BAD),
    # 9112 §6
    post("9112§6.2 zeros in front", b"Content-Length: 0005\r\n", b"hello", OK, forward=HELLO),
    get("9110§9.3.1 content with GET", b"Content-Length: 5\r\n", OK, forward=NOTHING, close=None)
    | {"raw_b64": base64.b64encode(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello").decode(), "forward": HELLO},
    post("9112§6.1 CHUNKED", b"Transfer-Encoding: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n", OK, forward=HELLO),
    post("9112§7 chunked has no parameters", b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n", ["400", "501"], **BAD),
    post("9112§6.1 unknown coding", b"Transfer-Encoding: foo, chunked\r\n", b"0\r\n\r\n", ["501"], **BAD),
    post("9112§6.3 chunked is not the last", b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n", REFUSED, **BAD),
    post("9112§6.3 a quoted chunked", b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n", ["400", "501"], **BAD),
    post("9112§6.3 a length with chunked behind it", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", REFUSED, **BAD),
    # 9112 §7.1
    chunked("9112§7.1 hexadecimal of either case", b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", OK),
    chunked("9112§7.1.1 quoted extension", b'5;a="b;\\"c";d\r\nhello\r\n0;e=f\r\n\r\n', OK, forward=HELLO),
    chunked("9112§7.1.1 bad white space", b"5 ; a = b\r\nhello\r\n0\r\n\r\n", OK, forward=HELLO),
    chunked("9112§7.1.1 extension without a name", b"5;\r\nhello\r\n0\r\n\r\n", REFUSED, **BAD),
    chunked("9112§7.1.1 extension that does not close", b'5;a="b\r\nhello\r\n0\r\n\r\n', REFUSED, **BAD),
    chunked("9112§7.1.1 control in an extension", b"5;a=\x01\r\nhello\r\n0\r\n\r\n", REFUSED, **BAD),
    chunked("9112§7.1 LF behind the last", b"0\n\r\n", REFUSED, **BAD),
    chunked("9112§7.1 plus", b"+5\r\nhello\r\n0\r\n\r\n", REFUSED, **BAD),
    chunked(
        "9112§7.1.2 trailers are passed on",
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
        OK,
        forward={**HELLO, "trailers": [["x-sum", "1"], ["x-more", "2"]]},
        gateway=True,
    ),
    *(
        chunked(
            f"9110§6.5.1 {name} is no trailer",
            b"5\r\nhello\r\n0\r\n%b: 1\r\nX-Sum: 1\r\n\r\n" % name.encode(),
            OK,
            forward={**HELLO, "trailers": [["x-sum", "1"]]},
            gateway=True,
        )
        for name in (
            "Content-Length", "Transfer-Encoding", "Host", "Authorization", "Cookie", "Connection", "TE", "Trailer",
            "Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "Max-Forwards", "Expect", "Upgrade",
            "X-Forwarded-For", "Forwarded", "X-Request-ID", "Via", "Proxy-Authorization", "Content_Length",
        )
    ),
    chunked("9112§7.1.2 folded trailer", b"0\r\nX: 1\r\n 2\r\n\r\n", REFUSED, **BAD),
    chunked("9112§7.1.2 trailer without a colon", b"0\r\nX\r\n\r\n", REFUSED, **BAD),
    # 9110 §7.6
    get("9110§10.1.4 TE is the connection's", b"TE: gzip;q=0.5\r\nConnection: TE\r\n", OK, forward={"header_absent": "te"}, gateway=True),
    get("9110§10.1.4 TE trailers is asked anew", b"TE: trailers\r\nConnection: TE\r\n", OK, forward={"header_equals": ["te", "trailers"]}, gateway=True),
    get("9110§7.6.1 named among others", b"Connection: a, X-Hop ,, b\r\nX-Hop: 1\r\n", OK, forward={"header_absent": "x-hop"}, gateway=True),
    get("9110§7.6.1 Connection stays here", b"Connection: X-Hop\r\nX-Hop: 1\r\n", OK, forward={"header_absent": "connection"}, gateway=True),
    get("9110§7.6.3 Via grows", b"Via: 1.0 fred, 1.1 b.test (x)\r\n", OK, forward={"header_equals": ["via", "1.0 fred, 1.1 b.test (x), 1.1 under-test"]}, gateway=True),
    get("9110§7.6.3 Via tells the version", b"", OK, line=b"GET / HTTP/1.0", forward={"header_equals": ["via", "1.0 under-test"]}, gateway=True),
    get("9110§7.6.2 Max-Forwards 1", b"Max-Forwards: 1\r\n", OK, line=b"OPTIONS / HTTP/1.1", forward={"header_equals": ["max-forwards", "0"]}, gateway=True),
    get("9110§7.6.2 Max-Forwards 0 ends here", b"Max-Forwards: 0\r\n", ["200", "204"], line=b"OPTIONS * HTTP/1.1", forward=NOTHING, gateway=True),
    get("9110§7.6.2 not for GET", b"Max-Forwards: 0\r\n", OK, forward={"header_equals": ["max-forwards", "0"]}, gateway=True),
    get("9110§7.8 unknown protocol", b"Connection: upgrade\r\nUpgrade: foo/2\r\n", OK, forward={"header_absent": "upgrade"}, gateway=True),
    get("9110§11.7.2 the next proxy's credentials", b"Proxy-Authorization: Basic YTpi\r\n", OK, forward={"header_absent": "proxy-authorization"}, gateway=True),
    get("httpoxy", b"Proxy: http://evil.test\r\n", OK, forward={"header_absent": "proxy"}),
    get("underscore", b"X_Forwarded_For: 192.0.2.1\r\nContent_Length: 5\r\n", OK, forward={"header_absent": "x_forwarded_for"}),
    get("underscore length", b"Content_Length: 5\r\n", OK, forward={"header_absent": "content_length"}),
    # 9112 §9
    get("9112§9.3 close in any case", b"Connection: CLOSE\r\n", OK, close="must"),
    get("9112§9.3 1.0 is kept when asked", b"Connection: Keep-Alive\r\n", OK, line=b"GET / HTTP/1.0", close="no"),
    get("9112§9.3 1.0 close wins", b"Connection: keep-alive, close\r\n", OK, line=b"GET / HTTP/1.0", close="must"),
    get("9112§9.3 1.0 close wins in an earlier line", b"Connection: close\r\nConnection: keep-alive\r\n", OK, line=b"GET / HTTP/1.0", close="must"),
    case("9112§9.6 nothing behind close", b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n" + AFTER, OK, close="must", max_final=1, forward={"requests": 1}),
    case("9112§9.3.2 behind a chunked one", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + AFTER, OK, min_final=2, max_final=2, close="no"),
    case("9112§9.3.2 behind trailers", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n" + AFTER, OK, min_final=2, max_final=2, close="no"),
    case("9112§9.3.2 a bad one behind a good one", b"GET / HTTP/1.1\r\n" + HOST + b"\r\nGET\r\n\r\n" + AFTER, OK, min_final=2, max_final=2, close="must"),
    case("9112§9.3.2 another protocol behind a good one", b"GET / HTTP/1.1\r\n" + HOST + b"\r\n\x16\x03\x01\0", OK, min_final=2, max_final=2, close="must"),
    get("9112§9.6 half-closed and answered", b"", OK, half_close=True, close="must"),
    post("9112§9.6 half-closed behind its content", b"Content-Length: 5\r\n", b"hello", OK, half_close=True, close="must", forward=HELLO),
    post("9112§8 half-closed within its content", b"Content-Length: 6\r\n", b"hello", ["400"], half_close=True, close="must", forward={"complete": 0}),
    case("9112§9.3.2 half-closed behind two", b"GET / HTTP/1.1\r\n" + HOST + b"\r\n" + AFTER, OK, half_close=True, min_final=2, max_final=2, close="must"),
    case("9110§9.3.2 HEAD and then GET", b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n" + AFTER, OK, methods=["HEAD", "GET"], min_final=2, max_final=2, close="no"),
    post("9110§10.1.1 another expectation", b"Expect: 100-continue, foo\r\nContent-Length: 5\r\n", b"hello", ["417"], forward=NOTHING),
]  # fmt: skip


def answer(name: str, raw: bytes, accept: list[str], **more: Any) -> Case:
    """What an origin sends, in the form of responses.json."""
    rule, _, title = name.partition(" ")
    found: Case = {
        "id": name.replace(" ", "-").replace("§", ""),
        "rule": f"RFC {rule}",
        "title": title,
        "level": "MUST",
        "raw_b64": base64.b64encode(raw).decode(),
        "then": "keep",
        "method": "GET",
        "req_body": None,
        "accept": accept,
        "check": {},
    }
    assert set(more) <= set(found), more
    return {**found, **more}


def head(name: str, fields: bytes, accept: list[str], content: bytes = b"hello", line: bytes = b"HTTP/1.1 200 OK", **more: Any) -> Case:  # fmt: skip
    return answer(name, line + b"\r\nCache-Control: no-store\r\n" + fields + b"\r\n" + content, accept, **more)


FIVE = b"Content-Length: 5\r\n"
BODY = {"body": "hello"}
BROKEN = ["502"]
CUT = ["502", "200-cut"]


def coded(name: str, content: bytes, accept: list[str], **more: Any) -> Case:
    return head(name, b"Transfer-Encoding: chunked\r\n", accept, content, **more)


RESPONSES: list[Case] = [
    *(
        head(f"9110§15 {status}", FIVE, [str(status)], line=b"HTTP/1.1 %d Odd" % status, check=BODY)
        for status in (203, 226, 299, 399, 418, 499, 599, 600, 799, 999)
    ),
    head("9110§15 three digits", FIVE, BROKEN, line=b"HTTP/1.1 20 OK"),
    head("9110§15 four digits", FIVE, BROKEN, line=b"HTTP/1.1 2000 OK"),
    head("9110§15 below 100", FIVE, BROKEN, line=b"HTTP/1.1 099 No"),
    head("9112§4 a reason of any text", FIVE, ["200"], line=b"HTTP/1.1 200 \xc3\xa9t\xc3\xa9\tok", check=BODY),
    head("9112§4 an empty reason", FIVE, ["200"], line=b"HTTP/1.1 200 ", check=BODY),
    head("9112§4 a control in the reason", FIVE, BROKEN, line=b"HTTP/1.1 200 a\x07b"),
    head("9112§4 two spaces", FIVE, BROKEN, line=b"HTTP/1.1  200 OK"),
    head("9112§2.3 the name has a case", FIVE, BROKEN, line=b"http/1.1 200 OK"),
    head("9112§2.3 1.2 is 1.1", FIVE, ["200"], line=b"HTTP/1.2 200 OK", check={**BODY, "version": "HTTP/1.1"}),
    answer("9112§2.2 LF ends every line", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BROKEN, then="close"),
    answer("9112§2.2 an empty line in front", b"\r\nHTTP/1.1 200 OK\r\n" + FIVE + b"\r\nhello", BROKEN),
    answer("9112§8 ends in the status line", b"HTTP/1.1 20", BROKEN, then="close"),
    answer("9112§8 ends in the head", b"HTTP/1.1 200 OK\r\nX: y\r\n", BROKEN, then="close"),
    head("9112§5.2 folded", b"X-A: a\r\n b\r\n" + FIVE, BROKEN),
    head("9112§5.1 no colon", b"X-A\r\n" + FIVE, BROKEN),
    head("9112§2.2 LF within the fields", b"X-A: a\nX-Evil: b\r\n" + FIVE, BROKEN, check={"absent": "x-evil"}),
    head("9112§5.4 a head of 140 kB", b"X: " + b"y" * 140_000 + b"\r\n" + FIVE, BROKEN),
    # RFC 9110 §15.2
    *(
        answer(
            f"9110§15.2 {status} is passed on",
            b"HTTP/1.1 %d Odd\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: no-store\r\n" % status
            + FIVE + b"\r\nhello",
            ["200"],
            check={**BODY, "interim": [status]},
        )
        for status in (100, 102, 103, 104, 199)
    ),
    answer("9110§15.2 an interim response and no other", b"HTTP/1.1 103 Early Hints\r\n\r\n", BROKEN, then="close"),
    answer("9110§15.2 interim responses without end", b"HTTP/1.1 102 Processing\r\n\r\n" * 500, BROKEN, then="close"),
    answer("9110§15.2.2 101 that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\nGARBAGE", BROKEN),
    # content, and none
    head("9110§15.3.6 205 has none", b"Content-Length: 0\r\n", ["205"], b"", b"HTTP/1.1 205 Reset Content", check={"body": ""}),
    head("9110§15.3.6 205 with some", FIVE, ["205"], line=b"HTTP/1.1 205 Reset Content", check={"body": ""}),
    head("9110§15.3.5 204 by length 0", b"Content-Length: 0\r\n", ["204"], b"", b"HTTP/1.1 204 No Content", check={"lacks": "content-length"}),
    head("9112§6.1 204 that is chunked", b"Transfer-Encoding: chunked\r\n", ["204"], b"", b"HTTP/1.1 204 No Content", check={"lacks": "transfer-encoding"}),
    head("9110§9.3.2 HEAD tells the length", b"Content-Length: 7777\r\n", ["200"], b"", method="HEAD", check={"has": ["content-length", "7777"]}),
    head("9110§15.4.5 304 tells the length", b"ETag: \"a\"\r\nContent-Length: 7777\r\n", ["304"], b"", b"HTTP/1.1 304 Not Modified"),
    head("9110§9.3.2 HEAD answered with content", FIVE, ["200"], b"hello", method="HEAD"),
    # framing
    head("9112§6.3 zeros in front", b"Content-Length: 0005\r\n", ["200"], check=BODY),
    head("9112§6.3 to the close", b"", ["200"], then="close", check=BODY),
    head("9112§6.3 to the close in 1.0", b"", ["200"], line=b"HTTP/1.0 200 OK", then="close", check=BODY),
    head("9112§6.3 to the close by reset", b"", CUT, then="rst"),
    head("9112§6.3 an unknown coding is read to the close", b"Transfer-Encoding: foo\r\n", ["200"], then="close", check=BODY),
    head("9112§6.3 a length and chunked", FIVE + b"Transfer-Encoding: chunked\r\n", BROKEN, b"5\r\nhello\r\n0\r\n\r\n"),
    head("9112§6.3 a coding below chunked", b"Transfer-Encoding: gzip, chunked\r\n", BROKEN, b"5\r\nhello\r\n0\r\n\r\n"),
    head("9112§6.3 chunked below a coding", b"Transfer-Encoding: chunked, gzip\r\n", BROKEN, b"5\r\nhello\r\n0\r\n\r\n"),
    head("9112§6.3 two lines of chunked", b"Transfer-Encoding: chunked\r\n" * 2, BROKEN, b"5\r\nhello\r\n0\r\n\r\n"),
    head("9112§8 too short", FIVE, CUT, b"hell", then="close"),
    coded("9112§7.1 upper case", b"A\r\n0123456789\r\n0\r\n\r\n", ["200"], check={"body": "0123456789"}),
    coded("9112§7.1.2 trailers are passed on", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", ["200"], check={**BODY, "holds": "x-sum: 1"}),
    coded("9110§6.5.1 a trailer that is none", b"5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n", ["200"], check={**BODY, "absent": "set-cookie"}),
    coded("9112§7.1.2 a folded trailer", b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n", CUT),
    coded("9112§7.1 LF", b"5\nhello\n0\n\n", CUT, then="close"),
    coded("9112§8 without the last chunk", b"5\r\nhello\r\n", CUT, then="close"),
    coded("9112§8 without the last line", b"5\r\nhello\r\n0\r\n", CUT, then="close"),
    coded("9112§7.1.1 an extension without end", b"5;" + b"a" * 100_000, CUT),
    # the message's way on
    head("9110§6.6.1 Date is added", FIVE, ["200"], check={**BODY, "has": ["date", ""]}),
    head("9110§7.6.3 Via grows", b"Via: 1.0 fred\r\n" + FIVE, ["200"], check={**BODY, "has": ["via", "1.0 fred, 1.1 under-test"]}),
    head("9110§7.6.1 what Connection names", b"Connection: a, X-Hop\r\nX-Hop: 1\r\n" + FIVE, ["200"], check={**BODY, "absent": "x-hop"}),
    head("9112§9.3 close", b"Connection: close\r\n" + FIVE, ["200"], then="close", check=BODY),
    head("9112§9.3 close, and the connection stays", b"Connection: close\r\n" + FIVE, ["200"], check=BODY),
    head("9112§9.2 another response behind close", b"Connection: close\r\n" + FIVE, ["200"], b"helloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON", check=BODY),
    answer("9112§9.2 an interim one behind the final", b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n" + FIVE + b"\r\nhelloHTTP/1.1 103 Early Hints\r\n\r\n", ["200"], check={**BODY, "interim": []}),
    head("9112§9.6 413 while the content comes", b"Connection: close\r\n" + FIVE, ["413"], line=b"HTTP/1.1 413 Content Too Large", method="POST", req_body=3_000_000, then="close", check=BODY),
    head("9112§9.6 401 while the content comes", FIVE, ["401"], line=b"HTTP/1.1 401 Unauthorized", method="POST", req_body=3_000_000, check=BODY),
]  # fmt: skip
