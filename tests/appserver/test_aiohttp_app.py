"""An aiohttp Application on its runner, over a passed socket and real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

from appserver.aiohttp_app import EXCHANGE, AiohttpRunner
from stack.clock import SystemClock, eventually
from stack.config.base import Limits, Timeouts
from stack.errors import NotFound
from stack.http.trust import Trust
from stack.telemetry.exchange import Exchange

Get = Callable[..., Awaitable["Answer"]]


class Answer:
    def __init__(self, head: bytes, body: bytes) -> None:
        line, *lines = head.decode().split("\r\n")
        self.status = int(line.split()[1])
        self.fields = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        self.body = body


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def get(self, path: str = "/", *fields: str) -> Answer:
        self.send(path, *fields)
        return await self.answer()

    def send(self, path: str = "/", *fields: str) -> None:
        self.writer.write("\r\n".join([f"GET {path} HTTP/1.1", "Host: shop.test", *fields, "", ""]).encode())

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        answer = Answer(head, b"")
        answer.body = await self.reader.readexactly(int(answer.fields.get("content-length", 0)))
        return answer


class Running:
    def __init__(self, runner: AiohttpRunner, address: tuple[str, int], finished: list[Exchange]) -> None:
        self.runner, self.address, self.finished = runner, address, finished

    async def connect(self) -> Connection:
        return Connection(*await asyncio.open_connection(*self.address))

    async def is_closed(self) -> bool:
        try:
            (await self.connect()).writer.close()
        except OSError:
            return True
        return False


@asynccontextmanager
async def running(
    app: web.Application, *, trusted: tuple[str, ...] = (), linger: float = 0.2, drain: float = 3.0
) -> AsyncIterator[Running]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    finished: list[Exchange] = []
    runner = AiohttpRunner(
        app,
        name="app-1",
        clock=SystemClock(),
        random=Random(1),
        limits=Limits(),
        timeouts=Timeouts(drain=drain, linger=linger),
        trust=Trust(trusted),
        finished=[finished.append],
    )
    await runner.setup()
    await runner.listen(sock)
    try:
        yield Running(runner, sock.getsockname(), finished)
    finally:
        await runner.close()


def application() -> web.Application:
    app = web.Application()
    app["go"] = asyncio.Event()  # type: ignore[misc]

    async def who(request: web.Request) -> web.Response:
        request[EXCHANGE].mark("db", "asked")
        return web.json_response({"remote": request.remote, "scheme": request.scheme, "host": request.host})

    async def fail(request: web.Request) -> web.Response:
        raise LookupError("secret detail")

    async def missing(request: web.Request) -> web.Response:
        raise NotFound("No such shoe.")

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise LookupError("too late")

    async def slow(request: web.Request) -> web.Response:
        await app["go"].wait()
        return web.Response(text="slow")

    app.router.add_get("/", who)
    app.router.add_get("/fail", fail)
    app.router.add_get("/missing", missing)
    app.router.add_get("/cut", cut)
    app.router.add_get("/slow", slow)
    return app


pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")


async def test_the_response_carries_id_and_timing_and_no_software() -> None:
    async with running(application()) as server:
        connection = await server.connect()
        answer = await connection.get()
    assert answer.status == 200
    assert answer.fields["x-request-id"] == server.finished[0].request_id.decode()
    assert answer.fields["server-timing"].startswith("app-1.db;dur=")
    assert "app-1.app;dur=" in answer.fields["server-timing"]
    assert "server" not in answer.fields


async def test_the_exchange_of_a_request_is_whole() -> None:
    async with running(application()) as server:
        connection = await server.connect()
        answer = await connection.get("/?a=1", "X-Request-ID: mine")
        (exchange,) = server.finished
    assert (exchange.hop, exchange.status, exchange.bytes_out) == ("app-1", 200, len(answer.body))
    assert [(step, word) for step, word, _ in exchange.marks] == [("db", "asked"), ("app", "answered")]
    assert exchange.request is not None
    assert (exchange.request.method, exchange.request.target, exchange.request.authority) == (
        b"GET",
        b"/?a=1",
        b"shop.test",
    )
    assert exchange.request_id != b"mine"  # nobody is trusted
    assert exchange.client == "127.0.0.1"


async def test_a_trusted_peer_is_believed_about_the_client() -> None:
    fields = "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "X-Request-ID: mine"
    async with running(application(), trusted=("127.0.0.1",)) as server:
        answer = await (await server.connect()).get("/", *fields)
        assert json.loads(answer.body) == {"remote": "198.51.100.7", "scheme": "https", "host": "shop.test"}
        assert answer.fields["x-request-id"] == "mine"
    async with running(application()) as server:
        answer = await (await server.connect()).get("/", *fields)
        assert json.loads(answer.body) == {"remote": "127.0.0.1", "scheme": "http", "host": "shop.test"}


async def test_what_escapes_the_app_is_a_problem_document(caplog: pytest.LogCaptureFixture) -> None:
    async with running(application()) as server:
        connection = await server.connect()
        answer = await connection.get("/fail")
        problem = json.loads(answer.body)
        again = await connection.get("/missing")  # on the same connection
        nowhere = await connection.get("/nowhere")
    assert (answer.status, answer.fields["content-type"]) == (500, "application/problem+json")
    assert problem["request_id"] == answer.fields["x-request-id"]
    assert b"secret" not in answer.body
    assert server.finished[0].marks[-1][:2] == ("app", "failed")
    assert [record.message for record in caplog.records] == ["the app failed: GET /fail"]
    assert (again.status, json.loads(again.body)["detail"]) == (404, "No such shoe.")
    assert nowhere.status == 404


async def test_an_error_after_the_start_cuts_the_connection() -> None:
    async with running(application()) as server:
        connection = await server.connect()
        connection.send("/cut")
        data = await connection.reader.read()
    assert b"half" in data
    assert not data.endswith(b"0\r\n\r\n")


async def test_a_malformed_request_is_refused() -> None:
    async with running(application()) as server:
        connection = await server.connect()
        connection.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n")
        assert (await connection.answer()).status == 400


async def test_draining_finishes_what_is_in_flight_and_says_close() -> None:
    app = application()
    async with running(app) as server:
        busy, idle = await server.connect(), await server.connect()
        await idle.get()
        busy.send("/slow")
        await eventually(lambda: server.runner.in_flight == 1)
        draining = asyncio.get_running_loop().create_task(server.runner.drain())
        await eventually(lambda: len(server.runner.connections) == 1)  # the idle one went after the linger
        assert await idle.reader.read() == b""
        app["go"].set()
        answer = await busy.answer()
        await draining
    assert (answer.body, answer.fields["connection"]) == (b"slow", "close")


async def test_a_request_on_an_idle_connection_while_lingering_is_answered() -> None:
    async with running(application(), linger=2.0) as server:
        connection = await server.connect()
        assert "connection" not in (await connection.get()).fields
        draining = asyncio.get_running_loop().create_task(server.runner.drain())
        await eventually(server.is_closed)
        answer = await connection.get()
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert await connection.reader.read() == b""
        await draining


async def test_draining_without_connections_is_immediate() -> None:
    async with running(application(), linger=60.0) as server:
        await asyncio.wait_for(server.runner.drain(), 2)


async def test_what_does_not_end_within_the_drain_time_is_cut_off() -> None:
    async with running(application(), linger=0.01, drain=0.6) as server:
        connection = await server.connect()
        connection.send("/slow")
        await eventually(lambda: server.runner.in_flight == 1)
        began = asyncio.get_running_loop().time()
        await asyncio.wait_for(server.runner.drain(), 5)
        assert 0.5 < asyncio.get_running_loop().time() - began < 3
        assert await connection.reader.read() == b""


async def test_a_trusted_post_keeps_its_content() -> None:
    app = application()

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app.router.add_post("/echo", echo)
    async with running(app, trusted=("127.0.0.1",)) as server:
        connection = await server.connect()
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ::1\r\nContent-Length: 5\r\n\r\n"
        connection.writer.write(head + b"hello")
        assert (await connection.answer()).body == b"hello"
        assert server.finished[0].bytes_in == 5


async def test_startup_and_cleanup_of_the_app_are_run() -> None:
    seen: list[str] = []
    app = web.Application()

    async def context(app: web.Application) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    app.cleanup_ctx.append(context)
    async with running(app):
        assert seen == ["up"]
    assert seen == ["up", "down"]


async def test_a_websocket_is_logged_and_told_that_the_server_stops() -> None:
    ended: list[int | None] = []

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        ended.append(socket.close_code)
        return socket

    app = web.Application()
    app.router.add_get("/chat", echo)
    async with running(app) as server:
        host, port = server.address
        async with connect(f"ws://{host}:{port}/chat") as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            assert server.runner.tunnels == 1
            stopping = asyncio.ensure_future(server.runner.drain())
            with pytest.raises(ConnectionClosedOK) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            await stopping
    assert [exchange.status for exchange in server.finished] == [101]
    assert len(ended) == 1
