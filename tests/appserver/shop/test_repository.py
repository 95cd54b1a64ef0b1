"""What both databases promise alike."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from appserver.shop import database
from appserver.shop.catalog import PRODUCTS
from appserver.shop.model import MOST, Added, Cart, Order, Refused, Repository, Unavailable
from stack.clock import SystemClock
from tests.appserver.shop import postgres_server

Opened = Callable[[], Awaitable[Repository]]
VISITOR = "0" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[postgres_server.Server]:
    with postgres_server.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    running: postgres_server.Server = request.getfixturevalue("server")
    yield running.url
    import asyncpg

    connection = await asyncpg.connect(running.url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    """`await opened()` is one more repository on the same database."""
    async with AsyncExitStack() as cleanup:

        async def open_() -> Repository:
            made = database.repository(url, SystemClock())
            await made.open(PRODUCTS)
            cleanup.push_async_callback(made.close)
            return made

        yield open_


@pytest.fixture
async def repository(opened: Opened) -> Repository:
    return await opened()


async def test_products_in_their_order(repository: Repository) -> None:
    products = await repository.products()
    assert [(p.slug, p.name, p.price, p.stock) for p in products] == [
        (p.slug, p.name, p.price, p.stock) for p in PRODUCTS
    ]
    assert all(product.updated > 1_700_000_000 for product in products)
    assert await repository.product("mug") == products[2]
    assert await repository.product("boots") is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["wool"], ["scarf"]),
        (["WOOL"], ["scarf"]),
        (["wool", "spring"], ["scarf"]),
        (["wool", "mug"], []),
        (["%"], []),
        (["_"], []),
        (["\\"], []),
        (["'"], []),
        (["100"], ["notebook"]),
        ([], []),
    ],
)
async def test_search(repository: Repository, words: list[str], found: list[str]) -> None:
    assert [product.slug for product in await repository.search(words)] == found


async def test_a_cart(repository: Repository) -> None:
    assert await repository.cart(VISITOR) == Cart()
    assert await repository.add(VISITOR, "mug", 2, now=1000) is Added.NEW
    assert await repository.add(VISITOR, "mug", 3, now=1000) is Added.MORE
    assert await repository.add(VISITOR, "shoes", MOST, now=2000) is Added.NEW
    assert await repository.add(VISITOR, "shoes", MOST, now=2000) is Added.MORE
    assert await repository.add(VISITOR, "radio", 1, now=2000) is Added.SOLD_OUT
    assert await repository.add(VISITOR, "boots", 1, now=2000) is Added.UNKNOWN
    cart = await repository.cart(VISITOR)
    assert [(line.slug, line.quantity, line.stock) for line in cart.lines] == [("shoes", MOST, 40), ("mug", 5, 120)]
    assert (cart.count, cart.total) == (MOST + 5, MOST * 8900 + 5 * 1850)
    assert await repository.cart("1" * 32) == Cart()
    assert await repository.forget(1001) == 1
    assert await repository.forget(1001) == 0
    await repository.remove(VISITOR, "shoes")
    await repository.remove(VISITOR, "shoes")
    assert await repository.cart(VISITOR) == Cart()


async def test_an_order(repository: Repository) -> None:
    assert await repository.checkout(VISITOR, "A", now=1) is Refused.EMPTY
    await repository.add(VISITOR, "mug", 2, now=1)
    await repository.add(VISITOR, "chair", 1, now=1)
    order = await repository.checkout(VISITOR, "A", now=1_800_000_000)
    assert isinstance(order, Order)
    assert [(line.slug, line.quantity) for line in order.lines] == [("chair", 1), ("mug", 2)]
    assert order.total == 17500 + 2 * 1850
    stored = await repository.order(VISITOR, "A")
    assert stored is not None
    assert (stored.number, stored.placed, stored.total) == ("A", 1_800_000_000, order.total)
    assert await repository.order("1" * 32, "A") is None
    assert await repository.order(VISITOR, "B") is None
    mug = await repository.product("mug")
    assert mug is not None
    assert (mug.stock, mug.updated) == (118, 1_800_000_000)
    assert await repository.cart(VISITOR) == Cart()


async def test_an_order_that_is_refused_changes_nothing(repository: Repository) -> None:
    before = await repository.products()
    await repository.add(VISITOR, "mug", 1, now=1)
    await repository.add(VISITOR, "umbrella", 4, now=1)
    cart = await repository.cart(VISITOR)
    assert not cart.can_be_ordered
    assert await repository.checkout(VISITOR, "A", now=2) is Refused.SHORT
    assert await repository.cart(VISITOR) == cart
    assert await repository.products() == before
    assert await repository.order(VISITOR, "A") is None


async def test_stock_never_falls_below_zero(opened: Opened) -> None:
    shops = [await opened() for _ in range(3)]

    async def order(number: int) -> object:
        shop, visitor = shops[number % 3], f"{number:032x}"
        # two products in either order: nobody waits for somebody who waits for them
        for slug in ("umbrella", "mug") if number % 2 else ("mug", "umbrella"):
            await shop.add(visitor, slug, 1, now=1)
        placed = await shop.checkout(visitor, f"{number:X}", now=2)
        return placed if isinstance(placed, Refused) else "placed"

    outcomes = Counter(await asyncio.gather(*(order(number) for number in range(20))))
    # who came after the last was sold could not even put one into the cart, and ordered the mug alone
    assert sum(outcomes.values()) == 20
    umbrella = await shops[0].product("umbrella")
    assert umbrella is not None
    assert umbrella.stock == 0
    orders = [await shops[0].order(f"{number:032x}", f"{number:X}") for number in range(20)]
    sold = sum(line.quantity for placed in orders if placed for line in placed.lines if line.slug == "umbrella")
    assert sold == 3


async def test_one_cart_is_ordered_once(opened: Opened) -> None:
    shops = [await opened() for _ in range(4)]
    await shops[0].add(VISITOR, "mug", 2, now=1)
    placed = await asyncio.gather(*(shop.checkout(VISITOR, f"{n}", now=2) for n, shop in enumerate(shops)))
    assert Counter(isinstance(order, Order) for order in placed) == {True: 1, False: 3}
    mug = await shops[0].product("mug")
    assert mug is not None
    assert mug.stock == 118


async def test_many_writers_wait_and_none_fails(opened: Opened) -> None:
    shops = [await opened() for _ in range(3)]
    added = await asyncio.gather(
        *(shops[number % 3].add(f"{number // 2:032x}", "mug", 1, now=1) for number in range(300))
    )
    assert Counter(added) == {Added.NEW: 150, Added.MORE: 150}


async def test_a_caller_that_gives_up_leaves_no_transaction_open(repository: Repository, opened: Opened) -> None:
    other = await opened()
    for steps in range(12):
        task = asyncio.ensure_future(repository.add(VISITOR, "mug", 1, now=1))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(3):
            assert await other.add("1" * 32, "mug", 1, now=1) in (Added.NEW, Added.MORE)
            assert await repository.add("2" * 32, "mug", 1, now=1) in (Added.NEW, Added.MORE)


OPENS = """
import asyncio, sys
from appserver.shop import database
from appserver.shop.catalog import PRODUCTS
from stack.clock import SystemClock

async def main():
    repository = database.repository(sys.argv[1], SystemClock())
    print("here", flush=True)
    sys.stdin.readline()
    await repository.open(PRODUCTS)
    print(len(await repository.products()), flush=True)
    sys.stdin.readline()
    await repository.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("attempt", range(3))
async def test_four_processes_create_it_at_the_same_instant(url: str, opened: Opened, attempt: int) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n", process.communicate(timeout=20)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "12\n", process.communicate(timeout=20)
        for process in processes:
            assert process.communicate("close\n", timeout=20) == ("", "")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert len(await (await opened()).products()) == 12


async def test_a_restart_keeps_what_was_sold(opened: Opened) -> None:
    first = await opened()
    await first.add(VISITOR, "mug", 1, now=1)
    await first.checkout(VISITOR, "A", now=1)
    await first.close()
    with pytest.raises(Unavailable):
        await first.products()
    mug = await (await opened()).product("mug")
    assert mug is not None
    assert mug.stock == 119
