"""Instances of the shop, as many as a test wants, each an application of its own on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from appserver.shop import create_app

Client = TestClient[Any, Any]
Instances = Callable[..., Awaitable[Client]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
async def instance(database_url: str) -> AsyncIterator[Instances]:
    """`await instance()` is a client of one more instance on the same database; `jar` is shared between clients."""
    async with AsyncExitStack() as running:

        async def start(jar: CookieJar | None = None, **environ: str) -> Client:
            app = create_app(environ={"DATABASE_URL": database_url, **environ})
            return await running.enter_async_context(
                TestClient(TestServer(app), cookie_jar=CookieJar(unsafe=True) if jar is None else jar)
            )

        yield start


@pytest.fixture
async def shop(instance: Instances) -> Client:
    return await instance()


def own(client: Client) -> dict[str, str]:
    """What a browser sends along with the shop's own forms."""
    return {"Origin": str(client.make_url("/")).rstrip("/")}
