"""DATABASE_URL: what is understood, and one clear line for what is not; a server that goes and comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appserver.shop import database
from appserver.shop.catalog import PRODUCTS
from appserver.shop.model import Added, Unavailable
from appserver.shop.sqlite import Sqlite
from stack.clock import SystemClock, eventually
from stack.errors import ConfigError
from tests.appserver.shop import postgres_server


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"DATABASE_URL": "sqlite:////a/b.db", "HOPSTACK_HOME": "/x"}, "sqlite:////a/b.db"),
        ({"HOPSTACK_HOME": "/x"}, "sqlite:////x/shop.db"),
        ({}, f"sqlite:///{os.getcwd()}/.hopstack/shop.db"),
        ({"DATABASE_URL": ""}, f"sqlite:///{os.getcwd()}/.hopstack/shop.db"),
    ],
)
def test_url(environ: dict[str, str], url: str) -> None:
    assert database.url(environ) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://shop:secret@db.test:5432/shop?password=secret", "postgresql://shop:***@db.test:5432/shop"),
        ("postgresql://shop@db.test/shop", "postgresql://shop@db.test/shop"),
        ("postgresql:///shop", "postgresql:///shop"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert database.shown(url) == shown


@pytest.mark.parametrize("url", ["mysql://shop:secret@db/shop", "shop.db", "sqlite://shop.db", "sqlite:///", "sqlite:"])
def test_an_unknown_database_is_one_line(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^DATABASE_URL .*sqlite:////") as caught:
        database.repository(url, SystemClock())
    assert "secret" not in str(caught.value)


async def test_a_file_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, and longer than a header of a database would be" * 20)
    for path in (tmp_path / "file", tmp_path / "file" / "shop.db", tmp_path):
        repository = Sqlite(path, SystemClock())
        with pytest.raises(ConfigError, match=rf"^DATABASE_URL sqlite:///{path}: ") as caught:
            await repository.open(PRODUCTS)
        assert "\n" not in str(caught.value)


async def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(ConfigError, match="version 7"):
        await Sqlite(path, SystemClock()).open(PRODUCTS)


async def test_the_file_is_its_owners_only(tmp_path: Path) -> None:
    repository = Sqlite(tmp_path / "deep" / "shop.db", SystemClock())
    await repository.open(PRODUCTS)
    await repository.add("0" * 32, "mug", 1, now=1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "deep").iterdir()}
    await repository.close()
    assert modes == {"shop.db": 0o600, "shop.db-wal": 0o600, "shop.db-shm": 0o600}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["shop.db"]


@pytest.mark.needs("postgres")
async def test_postgresql_goes_and_comes_back() -> None:
    from appserver.shop.postgres import Postgres

    with postgres_server.running() as server:
        repository = Postgres(server.url, SystemClock())  # the server may still be starting: that is waited for
        await repository.open(PRODUCTS)
        try:
            await repository.ping()
            server.stop()
            with pytest.raises(Unavailable):
                await repository.ping()
            with pytest.raises(Unavailable):
                await repository.add("0" * 32, "mug", 1, now=1)
            server.start()

            async def answers() -> bool:
                try:
                    await repository.ping()
                except Unavailable:
                    return False
                return True

            await eventually(answers)
            assert await repository.add("0" * 32, "mug", 1, now=1) is Added.NEW
        finally:
            await repository.close()


@pytest.mark.needs("postgres")
async def test_a_wrong_account_is_one_line() -> None:
    from appserver.shop.postgres import Postgres

    with postgres_server.running() as server:
        repository = Postgres(server.url.replace("shop@", "nobody:secret@"), SystemClock())
        with pytest.raises(ConfigError, match=r"^DATABASE_URL postgresql://") as caught:
            await repository.open(PRODUCTS)
    assert "secret" not in str(caught.value)
    assert "nobody" in str(caught.value)
