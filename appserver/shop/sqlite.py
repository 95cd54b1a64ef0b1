"""The shop on SQLite: one file, in WAL mode, that any number of processes share. The one door to aiosqlite.

Two connections, each a thread of its own: one reads, a statement at a time; the other writes, a transaction at a time.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiosqlite

from appserver.shop.model import MOST, Added, Cart, Line, Order, Product, Refused, Unavailable
from stack.clock import Clock
from stack.errors import ConfigError

BUSY: Final = 5.0
"""Seconds that a statement waits for another process to end its transaction."""
PATIENCE: Final = 15.0
"""Seconds to open the file while other processes create it."""
VERSION: Final = 1
"""Of the schema; `PRAGMA user_version` of a file that is ready."""

SCHEMA: Final = (
    """
    CREATE TABLE product (
        slug TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        name TEXT NOT NULL,
        tagline TEXT NOT NULL,
        description TEXT NOT NULL,
        price INTEGER NOT NULL CHECK (price >= 0),
        stock INTEGER NOT NULL CHECK (stock >= 0),
        updated INTEGER NOT NULL
    ) STRICT
    """,
    f"""
    CREATE TABLE cart_line (
        session TEXT NOT NULL,
        slug TEXT NOT NULL REFERENCES product (slug),
        quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND {MOST}),
        times INTEGER NOT NULL,
        touched INTEGER NOT NULL,
        PRIMARY KEY (session, slug)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX cart_line_touched ON cart_line (touched)",
    """
    CREATE TABLE placed_order (
        number TEXT PRIMARY KEY,
        session TEXT NOT NULL,
        placed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE order_line (
        number TEXT NOT NULL REFERENCES placed_order (number),
        slug TEXT NOT NULL,
        name TEXT NOT NULL,
        price INTEGER NOT NULL,
        quantity INTEGER NOT NULL,
        PRIMARY KEY (number, slug)
    ) STRICT, WITHOUT ROWID
    """,
)
ADD: Final = """
    INSERT INTO cart_line (session, slug, quantity, times, touched)
    SELECT :session, slug, min(:quantity, :most), 1, :now FROM product WHERE slug = :slug AND stock > 0
    ON CONFLICT DO UPDATE SET quantity = min(quantity + :quantity, :most), times = times + 1, touched = :now
    RETURNING times
"""
PRODUCT: Final = "slug, name, tagline, description, price, stock, updated"


@dataclass(frozen=True, slots=True)
class _Open:
    reads: aiosqlite.Connection
    writes: aiosqlite.Connection
    inode: int
    turn: asyncio.Lock
    """Whose transaction it is: a connection has one at a time."""


