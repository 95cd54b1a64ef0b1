"""What is stale answers while a real origin is killed, and gives way when it is back; never where that is forbidden."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from stack.clock import eventually
from tests.cdn_edge.processes import EdgeProcess, edge
from tests.support import dying_origin

MAY = ("/while", "/error", "/plain")
MAY_NOT = ("/must", "/shared")


class DyingOrigin:
    """A process on a port that stays reserved while nobody listens there, so that connections are refused."""

    def __init__(self, reserved: socket.socket) -> None:
        self.port = reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, generation: int, way: str = "whole") -> None:
        command = [sys.executable, dying_origin.__file__, str(self.port), str(generation), way]
        process = self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        said = await asyncio.get_running_loop().run_in_executor(None, process.stdout.readline)
        assert said == b"listening\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextlib.contextmanager
def dying() -> Iterator[DyingOrigin]:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        origin = DyingOrigin(reserved)
        try:
            yield origin
        finally:
            origin.kill()


@contextlib.asynccontextmanager
async def primed(home: Path, *flags: str) -> AsyncIterator[tuple[DyingOrigin, EdgeProcess]]:
    """With each page of generation 1 stored, and stale."""
    with dying() as origin:
        await origin.start(1)
        async with edge(origin.url, *flags, home=home) as front:
            for path in (*MAY, *MAY_NOT):
                assert "stored" in (await front.ask(path)).cache_status
            yield origin, front


async def test_no_request_fails_while_the_origin_is_killed_and_comes_back(tmp_path: Path) -> None:
    async with primed(tmp_path) as (origin, front):
        told: dict[str, set[str]] = {path: set() for path in MAY}
        over = asyncio.Event()

        async def client(path: str) -> None:
            while not over.is_set():
                reply = await front.ask(path)
                assert reply.status == 200, reply
                told[path].add(reply.body.decode().removeprefix(f"{path} of generation "))

        async with asyncio.timeout(60), asyncio.TaskGroup() as clients:
            for path in MAY:
                for _ in range(3):
                    clients.create_task(client(path))
            await eventually(lambda: all(told.values()))
            origin.kill()
            for path in MAY_NOT:
                for _ in range(3):
                    assert (await front.ask(path)).status == 502
            assert all(generations == {"1"} for generations in told.values())
            await origin.start(2)
            # a refresh that failed pauses for at most ten seconds
            await eventually(lambda: all("2" in generations for generations in told.values()), within=25)
            over.set()
        assert all(generations == {"1", "2"} for generations in told.values())
        for path in (*MAY, *MAY_NOT):
            assert (await front.ask(path)).body.endswith(b"generation 2")


@pytest.mark.parametrize("way", ["close", "half-head"])
async def test_an_origin_that_breaks_off_before_its_answer(way: str, tmp_path: Path) -> None:
    async with primed(tmp_path) as (origin, front):
        origin.kill()
        await origin.start(2, way)
        for path in ("/error", "/plain"):
            reply = await front.ask(path)
            assert (reply.status, reply.body) == (200, f"{path} of generation 1".encode())
            assert "detail=stale-if-unreachable" in reply.cache_status
        for path in MAY_NOT:
            assert (await front.ask(path)).status == 502


async def test_an_error_is_replaced_only_where_the_response_says_so(tmp_path: Path) -> None:
    async with primed(tmp_path) as (origin, front):
        origin.kill()
        await origin.start(2, "503")
        reply = await front.ask("/error")
        assert (reply.status, reply.body) == (200, b"/error of generation 1")
        assert "fwd-status=503" in reply.cache_status
        assert "detail=stale-if-error" in reply.cache_status
        for path in ("/plain", *MAY_NOT):
            assert (await front.ask(path)).status == 503


async def test_content_that_has_begun_cannot_be_replaced(tmp_path: Path) -> None:
    async with primed(tmp_path) as (origin, front):
        origin.kill()
        await origin.start(2, "half-content")
        with pytest.raises(aiohttp.ClientPayloadError):
            await front.ask("/plain")
        origin.kill()
        reply = await front.ask("/plain")
        assert (reply.status, reply.body) == (200, b"/plain of generation 1")


async def test_of_the_clients_of_a_silent_origin_one_waits(tmp_path: Path) -> None:
    async with primed(tmp_path, "--origin-timeouts-head", "2s") as (origin, front):
        origin.kill()
        await origin.start(2, "silent")
        loop = asyncio.get_running_loop()
        began = loop.time()
        first = await front.ask("/plain")
        waited = loop.time() - began
        assert "fwd=stale" in first.cache_status
        began = loop.time()
        for _ in range(3):
            reply = await front.ask("/plain")
            assert (reply.status, reply.body) == (200, b"/plain of generation 1")
            assert reply.is_hit
            assert "detail=stale-if-unreachable" in reply.cache_status
        assert waited >= 2 > loop.time() - began
        assert (await front.ask("/must")).status == 504


async def test_a_refresh_that_hangs_does_not_hold_up_the_end_of_the_edge(tmp_path: Path) -> None:
    async with primed(tmp_path, "--timeouts-drain", "20s") as (origin, front):
        origin.kill()
        await origin.start(2, "silent")
        for _ in range(2):
            assert (await front.ask("/while")).body == b"/while of generation 1"
    # `edge` has sent TERM and waited for 15 seconds at most; the origin is waited for up to 100
