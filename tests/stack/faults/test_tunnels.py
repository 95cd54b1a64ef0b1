"""Faults on a tunnel: on the handshake as on any request, on what passes as on any content."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from stack.clock import SystemClock
from stack.errors import ConnectRefused, HopError, ResponseIncomplete
from stack.faults.net import FaultyNet
from stack.faults.spec import parse
from stack.http.message import Request, Response
from stack.net.pool import Pool, Upstream
from stack.telemetry.exchange import Exchange
from tests.support.tunnels import Far, Origin, Pipe


@contextlib.asynccontextmanager
async def linked(*faults: str) -> AsyncIterator[tuple[Pool, Origin]]:
    """A pool of `lb-a` to an origin called `app-1` that echoes."""
    net = FaultyNet(SystemClock(), random.Random(1))
    net.faults.name, net.faults.kind = "lb-a", "loadbalancer"
    async with Origin().running() as origin:
        pool = net.pool(Upstream("app-1", "127.0.0.1", origin.port))
        for fault in faults:
            net.faults.add(parse(fault))
        try:
            yield pool, origin
        finally:
            await net.close()


async def ask(pool: Pool) -> tuple[Response, Pipe, Exchange]:
    pipe = Pipe()
    request = Request(b"GET", b"/chat", [], authority=b"a.test", body=pipe, upgrade=b"websocket")
    exchange = Exchange("lb-a", SystemClock.now, request)
    return await pool.send(request, exchange), pipe, exchange


async def echoed(response: Response, pipe: Pipe, data: bytes) -> bytes:
    far = Far(response, pipe)
    pipe.write(data)
    return await far.exactly(len(data))


async def test_without_a_fault() -> None:
    async with linked() as (pool, _):
        response, pipe, _ = await ask(pool)
        assert await echoed(response, pipe, b"hello") == b"hello"


async def test_a_refused_handshake() -> None:
    async with linked("lb-a>app-1 refused") as (pool, origin):
        with pytest.raises(ConnectRefused):
            await ask(pool)
        assert not origin.heads


async def test_a_status_in_its_place() -> None:
    async with linked("lb-a>app-1 status=503") as (pool, _):
        response, _, _ = await ask(pool)
        assert response.status == 503


async def test_latency_is_the_handshakes() -> None:
    async with linked("lb-a>app-1 latency=50ms") as (pool, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        response, pipe, _ = await ask(pool)
        assert loop.time() - began >= 0.05
        assert await echoed(response, pipe, b"hello") == b"hello"


async def test_a_reset_within_the_tunnel() -> None:
    async with linked("lb-a>app-1 reset=100") as (pool, origin):
        response, pipe, exchange = await ask(pool)
        assert await echoed(response, pipe, b"x" * 100) == b"x" * 100
        far = Far(response, pipe)
        pipe.write(b"y" * 10)
        with pytest.raises(ResponseIncomplete):
            await far.exactly(1)
        await far.body.aclose()
        assert exchange.faults
        async with asyncio.timeout(5):
            while not origin.ends:
                await asyncio.sleep(0.01)


async def test_a_bit_that_flips() -> None:
    async with linked("lb-a>app-1 corrupt=3") as (pool, _):
        response, pipe, _ = await ask(pool)
        came = await echoed(response, pipe, b"hello")
        assert came != b"hello"
        assert came[:3] == b"hel"


async def test_a_narrow_way_up() -> None:
    async with linked("lb-a>app-1 up=1000") as (pool, _):
        response, pipe, _ = await ask(pool)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(HopError):
            assert await echoed(response, pipe, b"x" * 200) == b"x" * 200
        assert loop.time() - began >= 0.1
