"""WebSocket frames, right and wrong, and permessage-deflate, as a strict server takes them (RFC 6455, RFC 7692)."""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib

import pytest

from appserver.frames import Close, Frames
from appserver.rules.handshake import Agreed
from appserver.websockets import WebSocketOptions
from stack.clock import eventually
from tests.support.websocket import BINARY, CONTINUATION, PING, PONG, TEXT, Echo, close, frame, running

# ── Frames: what a strict peer must do ────────────────────────────────────────────────────────

HEL, LO = frame(TEXT, b"Hel", fin=False), frame(CONTINUATION, b"lo")


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        pytest.param([frame(TEXT, b"hi")], [(0x81, b"hi")], id="RFC6455-5.6 text"),
        pytest.param([HEL, LO], [(0x81, b"Hello")], id="RFC6455-5.4 fragments"),
        pytest.param([HEL, frame(CONTINUATION, b"", fin=False), LO], [(0x81, b"Hello")], id="RFC6455-5.4 empty fragment"),
        pytest.param([HEL, frame(PING, b"p"), LO], [(0x8A, b"p"), (0x81, b"Hello")], id="RFC6455-5.4 ping between"),
        pytest.param([frame(PING, b"x" * 125)], [(0x8A, b"x" * 125)], id="RFC6455-5.5.2 ping"),
        pytest.param([frame(PONG, b"unasked"), frame(TEXT, b"a")], [(0x81, b"a")], id="RFC6455-5.5.3 unasked pong"),
        pytest.param([frame(TEXT, b"\xe2\x82", fin=False), frame(CONTINUATION, b"\xac")], [(0x81, b"\xe2\x82\xac")],
                     id="RFC6455-5.6 a character in two fragments"),
        pytest.param([frame(BINARY, b"x" * 126)], [(0x82, b"x" * 126)], id="RFC6455-5.2 16 bit length"),
        pytest.param([frame(BINARY, b"x" * 65536)], [(0x82, b"x" * 65536)], id="RFC6455-5.2 64 bit length"),
    ],
)  # fmt: skip
async def test_frames_that_are_right(sent: list[bytes], answer: list[tuple[int, bytes]], bytewise: bool) -> None:
    async with running(Echo()) as server:
        client = await server.open()
        data = b"".join(sent)
        if bytewise and len(data) < 1000:
            for at in range(len(data)):
                client.send(data[at : at + 1])
                await asyncio.sleep(0)
        else:
            client.send(data)
        for expected in answer:
            assert await client.receive() == expected
        client.send(close(1000))
        assert await client.receive() == (0x88, b"\x03\xe8")
        assert await client.ended()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param([frame(TEXT, b"x", masked=False)], 1002, id="RFC6455-5.1 unmasked"),
        pytest.param([frame(TEXT, b"x", rsv=4)], 1002, id="RFC6455-5.2 RSV1 without extension"),
        pytest.param([frame(TEXT, b"x", rsv=2)], 1002, id="RFC6455-5.2 RSV2"),
        pytest.param([frame(3, b"x")], 1002, id="RFC6455-5.2 reserved opcode"),
        pytest.param([frame(11, b"x")], 1002, id="RFC6455-5.2 reserved control opcode"),
        pytest.param([frame(PING, b"x" * 126)], 1002, id="RFC6455-5.5 long ping"),
        pytest.param([frame(PING, b"x", fin=False)], 1002, id="RFC6455-5.5 fragmented ping"),
        pytest.param([LO], 1002, id="RFC6455-5.4 continuation of nothing"),
        pytest.param([HEL, frame(TEXT, b"x")], 1002, id="RFC6455-5.4 text within a message"),
        pytest.param([frame(TEXT, b"\xff")], 1007, id="RFC6455-8.1 not UTF-8"),
        pytest.param([frame(TEXT, b"\xed\xa0\x80")], 1007, id="RFC6455-8.1 a surrogate"),
        pytest.param([frame(TEXT, b"\xf4\x90\x80\x80", fin=False)], 1007, id="RFC6455-8.1 at once, not at the end"),
        pytest.param([frame(TEXT, b"\xe2\x82")], 1007, id="RFC6455-8.1 half a character"),
        pytest.param([frame(8, b"\x03")], 1002, id="RFC6455-5.5.1 close of one byte"),
        pytest.param([close(999)], 1002, id="RFC6455-7.4.2 code below 1000"),
        pytest.param([close(1005)], 1002, id="RFC6455-7.4.1 1005 on the wire"),
        pytest.param([close(1006)], 1002, id="RFC6455-7.4.1 1006 on the wire"),
        pytest.param([close(5000)], 1002, id="RFC6455-7.4.2 code above 4999"),
        pytest.param([close(1000, b"\xff")], 1007, id="RFC6455-5.5.1 reason not UTF-8"),
        pytest.param([frame(BINARY, b"x" * 2001)], 1009, id="RFC6455-7.4.1 too big"),
        pytest.param([frame(BINARY, b"x" * 1001, fin=False), frame(CONTINUATION, b"x" * 1000)], 1009, id="too big in parts"),
        pytest.param([frame(TEXT, "€".encode() * 700)], 1009, id="too big in bytes, not in characters"),
    ],
)  # fmt: skip
async def test_frames_that_are_wrong(sent: list[bytes], code: int) -> None:
    app = Echo()
    async with running(app, WebSocketOptions(max_size=2000)) as server:
        client = await server.open()
        client.send(frame(TEXT, b"first"))
        assert await client.receive() == (0x81, b"first")
        client.send(*sent)
        found, reason = await client.closed_with()
        assert found == code
        assert len(reason) <= 123
        client.send(b"more of the same" * 100)
        client.writer.write_eof()
        assert await client.ended()
        await eventually(lambda: app.disconnect is not None)
        assert app.disconnect is not None
        assert app.disconnect["code"] == code
        await eventually(lambda: not server.server.context.connections)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(frame(8), 1005), (close(1000), 1000), (close(1001, b"bye"), 1001), (close(3000), 3000), (close(4999), 4999)],
)
async def test_a_clients_close_is_answered_alike(sent: bytes, code: int) -> None:
    app = Echo()
    async with running(app) as server:
        client = await server.open()
        client.send(sent, frame(TEXT, b"after the close"))
        assert (await client.closed_with())[0] == code
        assert await client.ended()
        await eventually(lambda: app.disconnect is not None)
        assert app.disconnect is not None
        assert app.disconnect["code"] == code
        assert [message["type"] for message in app.heard] == ["websocket.connect", "websocket.disconnect"]


