"""WebSockets of ASGI applications over real connections (RFC 6455; ASGI 3, "WebSocket")."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from appserver.websockets import WebSocketOptions
from stack.clock import SystemClock, VirtualClock, eventually, settle
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import ClientGone, Refused
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from tests.support.tunnels import far
from tests.support.websocket import BINARY, PING, PONG, TEXT, Echo, close, frame, running

Message = dict[str, Any]


async def accepted(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_text_and_bytes_come_back(compression: str | None) -> None:
    app = Echo()
    async with running(app) as server, connect(server.url, compression=compression, max_size=None) as client:  # type: ignore[arg-type]
        random = os.urandom(300_000)
        for message in ("hello", "", "ü€😀" * 1000, b"", b"\0\xff" * 40_000, random, "x" * 100_000):
            await client.send(message)
            assert await client.recv() == message
        await client.close(4000, "enough")
        await eventually(lambda: app.disconnect is not None)
        assert app.disconnect == {"type": "websocket.disconnect", "code": 4000, "reason": "enough"}
        await eventually(lambda: not server.server.context.connections)
        [exchange] = server.finished
        assert (exchange.status, exchange.termination) == (101, "")
        assert exchange.bytes_in > 300_000
        assert not server.server.context.tunnels


async def test_the_scope_is_the_specs() -> None:
    app = Echo()
    async with running(app) as server:
        await server.open("Sec-WebSocket-Protocol: chat, superchat", "X-Two: 2", "Origin: http://a.test")
    scope = app.scope
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "ws"
    assert scope["http_version"] == "1.1"
    assert scope["path"] == "/chat"
    assert scope["raw_path"] == b"/chat"
    assert scope["query_string"] == b"room=1"
    assert scope["subprotocols"] == ["chat", "superchat"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert "method" not in scope
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"][0] == "127.0.0.1"
    assert scope["state"] == {}
    headers = dict(scope["headers"])
    assert headers[b"host"] == b"a.test"
    assert headers[b"x-two"] == b"2"
    assert headers[b"origin"] == b"http://a.test"


async def test_accept_chooses_a_subprotocol_and_adds_headers() -> None:
    app = Echo(subprotocol="superchat", headers=[(b"X-Room", b"1"), (b"set-cookie", b"a=b")])
    async with running(app) as server:
        client = await server.open("Sec-WebSocket-Protocol: chat, superchat")
        assert client.status == 101
        assert client.field("sec-websocket-protocol") == "superchat"
        assert client.field("x-room") == "1"
        assert client.field("set-cookie") == "a=b"
        assert client.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert client.field("sec-websocket-extensions") is None


@pytest.mark.parametrize("bad", [b"sec-websocket-protocol", b"Sec-WebSocket-Accept", b"sec-websocket-extensions"])
async def test_accept_cannot_say_what_the_server_says(bad: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with running(Echo(headers=[(bad, b"x")])) as server:
        assert (await server.open()).status == 500
    assert "websocket.accept has the header" in caplog.text


async def test_over_http_2_it_is_the_same() -> None:
    """RFC 8441, straight to the app."""
    app = Echo(subprotocol="chat")
    tasks = Tasks()
    async with running(app) as server:
        pool = Pool(
            Upstream("app-1", "127.0.0.1", server.port, protocol="h2"),
            limits=PoolLimits(),
            timeouts=UpstreamTimeouts(),
            clock=SystemClock(),
            tasks=tasks,
        )
        tunnel = await far(
            pool, (b"sec-websocket-protocol", b"chat"), (b"sec-websocket-extensions", b"permessage-deflate")
        )
        assert tunnel.response.get(b"sec-websocket-protocol") == b"chat"
        assert tunnel.response.get(b"sec-websocket-extensions") == b"permessage-deflate; server_max_window_bits=12"
        assert (app.scope["type"], app.scope["http_version"], app.scope["scheme"]) == ("websocket", "2", "ws")
        tunnel.pipe.write(frame(PING, b"p"))
        assert await tunnel.exactly(3) == b"\x8a\x01p"
        tunnel.pipe.write(close(4000))
        assert await tunnel.exactly(4) == b"\x88\x02\x0f\xa0"
        tunnel.pipe.end()
        assert await tunnel.rest() == b""
        await eventually(lambda: app.disconnect is not None)
        assert app.disconnect is not None
        assert app.disconnect["code"] == 4000
        await eventually(lambda: len(server.finished) == 1)
        assert (server.finished[0].status, server.finished[0].termination) == (101, "")
        # a client that resets its stream is gone
        gone = await far(pool)
        gone.pipe.fail(ClientGone())
        await eventually(
            lambda: [one["code"] for one in app.heard if one["type"] == "websocket.disconnect"] == [4000, 1006]
        )
        # and a server that stops refuses the stream, so that it may be asked for elsewhere
        server.service.go_away()
        with pytest.raises(Refused):
            await far(pool)
        await pool.close()
    await tasks.close()


# ── Refused ───────────────────────────────────────────────────────────────────────────────────


async def test_a_close_before_the_handshake_is_403() -> None:
    heard: list[Message] = []

    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4001})
        heard.append(await receive())

    async with running(refuses) as server:
        assert (await server.open()).status == 403
        await eventually(lambda: len(heard) == 1)
    assert heard[0]["type"] == "websocket.disconnect"


@pytest.mark.parametrize("pieces", [[b"go away"], [b"go ", b"away"], [b"go ", b"away", b""]])
async def test_a_refusal_may_be_a_whole_response(pieces: list[bytes]) -> None:
    async def denies(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert "websocket.http.response" in scope["extensions"]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"x")]})
        for at, piece in enumerate(pieces, 1):
            await send({"type": "websocket.http.response.body", "body": piece, "more_body": at < len(pieces)})

    async with running(denies) as server:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(server.url):
                pass
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"go away"
    assert refused.value.response.headers["www-authenticate"] == "x"


async def test_an_app_that_says_nothing_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    for app, why in ((silent, "neither accepted nor refused"), (raises, "ZeroDivisionError")):
        async with running(app) as server:
            assert (await server.open()).status == 500
            await eventually(lambda: len(server.finished) == 1)
            assert why in server.finished[0].detail
    assert "ZeroDivisionError" in caplog.text


async def test_another_version_is_told_which_one_is_spoken() -> None:
    """RFC 6455 §4.4, RFC 9110 §15.5.22."""
    async with running(Echo()) as server:
        client = await server.open(version="8")
        assert client.status == 426
        assert client.field("sec-websocket-version") == "13"
        assert client.field("upgrade") == "websocket"


# ── Endings ───────────────────────────────────────────────────────────────────────────────────


async def test_the_app_closes_with_code_and_reason() -> None:
    heard: list[Message] = []

    async def closes(scope: Any, receive: Any, send: Any) -> None:
        await accepted(scope, receive, send)
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": 4321, "reason": "done ✓"})
        heard.append(await receive())

    async with running(closes) as server:
        async with connect(server.url) as client:
            assert await client.recv() == "last"
            with pytest.raises(websockets.ConnectionClosedError) as ended:
                await client.recv()
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4321, "done ✓")
        await eventually(lambda: len(heard) == 1)
        assert heard[0] == {"type": "websocket.disconnect", "code": 4321, "reason": "done ✓"}
        await eventually(lambda: not server.server.context.connections)


async def test_an_app_that_returns_closes_with_1000() -> None:
    async with running(accepted) as server:
        assert await (await server.open()).closed_with() == (1000, "")


async def test_an_app_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await accepted(scope, receive, send)
        raise ZeroDivisionError("secret")

    async with running(fails) as server:
        assert await (await server.open()).closed_with() == (1011, "")
    assert "ZeroDivisionError" in caplog.text


async def test_a_client_that_vanishes_is_1006_at_once() -> None:
    app = Echo()
    async with running(app) as server:
        client = await server.open()
        loop = asyncio.get_running_loop()
        began = loop.time()
        client.writer.transport.abort()
        await eventually(lambda: app.disconnect is not None)
        assert loop.time() - began < 1.0
        assert app.disconnect == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        await eventually(lambda: not server.server.context.connections)


async def test_a_client_that_vanishes_before_accept() -> None:
    heard: list[Message] = []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        heard.append(await receive())
        heard.append(await receive())
        try:
            await send({"type": "websocket.accept"})
        except OSError as error:
            heard.append({"type": str(error)})

    async with running(waits) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await eventually(lambda: len(heard) == 1)
        writer.transport.abort()
        await eventually(lambda: len(heard) == 3)
    assert [message["type"] for message in heard] == [
        "websocket.connect", "websocket.disconnect", "the WebSocket is closed",
    ]  # fmt: skip


async def test_send_after_the_clients_end_raises_oserror() -> None:
    """ASGI 2.4."""
    raised: list[type] = []

    async def sends(scope: Any, receive: Any, send: Any) -> None:
        await accepted(scope, receive, send)
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            raised.append(type(error))

    async with running(sends) as server:
        async with connect(server.url):
            pass
        await eventually(lambda: len(raised) == 1)


async def test_a_stopping_server_closes_with_1001() -> None:
    app = Echo()
    async with running(app) as server:
        async with connect(server.url) as client:
            server.service.go_away()
            with pytest.raises(websockets.ConnectionClosedOK) as ended:
                await client.recv()
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == 1001
        await eventually(lambda: app.disconnect is not None)
        assert app.disconnect is not None
        assert app.disconnect["code"] == 1001
        with pytest.raises(asyncio.IncompleteReadError):  # no answer: sent again by whoever kept the connection
            await server.open()
        await eventually(lambda: len(server.finished) == 2)
        assert server.finished[1].termination == "drained"


# ── Slow ones ─────────────────────────────────────────────────────────────────────────────────


async def test_an_app_that_does_not_receive_pauses_its_client() -> None:
    go = asyncio.Event()
    count = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal count
        await accepted(scope, receive, send)
        await go.wait()
        while (await receive())["type"] == "websocket.receive":
            count += 1

    async with running(slow, WebSocketOptions(buffer=10_000)) as server:
        client = await server.open()
        written = 0
        for _ in range(2000):  # 20 MB: more than all buffers on the way hold
            client.send(frame(BINARY, b"x" * 10_000))
            written += 1
        await asyncio.sleep(0.3)
        assert client.writer.transport.get_write_buffer_size() > 0
        go.set()
        await client.writer.drain()
        client.send(close(1000))
        assert (await client.closed_with())[0] == 1000
    assert count == written


async def test_a_client_that_does_not_read_pauses_its_app() -> None:
    sent = 0

    async def pours(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await accepted(scope, receive, send)
        for _ in range(2000):
            await send({"type": "websocket.send", "bytes": b"x" * 10_000})
            sent += 1

    async with running(pours) as server:
        client = await server.open()
        await eventually(lambda: sent > 10)
        await asyncio.sleep(0.2)
        before = sent
        await asyncio.sleep(0.1)
        assert sent == before < 2000
        for _ in range(2000):
            assert len((await client.receive())[1]) == 10_000
        assert (await client.closed_with())[0] == 1000


async def test_pings_find_who_is_gone() -> None:
    clock = VirtualClock()
    app = Echo()
    async with running(app, WebSocketOptions(ping=20.0), clock=clock) as server:
        client = await server.open()
        await clock.advance(20)
        bits, payload = await client.receive()
        assert bits == 0x89
        client.send(frame(PONG, payload))
        client.send(frame(TEXT, b"alive"))
        assert (await client.receive())[1] == b"alive"
        await clock.advance(20)
        assert (await client.receive())[0] == 0x89  # not answered
        await clock.advance(20)
        await eventually(lambda: app.disconnect is not None)
        assert app.disconnect is not None
        assert app.disconnect["code"] == 1006


async def test_a_client_that_never_answers_a_close() -> None:
    clock = VirtualClock()
    async with running(accepted, clock=clock) as server:
        client = await server.open()
        assert (await client.closed_with())[0] == 1000
        await settle()
        assert server.server.context.tunnels == 1
        await clock.advance(10)
        assert await client.ended()