class Sqlite:
    """`Repository` on a file."""

    kind = "sqlite"

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._opened: _Open | None = None

    async def open(self, seed: Sequence[Product]) -> None:
        try:
            self._make_file()
            writes = await self._connect()
            try:
                await self._prepare(writes, seed)
                reads = await self._connect()
            except BaseException:
                await writes.close()
                raise
        except (sqlite3.Error, OSError, TimeoutError) as error:
            reason = str(error) or "it stayed locked by another process"
            raise ConfigError(f"DATABASE_URL sqlite:///{self._path}: {reason}") from error
        self._opened = _Open(reads, writes, self._inode(), asyncio.Lock())

    def _make_file(self) -> None:
        """So that connecting does not fail, after which aiosqlite leaves a thread behind."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)  # the sessions in it are nobody else's; WAL and index get the same mode
        # asked and not tried: closing a descriptor of the file would end the locks of other instances in this process
        if not self._path.is_file() or not os.access(self._path, os.R_OK | os.W_OK):
            raise OSError("it is not a file that may be read and written")

    async def _connect(self) -> aiosqlite.Connection:
        # isolation_level=None: no transaction but those begun here
        connection = await aiosqlite.connect(self._path, timeout=BUSY, isolation_level=None)
        try:
            await connection.execute("PRAGMA foreign_keys = ON")
            # in WAL mode a commit survives the death of the process; only a power cut may undo the last ones
            await connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _prepare(self, connection: aiosqlite.Connection, seed: Sequence[Product]) -> None:
        """Tables and products, made by whoever comes first while the others wait."""
        async with self._clock.timeout(PATIENCE):
            while True:
                try:
                    return await self._create(connection, seed)
                except sqlite3.OperationalError as error:
                    # a change of the journal's mode does not wait for its turn as a transaction does
                    if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                        raise
                    await self._clock.sleep(0.02)

    async def _create(self, connection: aiosqlite.Connection, seed: Sequence[Product]) -> None:
        [(mode,)] = await connection.execute_fetchall("PRAGMA journal_mode")
        if mode != "wal":
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        if await _version(connection) == VERSION:
            return
        async with _transaction(connection):
            found = await _version(connection)  # another process may have been first
            if found == VERSION:
                return
            if found != 0:
                raise ConfigError(
                    f"DATABASE_URL sqlite:///{self._path}: its schema is version {found}, this shop's is {VERSION}; "
                    "move the file away, or name another"
                )
            for statement in SCHEMA:
                await connection.execute(statement)
            now = int(self._clock.time())
            await connection.executemany(
                f"INSERT INTO product (position, {PRODUCT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                [
                    (position, p.slug, p.name, p.tagline, p.description, p.price, p.stock, now)
                    for position, p in enumerate(seed)
                ],
            )
            await connection.execute(f"PRAGMA user_version = {VERSION}")

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.reads.close()
            await opened.writes.close()

    async def ping(self) -> None:
        if self._inode() != self._database.inode:
            # what an open descriptor reads is then no longer what other processes see
            raise Unavailable(f"{self._path} was replaced")
        await self._read("SELECT count(*) FROM product")

    # Reading.

    async def products(self) -> tuple[Product, ...]:
        return _products(await self._read(f"SELECT {PRODUCT} FROM product ORDER BY position"))  # noqa: S608

    async def product(self, slug: str) -> Product | None:
        found = _products(await self._read(f"SELECT {PRODUCT} FROM product WHERE slug = ?", slug))  # noqa: S608
        return found[0] if found else None

    async def search(self, words: Sequence[str]) -> tuple[Product, ...]:
        each = "(name || ' ' || tagline || ' ' || description) LIKE ? ESCAPE '\\'"
        where = " AND ".join([each] * len(words)) or "FALSE"
        found = await self._read(
            f"SELECT {PRODUCT} FROM product WHERE {where} ORDER BY position",  # noqa: S608
            *map(_anywhere, words),
        )
        return _products(found)

    async def cart(self, session: str) -> Cart:
        rows = await self._read(
            "SELECT slug, name, price, quantity, stock FROM cart_line JOIN product USING (slug)"
            " WHERE session = ? ORDER BY position",
            session,
        )
        return Cart(tuple(Line(*row) for row in rows))

    async def order(self, session: str, number: str) -> Order | None:
        rows = await self._read(
            "SELECT placed, slug, name, price, quantity, quantity FROM placed_order JOIN order_line USING (number)"
            " WHERE number = ? AND session = ? ORDER BY slug",
            number,
            session,
        )
        return Order(number, rows[0][0], tuple(Line(*row[1:]) for row in rows)) if rows else None

    # Writing.

    # A single statement is a transaction by itself, and ends in its thread: no other process waits for our event loop.

    async def add(self, session: str, slug: str, quantity: int, *, now: int) -> Added:
        values = {"session": session, "slug": slug, "quantity": quantity, "most": MOST, "now": now}
        for (times,) in await self._change(ADD, values):
            return Added.NEW if times == 1 else Added.MORE
        return Added.UNKNOWN if await self.product(slug) is None else Added.SOLD_OUT

    async def remove(self, session: str, slug: str) -> None:
        await self._change("DELETE FROM cart_line WHERE session = ? AND slug = ?", (session, slug))

    async def checkout(self, session: str, number: str, *, now: int) -> Order | Refused:
        async with self._write() as connection:
            rows = await _all(
                connection,
                "SELECT slug, name, price, quantity, stock FROM cart_line JOIN product USING (slug)"
                " WHERE session = ? ORDER BY slug",
                session,
            )
            lines = tuple(Line(*row) for row in rows)
            if not lines:
                return Refused.EMPTY
            if any(line.is_short for line in lines):
                return Refused.SHORT
            await connection.executemany(
                "UPDATE product SET stock = stock - ?, updated = ? WHERE slug = ?",
                [(line.quantity, now, line.slug) for line in lines],
            )
            await connection.execute("DELETE FROM cart_line WHERE session = ?", (session,))
            await connection.execute("INSERT INTO placed_order VALUES (?, ?, ?)", (number, session, now))
            await connection.executemany(
                "INSERT INTO order_line VALUES (?, ?, ?, ?, ?)",
                [(number, line.slug, line.name, line.price, line.quantity) for line in lines],
            )
            return Order(number, now, lines)

    async def forget(self, before: int) -> int:
        return len(await self._change("DELETE FROM cart_line WHERE touched < ? RETURNING 1", (before,)))

    # Connections.

    @property
    def _database(self) -> _Open:
        if self._opened is None:
            raise Unavailable("it is not open")
        return self._opened

    def _inode(self) -> int:
        with _explained():
            return self._path.stat().st_ino

    async def _read(self, query: str, *values: object) -> list[Any]:
        with _explained():
            return await _all(self._database.reads, query, *values)

    async def _change(self, statement: str, values: Mapping[str, object] | tuple[object, ...]) -> list[Any]:
        database = self._database
        async with database.turn:  # not within somebody's transaction
            with _explained():
                return list(await database.writes.execute_fetchall(statement, values))

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[aiosqlite.Connection]:
        database = self._database
        async with database.turn:
            with _explained():
                async with _transaction(database.writes):
                    yield database.writes


@asynccontextmanager
async def _transaction(connection: aiosqlite.Connection) -> AsyncIterator[None]:
    """All or nothing, also for a caller that is cancelled.

    IMMEDIATE: a transaction that reads first and writes later could not wait for its turn (SQLITE_BUSY_SNAPSHOT).
    """
    try:
        await connection.execute("BEGIN IMMEDIATE")
        yield
        await connection.commit()
    except BaseException:
        # the thread does one thing after another: this comes after whatever was cancelled, and harms no commit
        await connection.rollback()
        raise


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise Unavailable(str(error)) from error


async def _version(connection: aiosqlite.Connection) -> int:
    [(version,)] = await connection.execute_fetchall("PRAGMA user_version")
    return int(version)


async def _all(connection: aiosqlite.Connection, query: str, *values: object) -> list[Any]:
    return list(await connection.execute_fetchall(query, values))


def _products(rows: Iterable[Any]) -> tuple[Product, ...]:
    return tuple(Product(*row) for row in rows)


def _anywhere(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
