"""/health asks the database. The shop under this project's own server: identity, timing, scheme."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from appserver.shop import create_app
from appserver.shop.shop import EXCHANGE
from appserver.shop.sqlite import Sqlite
from stack.clock import eventually
from tests.appserver.shop.conftest import Client
from tests.appserver.test_aiohttp_app import running

# the app server keeps its record under a plain string, so that an app finds it without importing anything
pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")


async def test_healthy(shop: Client) -> None:
    async with shop.get("/health") as answer:
        health = await answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (health["status"], health["database"]) == ("healthy", "sqlite")
    assert 0 <= health["ms"] < 1000


async def test_unhealthy_when_the_file_is_gone_and_the_pages_say_so(shop: Client, database_url: str) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    async with shop.get("/health") as answer:
        health = await answer.json()
        assert (answer.status, health["status"]) == (503, "unhealthy")
        assert str(path) in health["reason"]
    path.with_suffix(".away").rename(path)
    async with shop.get("/health") as answer:
        assert answer.status == 200


async def test_unhealthy_when_the_tables_are_gone(shop: Client, database_url: str) -> None:
    import sqlite3

    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DROP TABLE product")
    connection.close()
    async with shop.get("/health") as answer:
        assert answer.status == 503
    async with shop.get("/products/shoes") as page, shop.get("/api/products") as document:
        assert (page.status, page.headers["Cache-Control"], page.headers["Retry-After"]) == (503, "no-store", "2")
        assert "The storeroom does not answer" in await page.text()
        assert "product" not in (await document.json(content_type="application/problem+json"))["detail"]


async def test_unhealthy_after_a_second_without_an_answer(shop: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_: Sqlite) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Sqlite, "ping", hangs)
    monkeypatch.setattr("appserver.shop.health.PATIENCE", 0.05)
    async with shop.get("/health") as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "no answer within 0.05 s")


async def test_under_the_app_server(database_url: str) -> None:
    app = create_app(environ={"DATABASE_URL": database_url})
    async with running(app, trusted=("127.0.0.1",)) as server:
        connection = await server.connect()
        page = await connection.get("/products/shoes", "X-Request-ID: mine")
        assert page.status == 200
        assert page.fields["x-request-id"] == "mine"
        assert page.fields["server-timing"].startswith("app-1.app;dur=")
        assert 'desc="asking", app-1.db;dur=' in page.fields["server-timing"]
        assert 'desc="asked", app-1.app;dur=' in page.fields["server-timing"]
        health = await connection.get("/health")
        assert json.loads(health.body)["name"] == "app-1"
        await eventually(lambda: len(server.finished) == 2)
        assert [mark[:2] for mark in server.finished[1].marks] == [
            ("app", "asking"),
            ("db", "asked"),
            ("health", "healthy"),
            ("app", "answered"),
        ]
        missing = await connection.get("/nowhere")
        assert (missing.status, b"We looked everywhere" in missing.body) == (404, True)


@pytest.mark.parametrize(
    ("scheme", "origin", "secure"), [("https", "https://shop.test", True), ("http", "http://shop.test", False)]
)
async def test_the_cookie_is_secure_where_the_client_speaks_https(
    database_url: str, scheme: str, origin: str, secure: bool
) -> None:
    async with running(create_app(environ={"DATABASE_URL": database_url}), trusted=("127.0.0.1",)) as server:
        connection = await server.connect()
        content = b"slug=mug"
        connection.writer.write(
            b"POST /cart/add HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 198.51.100.7\r\n"
            + f"X-Forwarded-Proto: {scheme}\r\nOrigin: {origin}\r\n".encode()
            + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(content)
            + content
        )
        answer = await connection.answer()
    assert answer.status == 303
    assert ("; Secure" in answer.fields["set-cookie"]) == secure


def test_the_record_is_where_the_app_server_puts_it() -> None:
    from appserver import aiohttp_app

    assert EXCHANGE == aiohttp_app.EXCHANGE
