"""200 MB through every hop, either way, with a client that is slow for a while: no process grows by 30 MB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from stack.clock import SystemClock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.http.message import Request, Response
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.chain import Running, chain

SIZE = 200_000_000
GROWTH = 30_000_000
SLOW = 1.5
"""Seconds in which the client takes or gives little: all that is unbounded fills."""


class Client:
    """One connection to the edge, over HTTP/1.1 or HTTP/2."""

    def __init__(self, port: int, protocol: Literal["h1", "h2"]) -> None:
        self._tasks = Tasks()
        self._pool = Pool(
            Upstream("edge", "127.0.0.1", port, protocol=protocol),
            limits=PoolLimits(connections=1),
            timeouts=UpstreamTimeouts(),
            clock=SystemClock(),
            tasks=self._tasks,
        )

    async def send(self, request: Request) -> Response:
        return await self._pool.send(request, Exchange("client", SystemClock.now))

    async def close(self) -> None:
        await self._pool.close()
        await self._tasks.close()


async def download(client: Client) -> int:
    response = await client.send(Request(b"GET", b"/big/%d" % SIZE, [], authority=b"a.test"))
    assert response.status == 200
    assert not isinstance(response.body, bytes)
    received, until = 0, time.monotonic() + SLOW
    async for piece in response.body:
        received += len(piece)
        if time.monotonic() < until:
            await asyncio.sleep(0.1)
    return received


class Upload:
    """A body that is given slowly at first."""

    def __init__(self) -> None:
        self._left, self._until = SIZE, time.monotonic() + SLOW
        self._piece = bytes(65536)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        if time.monotonic() < self._until:
            await asyncio.sleep(0.1)
        piece = self._piece[: self._left]
        self._left -= len(piece)
        return piece

    async def aclose(self) -> None: ...


async def upload(client: Client) -> int:
    request = Request(b"POST", b"/sink", [(b"content-length", b"%d" % SIZE)], authority=b"a.test", body=Upload())
    response = await client.send(request)
    assert response.status == 200
    body = response.body if isinstance(response.body, bytes) else b"".join([piece async for piece in response.body])
    return int(body)


@pytest.mark.parametrize(("protocol", "between"), [("h1", "h1"), ("h2", "h2")])
async def test_large_bodies_do_not_gather_anywhere(tmp_path: Path, protocol: Literal["h1", "h2"], between: str) -> None:
    async with chain(tmp_path, h2=between == "h2") as hops:
        client = Client(hops["cdn_edge"].port, protocol)
        try:
            for way in (download, upload):
                before = {name: _reset(hop) for name, hop in hops.items()}
                began = time.monotonic()
                assert await asyncio.wait_for(way(client), 60) == SIZE
                grown = {name: hop.peak() - before[name] for name, hop in hops.items()}
                print(protocol, between, way.__name__, f"{time.monotonic() - began:.1f} s",
                      {name: f"{size / 1e6:.1f} MB" for name, size in grown.items()})  # fmt: skip
                assert max(grown.values()) < GROWTH, grown
        finally:
            await client.close()


def _reset(hop: Running) -> int:
    hop.forget_peak()
    return hop.resident()