# ── permessage-deflate (RFC 7692) ─────────────────────────────────────────────────────────────


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits",
         "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
        ("permessage-deflate; client_no_context_takeover; server_no_context_takeover",
         "permessage-deflate; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=12"),
        ("permessage-deflate; x=1, permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=x", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("x-webkit-deflate-frame", None),
    ],
)  # fmt: skip
async def test_what_is_agreed_on(offer: str, answer: str | None) -> None:
    async with running(Echo()) as server:
        assert (await server.open(f"Sec-WebSocket-Extensions: {offer}")).field("sec-websocket-extensions") == answer
    async with running(Echo(), WebSocketOptions(compress=False)) as server:
        assert (await server.open(f"Sec-WebSocket-Extensions: {offer}")).field("sec-websocket-extensions") is None


async def test_a_ping_between_compressed_fragments() -> None:
    async with running(Echo()) as server:
        client = await server.open("Sec-WebSocket-Extensions: permessage-deflate")
        data = deflated(b"Hello" * 100)
        client.send(frame(TEXT, data[:5], fin=False, rsv=4), frame(PING, b"p"), frame(CONTINUATION, data[5:]))
        assert await client.receive() == (0x8A, b"p")
        bits, payload = await client.receive()
        assert bits == 0xC1
        assert zlib.decompressobj(wbits=-12).decompress(payload + b"\0\0\xff\xff") == b"Hello" * 100


def test_a_bomb_is_cut_off_before_it_is_unpacked() -> None:
    """200 MB in 200 KB: one slice of it is the most that is ever unpacked."""
    bomb = frame(BINARY, deflated(b"\0" * 200_000_000), rsv=4)
    frames = Frames(Agreed(12, 12, False, False, b""), max_size=100_000)
    tracemalloc.start()
    try:
        events = frames.receive(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert events == [Close(1009, "a message of more than 100000 bytes", True)]
    assert peak < 30_000_000
