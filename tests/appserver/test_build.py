"""An application object, or a factory of one, instead of a name: several app servers in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from appserver.build import build_for
from appserver.config import Config
from stack.clock import SystemClock
from stack.config.base import Timeouts
from stack.errors import ConfigError
from stack.hop.hop import Bound
from stack.net import Net
from stack.telemetry.metrics import Metrics
from tests.support.app_process import get
from tests.support.wire import listener


@contextlib.asynccontextmanager
async def replica(app: Any, tmp_path: Path, name: str = "app-1", **options: Any) -> AsyncIterator[int]:
    clock, random = SystemClock(), Random(1)
    net = Net(clock, random)
    config = Config(name=name, access_log="off", **options)
    hop = build_for(app, config, clock=clock, random=random, net=net, metrics=Metrics(), state_dir=tmp_path)
    sock = listener()
    sock.listen(16)
    try:
        await hop.start([Bound("http", sock)])
        assert hop.readiness().ready
        yield sock.getsockname()[1]
        await hop.drain()
    finally:
        await hop.stop()
        sock.close()
        await net.close()


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"wsgi"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"asgi"})


def aiohttp_app() -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="aiohttp")

    app = web.Application()
    app.router.add_get("/", answer)
    return app


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (wsgi, b"wsgi"),
        (asgi, b"asgi"),
        (lambda: wsgi, b"wsgi"),
        (aiohttp_app, b"aiohttp"),
        (aiohttp_app(), b"aiohttp"),
    ],
    ids=["wsgi", "asgi", "factory", "aiohttp factory", "aiohttp"],
)
async def test_replicas_in_one_loop(app: Any, says: bytes, tmp_path: Path) -> None:
    async with replica(app, tmp_path) as first, replica(app, tmp_path, "app-2") as second:
        assert [await get(first), await get(second)] == [(200, says)] * 2


def telling(told: list[str]) -> web.Application:
    app = aiohttp_app()

    async def context(app: web.Application) -> AsyncIterator[None]:
        told.append("enter")
        yield
        told.append("exit")

    def says(word: str) -> Any:
        async def say(app: web.Application) -> None:
            told.append(word)

        return say

    app.cleanup_ctx.append(context)
    app.on_startup.append(says("startup"))
    app.on_shutdown.append(says("shutdown"))
    app.on_cleanup.append(says("cleanup"))
    return app


BEGIN, END = ["enter", "startup"], ["shutdown", "exit", "cleanup"]


async def test_an_aiohttp_application_starts_and_ends_once(tmp_path: Path) -> None:
    told: list[str] = []
    app = telling(told)
    async with replica(app, tmp_path, "app-2") as second:
        async with replica(app, tmp_path) as first:
            assert [await get(first), await get(second)] == [(200, b"aiohttp")] * 2
            assert told == BEGIN
        assert await get(second) == (200, b"aiohttp")  # one that leaves takes nothing with it
        async with replica(app, tmp_path, "app-3") as third:
            assert await get(third) == (200, b"aiohttp")
        assert told == BEGIN
    assert told == BEGIN + END
    async with replica(app, tmp_path) as again:
        assert await get(again) == (200, b"aiohttp")
    assert told == (BEGIN + END) * 2


async def test_replicas_that_end_at_once_shut_the_application_down_once(tmp_path: Path) -> None:
    """`on_shutdown` is where an app ends what would go on for ever, such as its WebSockets."""
    told: list[str] = []
    app = telling(told)
    asked, over = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        asked.release()
        await over.wait()
        return web.Response(text="ended")

    async def end(app: web.Application) -> None:
        over.set()

    app.router.add_get("/wait", wait)
    app.on_shutdown.append(end)
    running = [replica(app, tmp_path, f"app-{number}", timeouts=Timeouts(drain=4)) for number in (1, 2, 3)]
    ports = [await one.__aenter__() for one in running]
    waiting = [asyncio.ensure_future(get(port, "/wait")) for port in ports]
    for _ in ports:
        await asked.acquire()
    await asyncio.gather(*(one.__aexit__(None, None, None) for one in running))
    assert await asyncio.gather(*waiting) == [(200, b"ended")] * 3
    assert told == BEGIN + END


async def test_each_replica_of_a_shared_aiohttp_application_says_its_own_name(tmp_path: Path) -> None:
    app = aiohttp_app()
    names = []
    async with replica(app, tmp_path) as first, replica(app, tmp_path, "app-2") as second:
        for port in (first, second):
            async with aiohttp.request("GET", f"http://127.0.0.1:{port}/") as response:
                (timing,) = response.headers.getall("Server-Timing")
                names.append(timing.partition(".")[0])
    assert names == ["app-1", "app-2"]


async def test_an_aiohttp_application_whose_startup_fails_is_cleaned_up_once(tmp_path: Path) -> None:
    told: list[str] = []
    app = telling(told)

    async def fail(app: web.Application) -> None:
        raise RuntimeError("no database")

    app.on_startup.append(fail)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no database"):
            async with replica(app, tmp_path):
                pass
        assert told == [*BEGIN, "exit"]  # aiohttp sends on_cleanup only to what has started
        told.clear()


def test_an_aiohttp_application_stays_in_its_loop(tmp_path: Path) -> None:
    app = aiohttp_app()

    async def serve() -> None:
        async with replica(app, tmp_path) as port:
            assert await get(port) == (200, b"aiohttp")

    asyncio.run(serve())
    with pytest.raises(ConfigError, match="served in another event loop: give a factory of it"):
        asyncio.run(serve())


async def test_a_lifespan_is_run_by_each_replica(tmp_path: Path) -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await asgi(scope, receive, send)
        for _ in range(2):
            kind = (await receive())["type"]
            told.append(kind.removeprefix("lifespan."))
            await send({"type": f"{kind}.complete"})
        return None

    async with replica(app, tmp_path), replica(app, tmp_path, "app-2"):
        assert told == ["startup"] * 2
    assert told == ["startup"] * 2 + ["shutdown"] * 2


async def test_what_cannot_be_served_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\Athe app: it is an instance of int; an ASGI or WSGI callable"):
        async with replica(7, tmp_path):
            pass
    with pytest.raises(ConfigError, match=r"\Athe app --interface wsgi: "):
        async with replica(asgi, tmp_path, interface="wsgi"):
            pass
    with pytest.raises(ConfigError, match="--root-path shop: it starts with a slash"):
        async with replica(wsgi, tmp_path, root_path="shop"):
            pass
