"""An application object, or a factory of one, instead of a name: several app servers in one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from appserver.build import build_for
from appserver.config import Config
from stack.clock import SystemClock
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
    ],
    ids=["wsgi", "asgi", "factory", "aiohttp factory"],
)
async def test_replicas_in_one_loop(app: Any, says: bytes, tmp_path: Path) -> None:
    async with replica(app, tmp_path) as first, replica(app, tmp_path, "app-2") as second:
        assert [await get(first), await get(second)] == [(200, says)] * 2


async def test_an_aiohttp_application_has_one_life(tmp_path: Path) -> None:
    app = aiohttp_app()
    async with replica(app, tmp_path) as first:
        assert await get(first) == (200, b"aiohttp")
        with pytest.raises(ConfigError, match="served by app-1 already, and has one life: give a factory"):
            async with replica(app, tmp_path, "app-2"):
                pass


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
