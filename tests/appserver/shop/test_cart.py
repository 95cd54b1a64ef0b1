"""The cart: one cookie, any instance; an order, and what keeps one from being placed."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest
from aiohttp import CookieJar

from tests.appserver.shop.conftest import Client, Instances, own


def put(shop: Client, slug: str = "mug", quantity: int | str = 1, **options: object) -> object:
    return shop.post("/cart/add", data={"slug": slug, "quantity": str(quantity)}, headers=own(shop), **options)


async def stock(shop: Client, slug: str) -> int:
    async with shop.get(f"/api/products/{slug}") as answer:
        return int((await answer.json())["stock"])


async def held(shop: Client) -> dict[str, int]:
    async with shop.get("/api/cart") as answer:
        return {line["slug"]: line["quantity"] for line in (await answer.json())["lines"]}


async def test_a_cart_is_filled_seen_emptied_and_ordered_on_three_instances(instance: Instances) -> None:
    jar = CookieJar(unsafe=True)
    one, two, three = [await instance(jar) for _ in range(3)]
    async with put(one, "mug", 2, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/cart")
        assert answer.headers["Cache-Control"] == "private, no-store"
    async with put(two, "shoes") as answer:
        assert answer.status == 200
    async with put(three, "mug", 1) as answer:
        text = await answer.text()
    assert "Harbour walking shoes" in text
    assert "3 × €18.50" in text
    assert "€144.50" in text
    async with one.post("/cart/remove", data={"slug": "shoes"}, headers=own(one)) as answer:
        assert "Harbour walking shoes" not in await answer.text()
    before = await stock(one, "mug")
    async with two.post("/cart/checkout", data={"now": "1"}, headers=own(two), allow_redirects=False) as answer:
        assert answer.status == 303
        order = answer.headers["Location"]
        assert re.fullmatch(r"/orders/[0-9A-F]{16}", order)
    assert await stock(three, "mug") == before - 3
    assert await held(one) == {}
    async with three.get(order) as answer:
        text = await answer.text()
        assert answer.headers["Cache-Control"] == "private, no-store"
    assert "Thank you" in text
    assert "€55.50" in text
    stranger = await instance()
    await put(stranger)  # with a session of their own
    async with stranger.get(order) as answer:
        assert answer.status == 404


async def test_the_cookie(shop: Client) -> None:
    async with put(shop, allow_redirects=False) as answer:
        first = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"session=[0-9a-f]{32}; HttpOnly; Max-Age=2592000; Path=/; SameSite=Lax", first)
    async with put(shop, allow_redirects=False) as answer:
        assert answer.headers["Set-Cookie"] == first  # the same visitor, for another thirty days


@pytest.mark.parametrize("cookie", ["", "x", "0" * 31, "0" * 33, "A" * 32, "' OR 1=1 --", "../../etc/passwd"])
async def test_a_cookie_that_was_never_ours_is_replaced(shop: Client, cookie: str) -> None:
    shop.session.cookie_jar.update_cookies({"session": cookie}, shop.make_url("/"))
    assert await held(shop) == {}
    async with put(shop, allow_redirects=False) as answer:
        assert answer.status == 303
        assert re.match(r"session=[0-9a-f]{32};", answer.headers["Set-Cookie"])


@pytest.mark.parametrize(
    ("slug", "quantity", "status"),
    [
        ("mug", 20, 200),
        ("mug", 0, 422),
        ("mug", 21, 422),
        ("mug", -1, 422),
        ("mug", "1e9", 422),
        ("mug", "٣", 422),
        ("mug", "", 422),
        ("radio", 1, 409),
        ("boots", 1, 404),
        ("", 1, 404),
        ("x\0y", 1, 404),
        ("<b>", 1, 404),
    ],
)
async def test_what_may_be_put_into_a_cart(shop: Client, slug: str, quantity: int | str, status: int) -> None:
    async with put(shop, slug, quantity) as answer:
        assert answer.status == status
        assert answer.content_type == "text/html"
    assert await held(shop) == ({"mug": 20} if status == 200 else {})


async def test_a_cart_holds_no_more_than_twenty_of_one(shop: Client) -> None:
    for _ in range(3):
        await put(shop, "mug", 9)
    assert await held(shop) == {"mug": 20}


async def test_an_empty_cart_is_not_ordered(shop: Client) -> None:
    for _ in range(2):
        async with shop.post("/cart/checkout", data={"now": "1"}, headers=own(shop)) as answer:
            assert answer.status == 409
            assert "nothing in your cart" in await answer.text()
        await put(shop)
        await shop.post("/cart/remove", data={"slug": "mug"}, headers=own(shop))


async def test_an_order_is_placed_whole_or_not_at_all(instance: Instances) -> None:
    greedy, quick = await instance(), await instance()
    await put(greedy, "mug", 1)
    await put(greedy, "umbrella", 3)
    await put(quick, "umbrella", 1)
    await quick.post("/cart/checkout", data={"now": "1"}, headers=own(quick))
    mugs = await stock(greedy, "mug")
    async with greedy.get("/cart") as answer:
        text = await answer.text()
        assert "We have only 2 of these" in text
        assert "<button disabled>Place order" in text
    async with greedy.post("/cart/checkout", data={"now": "1"}, headers=own(greedy)) as answer:
        assert answer.status == 409
        assert "Nothing was ordered" in await answer.text()
    assert await stock(greedy, "mug") == mugs
    assert await held(greedy) == {"mug": 1, "umbrella": 3}


async def test_twenty_at_the_till_and_three_umbrellas(instance: Instances) -> None:
    clients = [await instance() for _ in range(2)]
    jars = [CookieJar(unsafe=True) for _ in range(20)]
    visitors = [await instance(jar) for jar in jars[:2]]
    assert len({id(client.server) for client in clients + visitors}) == 4

    async def order(number: int) -> int:
        client = (clients + visitors)[number % 4]
        headers = {**own(client), "Cookie": f"session={number:032x}"}
        async with client.post("/cart/add", data={"slug": "umbrella", "quantity": "1"}, headers=headers) as added:
            assert added.status in (200, 409)
        async with client.post("/cart/checkout", data={"now": "1"}, headers=headers, allow_redirects=False) as answer:
            return answer.status

    statuses = Counter(await asyncio.gather(*(order(number) for number in range(20))))
    assert statuses == {303: 3, 409: 17}
    assert await stock(clients[0], "umbrella") == 0


async def test_one_cart_is_ordered_once_however_often_the_button_is_pressed(shop: Client) -> None:
    await put(shop, "mug", 2)
    before = await stock(shop, "mug")

    async def press() -> int:
        async with shop.post("/cart/checkout", data={"now": "1"}, headers=own(shop), allow_redirects=False) as answer:
            return answer.status

    assert Counter(await asyncio.gather(*(press() for _ in range(8)))) == {303: 1, 409: 7}
    assert await stock(shop, "mug") == before - 2


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"slug=mug", "application/x-www-form-urlencoded", 200),
        (b"slug=mug", "application/x-www-form-urlencoded; charset=nonsense", 200),  # it is UTF-8, whatever it says
        (b"slug=%ff", "application/x-www-form-urlencoded", 400),
        (b"slug=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(100)), "application/x-www-form-urlencoded", 400),
        (b"slug=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"slug=mug", "text/plain", 415),
        (b'{"slug": "mug"}', "application/json", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
    ],
)
async def test_only_a_form_is_a_form(shop: Client, data: bytes, content_type: str, status: int) -> None:
    headers = {**own(shop), "Content-Type": content_type}
    async with shop.post("/cart/add", data=data, headers=headers) as answer:
        assert answer.status == status
        assert answer.content_type == "text/html"


async def test_abandoned_carts_are_forgotten(shop: Client, instance: Instances, database_url: str) -> None:
    import sqlite3

    from stack.clock import eventually

    await put(shop)
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE cart_line SET touched = touched - 31 * 86400")
    connection.close()

    async def empty() -> bool:
        return await held(shop) == {}

    assert not await empty()
    await instance()  # looks for them when it starts
    await eventually(empty)
