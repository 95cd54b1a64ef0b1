"""Slow clients of an aiohttp application."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from appserver.aiohttp_app import AiohttpRunner
from stack.clock import VirtualClock, eventually
from stack.config.base import Limits, Timeouts
from stack.http.trust import Trust
from tests.support.wire import listener, statuses

TIMES = Timeouts(head=10, body=30, body_rate=100, send=30, send_rate=100)
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


async def content(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(len(await request.read())))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(65536))


@asynccontextmanager
async def running(limits: Limits | None = None) -> AsyncIterator[tuple[int, AiohttpRunner, VirtualClock]]:
    app, clock, sock = web.Application(), VirtualClock(), listener()
    app.router.add_post("/", content)
    app.router.add_get("/endless", endless)
    runner = AiohttpRunner(
        app, name="app-1", clock=clock, random=random.Random(1), limits=limits or Limits(), timeouts=TIMES,
        trust=Trust(()), finished=(),
    )  # fmt: skip
    await runner.setup()
    await runner.listen(sock)
    try:
        yield sock.getsockname()[1], runner, clock
    finally:
        closing = asyncio.ensure_future(runner.close())
        while not closing.done():
            await clock.advance(0.1)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([b""] * 4, [], id="no byte"),
        pytest.param([b"G", b"E", b"T", b" "], [408], id="a head byte by byte"),
        pytest.param([POST % 2 + b"ab", b"P", b"O", b"S", b"T"], [200, 408], id="a second head byte by byte"),
    ],
)
async def test_heads(pieces: list[bytes], expected: list[int]) -> None:
    async with running() as (port, runner, clock):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: len(runner.connections) == 1)
        [guard] = runner._waiting
        answer, sent = b"", 0
        for piece in pieces:
            writer.write(piece)
            sent += len(piece)
            await eventually(lambda: guard._received == sent)  # noqa: B023
            if b"ab" in piece:
                answer = await reader.readuntil(b"\r\n\r\n2")
            await clock.advance(3)
        await clock.advance(4)
        assert statuses(answer + await asyncio.wait_for(reader.read(), 5)) == expected
        writer.close()


@pytest.mark.parametrize(("size", "status"), [(1, 408), (1200, 200)])
async def test_content(size: int, status: int) -> None:
    async with running() as (port, runner, clock):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST % (size * 8))
        await eventually(lambda: bool(runner.connections and runner.in_flight))
        [guard] = runner._waiting
        begun = guard._received
        for number in range(8):
            if not runner.in_flight:
                break
            writer.write(bytes(size))
            await eventually(lambda: guard._received == begun + size * (number + 1))  # noqa: B023
            await clock.advance(10)
            await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == b"%d" % status
        writer.close()


async def test_a_client_that_does_not_read_is_reset() -> None:
    async with running() as (port, runner, clock):
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually(lambda: any(guard._full for guard in runner._waiting))
            for _ in range(3):
                await asyncio.sleep(0.05)  # for the kernels to settle: nothing tells when they have
                await clock.advance(30.5)
            await eventually(lambda: not runner._waiting and runner._room.taken == 0)


async def test_connections_are_limited() -> None:
    async with running(Limits(connections=3)) as (port, runner, _):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        await eventually(lambda: len(runner.connections) == 3)
        assert runner._room.taken == 3
        for _, writer in held:
            writer.close()
        await eventually(lambda: runner._room.taken == 0)
