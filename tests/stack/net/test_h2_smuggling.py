"""Requests over HTTP/2 that would be two, or another one, in HTTP/1.1 (RFC 9113 §8.2.1, §10.3): by raw frames to each
hop, with an origin behind it that forgives nothing. None is forwarded in a form that could be read otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.h2_peer import Peer, client
from tests.support.hops import hop
from tests.support.strict_origin import StrictOrigin, strict_origin

Pair = tuple[bytes, bytes]
METHOD, SCHEME, AUTHORITY, PATH = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"shop.test"),
    (b":path", b"/"),
)
GET = [METHOD, SCHEME, AUTHORITY, PATH]
POST = [(b":method", b"POST"), *GET[1:]]
EVIL = b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"
LINE = b"\r\nX-Evil: smuggled"
CONTROLS = {b"\r": "cr", b"\n": "lf", b"\0": "nul", b"\r\n": "crlf", b"\x0b": "vt", b"\x7f": "del"}


class Hostile:
    """One stream: a head, content, trailers."""

    def __init__(self, head: list[Pair], *content: bytes, trailers: list[Pair] | None = None) -> None:
        self.head, self.content, self.trailers = head, content, trailers

    def frames(self, peer: Peer, stream: int) -> Iterator[bytes]:
        last = not self.content and self.trailers is None
        yield peer.headers(stream, self.head, end=last)
        for at, piece in enumerate(self.content, 1):
            yield peer.data(stream, piece, end=at == len(self.content) and self.trailers is None)
        if self.trailers is not None:
            yield peer.headers(stream, self.trailers)


def _with(pseudo: bytes, value: bytes) -> list[Pair]:
    return [(name, value if name == pseudo else was) for name, was in GET]


def _hostile() -> Iterator[tuple[str, Hostile]]:
    for control, word in CONTROLS.items():
        yield f"8.2.1-{word}-in-a-name", Hostile([*GET, (b"x" + control + b"evil", b"1")])
        yield f"8.2.1-{word}-in-a-value", Hostile([*GET, (b"x-a", b"1" + control + b"x-evil: smuggled")])
        yield f"8.2.1-{word}-at-the-end-of-a-value", Hostile([*GET, (b"x-a", b"1" + control)])
        yield f"8.2.1-{word}-in-a-cookie", Hostile([*GET, (b"cookie", b"a=1"), (b"cookie", b"b" + control + EVIL)])
        yield f"8.2.1-{word}-in-a-trailer", Hostile(POST, b"x", trailers=[(b"x-t", b"1" + control + b"x: y")])
        yield f"8.2.1-{word}-in-the-name-of-a-trailer", Hostile(POST, b"x", trailers=[(b"x" + control + b"t", b"1")])
        for pseudo in (b":method", b":scheme", b":authority", b":path"):
            good = dict(GET)[pseudo]
            where = pseudo[1:].decode()
            yield f"8.3.1-{word}-in-{where}", Hostile(_with(pseudo, good + control + LINE))
            yield f"8.3.1-{word}-and-a-request-in-{where}", Hostile(_with(pseudo, good + control + EVIL))
            yield f"8.3.1-{word}-alone-in-{where}", Hostile(_with(pseudo, good + control))
    for pseudo, value in (
        (b":method", b"GET /smuggled HTTP/1.1" + EVIL), (b":method", b"GET /smuggled"), (b":method", b" GET"),
        (b":method", b"GET "), (b":method", b"G\tT"), (b":method", b"GET:"), (b":method", b"G(T"), (b":method", b""),
        (b":path", b"/ HTTP/1.1"), (b":path", b"/a /smuggled"), (b":path", b" /"), (b":path", b"/ "), (b":path", b"/\t"),
        (b":path", b"smuggled"), (b":path", b""), (b":path", b"*"), (b":path", b"http://evil.test/smuggled"),
        (b":path", b"//evil.test/smuggled#x"), (b":path", b"/a#b"), (b":path", b"@evil.test/"),
        (b":authority", b"shop.test/smuggled"), (b":authority", b"evil@shop.test"), (b":authority", b"shop.test evil"),
        (b":authority", b"shop.test:80:80"), (b":authority", b"shop.test:x"), (b":authority", b"[::1"),
        (b":authority", b"shop.test?x"), (b":authority", b"shop.test#x"), (b":authority", b""),
        (b":scheme", b"http://evil.test/smuggled?"), (b":scheme", b""), (b":scheme", b"file"), (b":scheme", b"ht tp"),
    ):  # fmt: skip
        yield f"8.3.1-{pseudo[1:].decode()}-{value[:24]!r}", Hostile(_with(pseudo, value))
    for name, value in (
        (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity"), (b"transfer_encoding", b"chunked"),
        (b"Transfer-Encoding", b"chunked"), (b"transfer-encoding ", b"chunked"), (b"connection", b"close"),
        (b"connection", b"content-length"), (b"upgrade", b"h2c"), (b"keep-alive", b"5"), (b"proxy-connection", b"x"),
        (b"http2-settings", b"AA"), (b"te", b"chunked"), (b"te", b"trailers, deflate"), (b"host", b"evil.test"),
        (b"content_length", b"3"), (b"x:", b"1"), (b":x", b"1"), (b"", b"1"), (b" x", b"1"), (b"x ", b"1"),
        (b"content-length", b"0\r\n\r\nGET /smuggled HTTP/1.1"), (b"expect", b"100-continue, x"),
    ):  # fmt: skip
        yield (
            f"8.2.2-{name!r}-{value[:20]!r}",
            Hostile([*POST, (name, value)], b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        )
    for length in (
        b"3",
        b"0",
        b"100",
        b"+5",
        b"-5",
        b"5,5",
        b"5, 6",
        b"0x5",
        b"5 ",
        b" 5",
        b"",
        b"1e1",
        b"\xd9\xa5",
        b"05e",
        b"9" * 30,
    ):
        yield f"8.1.1-content-length-{length!r}", Hostile([*POST, (b"content-length", length)], EVIL)
    two = [(b"content-length", b"5"), (b"content-length", b"50")]
    yield "8.1.1-two-lengths", Hostile([*POST, *two], b"hello" + EVIL)
    yield "8.1.1-the-same-length-twice", Hostile([*POST, two[0], two[0]], b"hello")
    yield "8.1.1-length-and-no-content", Hostile([*GET, (b"content-length", b"44")])
    yield "8.1.1-length-and-trailers", Hostile([*POST, (b"content-length", b"44")], b"hello", trailers=[(b"x", b"1")])
    yield "8.1-length-in-a-trailer", Hostile(POST, b"hello", trailers=[(b"content-length", b"44")])
    yield "8.1-coding-in-a-trailer", Hostile(POST, b"hello", trailers=[(b"transfer-encoding", b"chunked")])
    yield "8.1-pseudo-in-a-trailer", Hostile(POST, b"hello", trailers=[(b":path", b"/smuggled")])
    yield "8.1-host-in-a-trailer", Hostile(POST, b"hello", trailers=[(b"host", b"evil.test")])
    yield "8.3-twice-path", Hostile([*GET, (b":path", b"/smuggled")])
    yield "8.3-twice-method", Hostile([*GET, (b":method", b"POST")])
    yield "8.3-pseudo-behind", Hostile([*GET[:3], (b"x", b"1"), PATH])
    yield "8.3-protocol", Hostile([*GET, (b":protocol", b"websocket")])
    yield "8.5-connect", Hostile([(b":method", b"CONNECT"), (b":authority", b"evil.test:443")], EVIL)
    yield "8.3-two-hosts", Hostile([*GET, (b"host", b"shop.test"), (b"host", b"evil.test")])
    yield (
        "9112-7.1-chunks-in-the-content",
        Hostile(POST, b"5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", b"0\r\n\r\n"),
    )
    yield "9112-7.1-a-request-as-content-of-get", Hostile(GET, EVIL)
    yield "9112-7.1-a-request-as-content-of-head", Hostile([(b":method", b"HEAD"), *GET[1:]], EVIL)
    yield "9112-7.1-a-request-as-content-of-trace", Hostile([(b":method", b"TRACE"), *GET[1:]], EVIL)


HOSTILE = dict(_hostile())
HARMLESS = {
    "8.2.2-b'transfer_encoding'-b'chunked'",
    "8.2.2-b'content_length'-b'3'",
    "8.2.2-b'http2-settings'-b'AA'",
    "8.1-length-in-a-trailer",
    "8.1-host-in-a-trailer",
    "9112-7.1-chunks-in-the-content",
    "9112-7.1-a-request-as-content-of-get",
    "9112-7.1-a-request-as-content-of-head",
}
"""What is forwarded, without the field that would do harm: the rest means nothing in HTTP/1.1."""
PER_CONNECTION = 40
"""So many resets are forgiven one."""


async def outcome(peer: Peer, stream: int, hostile: Hostile) -> int:
    """The status, or 0 for a stream that was reset."""
    peer.send(*hostile.frames(peer, stream))
    try:
        head, _, _ = await peer.answer(stream)
    except ConnectionResetError:
        return 0
    return int(head[0][1])


async def canary(peer: Peer, stream: int) -> None:
    """The next request on the same connections is answered as its own."""
    peer.send(peer.headers(stream, [METHOD, SCHEME, AUTHORITY, (b":path", b"/canary")]))
    head, content, _ = await peer.answer(stream)
    assert (head[0][1], content) == (b"200", b"origin-ok\n")


def options(kind: str, port: int) -> dict[str, Any]:
    behind = f"http://127.0.0.1:{port}"
    match kind:
        case "cdn_edge":
            return {"origin": behind}
        case "loadbalancer":
            return {"backend": (behind,), "check": "none", "passive_fall": 1_000_000}
    return {"upstream": behind, "health": "", "compress": False}


@pytest.mark.parametrize("kind", ["cdn_edge", "loadbalancer", "proxy"])
async def test_nothing_is_smuggled(kind: str, tmp_path: Path) -> None:
    faults: dict[str, Any] = {}
    taken: dict[str, list[bytes]] = {}
    names = list(HOSTILE)
    async with strict_origin() as origin, hop(kind, tmp_path, **options(kind, origin.port)) as port:
        for begin in range(0, len(names), PER_CONNECTION):
            async with client(port) as peer:
                for stream, name in enumerate(names[begin : begin + PER_CONNECTION]):
                    before = len(origin.received)
                    status = await outcome(peer, 4 * stream + 1, HOSTILE[name])
                    await canary(peer, 4 * stream + 3)
                    came = origin.received[before:]
                    if problems := _problems(status, came):
                        faults[name] = problems
                    taken[name] = [request.raw for request in came if request.target != b"/canary"]
    assert not faults, "\n".join(f"{name}: {problems}" for name, problems in faults.items())
    assert {name for name, raw in taken.items() if raw} == HARMLESS
    assert len(names) > 140


def _problems(status: int, came: list[Any]) -> list[str]:
    found = [fault for request in came for fault in request.faults]
    own = [request for request in came if request.target != b"/canary"]
    if len(own) > 1:
        found.append(f"it became {len(own)} requests")
    for request in own:
        if b"smuggled" in request.target or b"x-evil" in dict(request.fields) or request.all(b"host") != [b"shop.test"]:
            found.append(f"it became {request.raw!r}")
        if not request.complete and status == 200:
            found.append("half a request was answered")
    if status == 200 and not own:
        found.append("answered by nobody")
    return found


async def test_the_origin_would_notice() -> None:
    """What this file rests on: sent as it is, a request within a field is two."""
    from tests.support.wire import talk

    async with strict_origin() as origin:
        await talk(origin.port, b"GET / HTTP/1.1\r\nHost: shop.test\r\nX: 1" + EVIL)
        assert [request.target for request in origin.received] == [b"/", b"/smuggled"]
    assert isinstance(origin, StrictOrigin)
