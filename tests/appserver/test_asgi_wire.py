"""ASGI applications behind the engine, over real connections: what a client sees."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from appserver.asgi import App, AsgiService
from stack.clock import SystemClock, eventually
from stack.config.base import Limits, Timeouts
from stack.http.trust import Trust
from stack.net.context import Context
from stack.net.server import Server
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


class Running:
    def __init__(self, port: int, tasks: Tasks, finished: list[Exchange], server: Server) -> None:
        self.port, self.tasks, self.finished, self.server = port, tasks, finished, server

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Everything that comes until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@asynccontextmanager
async def running(app: App, *, trusted: tuple[str, ...] = (), limits: Limits | None = None) -> AsyncIterator[Running]:
    tasks, app_tasks = Tasks(), Tasks()
    finished: list[Exchange] = []
    service = AsgiService("app-1", tasks=app_tasks)
    service.app = app
    server = Server(
        Context(
            service,
            name="app-1",
            clock=SystemClock(),
            random=Random(1),
            tasks=tasks,
            limits=limits or Limits(),
            timeouts=Timeouts(drain=2.0, body=0.3),
            trust=Trust(trusted),
            finished=[finished.append],
        )
    )
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await server.listen(sock)
    try:
        yield Running(sock.getsockname()[1], app_tasks, finished, server)
    finally:
        await server.close()
        await app_tasks.close()
        await tasks.close()


def request(line: str = "GET /", *fields: str, close: bool = True, version: str = "1.1") -> bytes:
    return "\r\n".join(
        [f"{line} HTTP/{version}", "Host: shop.test", *fields, *(["Connection: close"] if close else []), "", ""]
    ).encode()


async def told(scope: Any, receive: Any, send: Any) -> None:
    shown = {
        key: scope[key] for key in ("method", "path", "query_string", "raw_path", "scheme", "client", "http_version")
    }
    await send(START)
    await send({"type": "http.response.body", "body": json.dumps(shown, default=bytes.decode).encode()})


async def digest(scope: Any, receive: Any, send: Any) -> None:
    seen, more = hashlib.sha256(), True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        seen.update(message["body"])
        more = message["more_body"]
    await send(START)
    await send({"type": "http.response.body", "body": seen.hexdigest().encode()})


async def streams(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    for piece in (b"one ", b"two ", b"three"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def test_the_scope_of_a_real_request() -> None:
    async with running(told) as server:
        answer = await server.ask(request("GET /a%20b?c=d"))
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    client = seen.pop("client")
    assert seen == {
        "method": "GET", "path": "/a b", "raw_path": "/a%20b", "query_string": "c=d", "scheme": "http",
        "http_version": "1.1",
    }  # fmt: skip
    assert client[0] == "127.0.0.1"
    assert client[1] > 0


async def test_a_trusted_proxy_speaks_for_its_client() -> None:
    fields = ("X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https")
    async with running(told, trusted=("127.0.0.0/8",)) as server:
        seen = json.loads((await server.ask(request("GET /", *fields))).partition(b"\r\n\r\n")[2])
    assert (seen["client"], seen["scheme"]) == (["198.51.100.7", 0], "https")
    async with running(told) as server:
        seen = json.loads((await server.ask(request("GET /", *fields))).partition(b"\r\n\r\n")[2])
    assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")


async def test_a_stream_is_chunked() -> None:
    async with running(streams) as server:
        head, _, body = (await server.ask(request())).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body.endswith(b"0\r\n\r\n")
    assert b"".join(body.split(b"\r\n")[1::2]) == b"one two three"


async def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    async with running(streams) as server:
        head, _, body = (await server.ask(request(close=False, version="1.0"))).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"one two three"


@pytest.mark.parametrize("app", [told, streams])
async def test_head_has_no_content(app: App) -> None:
    async with running(app) as server:
        head, _, body = (await server.ask(request("HEAD /"))).partition(b"\r\n\r\n")
        assert body == b""
        assert b" 200 " in head
        assert b"content-length: 0" not in head  # RFC 9110 §8.6: what GET would have, or nothing
        await eventually(lambda: len(server.tasks) == 0)


async def test_several_requests_on_one_connection_and_pipelined() -> None:
    async with running(told) as server:
        answer = await server.ask(request("GET /1", close=False) + request("GET /2", close=False) + request("GET /3"))
    assert [part[:2] for part in answer.split(b'"path": "/')[1:]] == [b'1"', b'2"', b'3"']


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_big_upload_arrives_whole(chunked: bool) -> None:
    data = Random(7).randbytes(3_000_000)
    async with running(digest) as server:
        reader, writer = await server.connect()
        if chunked:
            writer.write(request("POST /", "Transfer-Encoding: chunked"))
            for at in range(0, len(data), 50_000):
                piece = data[at : at + 50_000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(request("POST /", f"Content-Length: {len(data)}") + data)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.endswith(hashlib.sha256(data).hexdigest().encode())


async def test_a_big_download_is_held_by_a_slow_client() -> None:
    sent = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536

    async with running(endless) as server:
        reader, writer = await server.connect()
        writer.write(request())
        await reader.readuntil(b"\r\n\r\n")
        held = -1
        while held != sent:  # until nothing more is taken
            held = sent
            await asyncio.sleep(0.3)
        assert held < 32 << 20
        assert len(server.tasks) == 1
        writer.transport.abort()
        await eventually(lambda: len(server.tasks) == 0)
    assert server.finished[0].termination == "client-gone"


async def test_an_upload_that_is_asked_for_with_100_continue() -> None:
    async with running(digest) as server:
        reader, writer = await server.connect()
        writer.write(request("POST /", "Content-Length: 2", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.read()).endswith(hashlib.sha256(b"ok").hexdigest().encode())
        writer.close()


async def test_an_app_that_does_not_read_is_answered_for_without_100() -> None:
    async with running(told) as server:
        answer = await server.ask(request("POST /", "Content-Length: 2", "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        (["Content-Length: 100"], b"x" * 100, 413),
        (["Transfer-Encoding: chunked"], b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n", 413),
        (["Content-Length: 5"], b"slow", 408),
        (["Transfer-Encoding: chunked"], b"zz\r\n", 400),
    ],
)
async def test_content_that_the_engine_refuses(fields: list[str], body: bytes, status: int) -> None:
    async with running(digest, limits=Limits(body=50)) as server:
        answer = await server.ask(request("POST /", *fields) + body)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        await eventually(lambda: len(server.tasks) == 0)


async def test_an_error_before_the_start_is_a_problem_document(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("secret detail")

    async with running(fails) as server:
        head, _, body = (await server.ask(request("GET /"))).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"application/problem+json" in head
    assert problem["hop"] == "app-1"
    assert b"secret" not in body
    assert problem["title"] == "The application failed"
    assert "secret detail" in str(caplog.records[0].exc_info)
    assert f"request {problem['request_id']}" in caplog.records[0].message
    assert [(step, word) for step, word, _ in server.finished[0].marks] == [("app", "failed")]


async def test_an_error_after_the_start_cuts_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError("too late")

    async with running(fails) as server:
        reader, writer = await server.connect()
        writer.write(request())
        data = b""
        with contextlib.suppress(ConnectionResetError):  # a reset or an end: both without the last chunk
            while piece := await reader.read(1000):
                data += piece
        writer.close()
    assert b"half" in data
    assert not data.endswith(b"0\r\n\r\n")
    assert any("too late" in str(record.exc_info) for record in caplog.records)


async def test_a_client_that_goes_is_a_disconnect() -> None:
    seen: list[str] = []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append((await receive())["type"])

    async with running(waits) as server:
        _, writer = await server.connect()
        writer.write(request())
        await eventually(lambda: len(server.tasks) == 1)
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await eventually(lambda: seen == ["http.disconnect"])
        await eventually(lambda: len(server.finished) == 1)
    assert server.finished[0].termination == "client-gone"


async def test_header_injection_is_the_apps_failure() -> None:
    async def injects(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y\r\nset-cookie: stolen=1")]})
        await send({"type": "http.response.body", "body": b""})

    async with running(injects) as server:
        answer = await server.ask(request())
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer


async def test_what_the_app_does_afterwards_does_not_hold_the_connection() -> None:
    go = asyncio.Event()

    async def later(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
        await go.wait()

    async with running(later) as server:
        answer = await server.ask(request("GET /", close=False) + request("GET /"))
        assert answer.count(b"HTTP/1.1 200") == 2
        assert len(server.tasks) == 2
        go.set()
        await eventually(lambda: len(server.tasks) == 0)
