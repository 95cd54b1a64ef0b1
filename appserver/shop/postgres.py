"""The shop on PostgreSQL: a pool of connections. The one door to asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from appserver.shop.database import shown
from appserver.shop.model import MOST, Added, Cart, Line, Order, Product, Refused, Unavailable
from stack.clock import Clock
from stack.errors import ConfigError

CONNECTIONS: Final = 8
"""Of one process."""
STATEMENT: Final = 5.0
"""Seconds for a statement, and to get a connection."""
PATIENCE: Final = 15.0
"""Seconds to wait for a server that does not answer yet, as when everything starts at once."""
LOCK: Final = 0x5C0B
"""Advisory lock of whoever creates the tables."""

SCHEMA: Final = f"""
    CREATE TABLE IF NOT EXISTS product (
        slug text PRIMARY KEY,
        position integer NOT NULL,
        name text NOT NULL,
        tagline text NOT NULL,
        description text NOT NULL,
        price integer NOT NULL CHECK (price >= 0),
        stock integer NOT NULL CHECK (stock >= 0),
        updated bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS cart_line (
        session text NOT NULL,
        slug text NOT NULL REFERENCES product (slug),
        quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND {MOST}),
        times integer NOT NULL,
        touched bigint NOT NULL,
        PRIMARY KEY (session, slug)
    );
    CREATE INDEX IF NOT EXISTS cart_line_touched ON cart_line (touched);
    CREATE TABLE IF NOT EXISTS placed_order (
        number text PRIMARY KEY,
        session text NOT NULL,
        placed bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS order_line (
        number text NOT NULL REFERENCES placed_order (number),
        slug text NOT NULL,
        name text NOT NULL,
        price integer NOT NULL,
        quantity integer NOT NULL,
        PRIMARY KEY (number, slug)
    );
"""
ADD: Final = """
    INSERT INTO cart_line (session, slug, quantity, times, touched)
    SELECT $1, slug, least($3::integer, $5::integer), 1, $4 FROM product WHERE slug = $2 AND stock > 0
    ON CONFLICT (session, slug) DO UPDATE
    SET quantity = least(cart_line.quantity + $3, $5), times = cart_line.times + 1, touched = $4
    RETURNING times
"""
PRODUCT: Final = "slug, name, tagline, description, price, stock, updated"

NOT_YET: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it starts or stops
    asyncpg.InsufficientResourcesError,  # too many connections
)
GONE: Final = (*NOT_YET, asyncpg.InterfaceError)


class Postgres:
    """`Repository` on a server."""

    kind = "postgresql"

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._pool: asyncpg.Pool | None = None

    async def open(self, seed: Sequence[Product]) -> None:
        try:
            self._pool = await self._connect()
            async with self._transaction() as connection:
                # the others wait here, and then find everything done
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                await connection.execute(SCHEMA)
                if not await connection.fetchval("SELECT EXISTS (SELECT FROM product)"):
                    await connection.executemany(
                        f"INSERT INTO product (position, {PRODUCT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",  # noqa: S608
                        [
                            (position, p.slug, p.name, p.tagline, p.description, p.price, p.stock, self._now)
                            for position, p in enumerate(seed)
                        ],
                    )
        except (Unavailable, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self.close()
            raise ConfigError(f"DATABASE_URL {shown(self._url)}: {_told(error)}") from error

    async def _connect(self) -> asyncpg.Pool:
        deadline = self._clock.now() + PATIENCE
        while True:
            try:
                return await asyncpg.create_pool(
                    self._url, min_size=1, max_size=CONNECTIONS, timeout=STATEMENT, command_timeout=STATEMENT
                )
            except NOT_YET as error:
                if self._clock.now() > deadline:
                    raise Unavailable(_told(error)) from error
                await self._clock.sleep(0.25)

    @property
    def _now(self) -> int:
        return int(self._clock.time())

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with self._clock.timeout(STATEMENT):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def ping(self) -> None:
        await self._ask("SELECT FROM product LIMIT 1")

    # Reading.

    async def products(self) -> tuple[Product, ...]:
        return _products(await self._ask(f"SELECT {PRODUCT} FROM product ORDER BY position"))  # noqa: S608

    async def product(self, slug: str) -> Product | None:
        found = _products(await self._ask(f"SELECT {PRODUCT} FROM product WHERE slug = $1", slug))  # noqa: S608
        return found[0] if found else None

    async def search(self, words: Sequence[str]) -> tuple[Product, ...]:
        # strpos and not LIKE: a word has no wildcards to escape
        where = " AND ".join(
            f"strpos(lower(name || ' ' || tagline || ' ' || description), lower(${number})) > 0"
            for number in range(1, len(words) + 1)
        )
        query = f"SELECT {PRODUCT} FROM product WHERE {where or 'FALSE'} ORDER BY position"  # noqa: S608
        return _products(await self._ask(query, *words))

    async def cart(self, session: str) -> Cart:
        rows = await self._ask(
            "SELECT slug, name, price, quantity, stock FROM cart_line JOIN product USING (slug)"
            " WHERE session = $1 ORDER BY position",
            session,
        )
        return Cart(tuple(Line(*row) for row in rows))

    async def order(self, session: str, number: str) -> Order | None:
        rows = await self._ask(
            "SELECT placed, slug, name, price, quantity, quantity FROM placed_order JOIN order_line USING (number)"
            " WHERE number = $1 AND session = $2 ORDER BY slug",
            number,
            session,
        )
        return Order(number, rows[0][0], tuple(Line(*row[1:]) for row in rows)) if rows else None

    # Writing.

    async def add(self, session: str, slug: str, quantity: int, *, now: int) -> Added:
        for (times,) in await self._ask(ADD, session, slug, quantity, now, MOST):
            return Added.NEW if times == 1 else Added.MORE
        return Added.UNKNOWN if await self.product(slug) is None else Added.SOLD_OUT

    async def remove(self, session: str, slug: str) -> None:
        await self._ask("DELETE FROM cart_line WHERE session = $1 AND slug = $2", session, slug)

    async def checkout(self, session: str, number: str, *, now: int) -> Order | Refused:
        try:
            async with self._transaction() as connection:
                # taking the lines is what a second checkout of the same cart waits for; it then finds none
                held = await connection.fetch(
                    "DELETE FROM cart_line WHERE session = $1 RETURNING slug, quantity", session
                )
                if not held:
                    return Refused.EMPTY
                quantities = dict(map(tuple, held))
                # always in the same order, so that two orders of the same products wait and do not deadlock
                rows = await connection.fetch(
                    "SELECT slug, name, price, stock FROM product WHERE slug = ANY($1) ORDER BY slug FOR NO KEY UPDATE",
                    list(quantities),
                )
                lines = tuple(Line(slug, name, price, quantities[slug], stock) for slug, name, price, stock in rows)
                if any(line.is_short for line in lines):
                    raise _Short
                await connection.executemany(
                    "UPDATE product SET stock = stock - $1, updated = $2 WHERE slug = $3",
                    [(line.quantity, now, line.slug) for line in lines],
                )
                await connection.execute("INSERT INTO placed_order VALUES ($1, $2, $3)", number, session, now)
                await connection.executemany(
                    "INSERT INTO order_line VALUES ($1, $2, $3, $4, $5)",
                    [(number, line.slug, line.name, line.price, line.quantity) for line in lines],
                )
                return Order(number, now, lines)
        except _Short:
            return Refused.SHORT

    async def forget(self, before: int) -> int:
        return len(await self._ask("DELETE FROM cart_line WHERE touched < $1 RETURNING 1", before))

    # Connections.

    async def _ask(self, query: str, *values: object) -> list[Any]:
        async with self._connection() as connection:
            return list(await connection.fetch(query, *values))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        if self._pool is None:
            raise Unavailable("it is not open")
        try:
            async with self._pool.acquire(timeout=STATEMENT) as connection:
                yield connection
        except GONE as error:
            raise Unavailable(_told(error)) from error


class _Short(Exception):
    """Rolls the transaction back."""


def _told(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _products(rows: Iterable[Any]) -> tuple[Product, ...]:
    return tuple(Product(*row) for row in rows)
