"""What visitors see: every page, what may be cached, conditions, and what never gets through."""

from __future__ import annotations

import asyncio
import html
import re

import pytest

from appserver.shop.catalog import PRODUCTS
from appserver.shop.pages import terms
from tests.appserver.shop.conftest import Client, Instances, own


@pytest.mark.parametrize("slug", [product.slug for product in PRODUCTS])
async def test_every_product_is_listed_and_has_a_page(shop: Client, slug: str) -> None:
    product = next(product for product in PRODUCTS if product.slug == slug)
    async with shop.get("/") as front:
        assert f'<a href="/products/{slug}">{product.name}</a>' in await front.text()
    async with shop.get(f"/products/{slug}") as page:
        text = html.unescape(await page.text())
        assert page.status == 200
        assert f"<h1>{product.name}</h1>" in text
        assert product.description in text
        assert f"€{product.price / 100:,.2f}" in text
        assert ("Add to cart" in text) == (product.stock > 0)
        [picture] = re.findall(rf'src="(/static/{slug}\.[0-9a-f]{{8}}\.svg)"', text)
    async with shop.get(picture) as answer:
        assert (answer.status, answer.content_type) == (200, "image/svg+xml")


async def test_every_link_of_the_public_pages_leads_somewhere(shop: Client) -> None:
    seen: set[str] = set()
    todo = ["/", "/search", "/search?q=zebra", "/nowhere"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        async with shop.get(path) as answer:
            assert answer.status == 200 or path == "/nowhere", path
            if answer.content_type == "text/html":
                todo += [html.unescape(link) for link in re.findall(r'(?:href|src)="(/[^"]*)"', await answer.text())]
    assert {"/cart", "/api/products", "/products/radio"} <= seen


PAGE = "public, max-age=0, s-maxage=60, stale-while-revalidate=30"


@pytest.mark.parametrize(
    ("path", "status", "policy", "has_validators"),
    [
        ("/", 200, PAGE, True),
        ("/products/shoes", 200, PAGE, True),
        ("/products/shoes?ref=mail", 200, PAGE, True),
        ("/search?q=wool", 200, "public, max-age=0, s-maxage=10", True),
        ("/search", 200, "public, max-age=0, s-maxage=10", True),
        ("/api/products", 200, "public, max-age=0, s-maxage=30", True),
        ("/api/products/shoes", 200, "public, max-age=0, s-maxage=30", True),
        ("/favicon.ico", 302, "public, max-age=86400", False),
        ("/robots.txt", 200, "public, max-age=86400", False),
        ("/cart", 200, "private, no-store", False),
        ("/api/cart", 200, "private, no-store", False),
        ("/health", 200, "no-store", False),
        ("/products/boots", 404, "public, max-age=0, s-maxage=10", False),
        ("/products/Shoes%00", 404, "public, max-age=0, s-maxage=10", False),
        ("/api/products/boots", 404, "public, max-age=0, s-maxage=10", False),
        ("/static/shop.css", 404, "public, max-age=0, s-maxage=10", False),
        ("/static/..%2fapp.py", 404, "public, max-age=0, s-maxage=10", False),
        ("/orders/0123456789ABCDEF", 404, "public, max-age=0, s-maxage=10", False),
        ("/cart/add", 405, "no-store", False),
    ],
)
async def test_who_may_keep_it(shop: Client, path: str, status: int, policy: str, has_validators: bool) -> None:
    async with shop.post("/api/cart", json={"slug": "mug"}) as added:
        assert added.status == 201  # from here on there is a session, and a cookie with every request
    async with shop.get(path, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (status, policy)
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert ("ETag" in answer.headers) == has_validators
        assert not answer.headers.get("ETag", "").startswith("W/")


@pytest.mark.parametrize("path", ["/", "/products/shoes", "/search?q=wool", "/api/products", "/static/{css}"])
async def test_a_condition_that_holds_is_304_rfc9110_13_2_2(shop: Client, path: str) -> None:
    async with shop.get("/") as front:
        [css] = re.findall(r'href="/static/(shop\.[0-9a-f]{8}\.css)"', await front.text())
    path = path.format(css=css)
    async with shop.get(path) as first:
        body = await first.read()
        etag, modified = first.headers["ETag"], first.headers.get("Last-Modified")
    for name, value, status in (
        ("If-None-Match", etag, 304),
        ("If-None-Match", f'"x", W/{etag}', 304),  # as a proxy that compresses makes of it
        ("If-None-Match", '"x"', 200),
        ("If-Match", '"x"', 412),
        ("If-Modified-Since", modified, 304),
        ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", 200),
    ):
        if value is None or (modified is None and name == "If-Modified-Since"):
            continue
        async with shop.get(path, headers={name: value}) as answer:
            assert answer.status == status, (name, value)
            assert await answer.read() == (body if status == 200 else b"")
            assert answer.headers["ETag"] == etag
            if status == 304:
                assert answer.headers["Cache-Control"] == first.headers["Cache-Control"]
                assert "Content-Type" not in answer.headers


async def test_a_page_has_the_same_bytes_from_every_instance_and_for_every_visitor(instance: Instances) -> None:
    first, second = await instance(HOPSTACK_NAME="a"), await instance(HOPSTACK_NAME="b")
    async with second.post("/api/cart", json={"slug": "mug"}) as added:
        assert added.status == 201
    for path in ("/", "/products/mug", "/search?q=wool", "/api/products", "/nowhere"):
        async with first.get(path) as one, second.get(path) as other:
            assert await one.read() == await other.read()
            assert one.headers.get("ETag") == other.headers.get("ETag")


async def test_a_sale_changes_the_page_and_its_validators(shop: Client) -> None:
    async with shop.get("/products/umbrella") as before:
        assert "Only 3 left" in await before.text()
    async with shop.post("/cart/add", data={"slug": "umbrella", "quantity": "3"}, headers=own(shop)) as cart:
        assert cart.status == 200
    async with shop.post("/cart/checkout", data={"now": "1"}, headers=own(shop)) as order:
        assert "Thank you" in await order.text()
    async with shop.get("/products/umbrella", headers={"If-None-Match": before.headers["ETag"]}) as after:
        assert after.status == 200
        assert "Sold out" in await after.text()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("wool", ["scarf"]),
        ("WOOL", ["scarf"]),
        ("kitchen chair", ["chair"]),
        ("chair wool", []),
        ("  stoneware\t mug ", ["mug"]),
        ("100%", ["notebook"]),  # the word is 100
        ("_", []),
        ("zebra", []),
    ],
)
async def test_search(shop: Client, query: str, found: list[str]) -> None:
    async with shop.get("/search", params={"q": query}) as answer:
        text = await answer.text()
        assert answer.status == 200
        assert re.findall(r'<h2><a href="/products/([a-z]+)">', text) == found


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


async def test_what_was_searched_for_is_shown_and_never_run(shop: Client) -> None:
    async with shop.get("/search", params={"q": HOSTILE}) as answer:
        text = await answer.text()
    assert "<script" not in text
    assert "<img src=x" not in text
    assert html.escape(HOSTILE).replace("&quot;", "&#34;") in text


@pytest.mark.parametrize(
    "target",
    [
        b"/search?q=%ff%fe",
        b"/search?q=\xff\xfe",
        b"/search?q=%00",
        b"/search?q=%ed%a0%80",
        b"/search?q=a%00b%0d%0aSet-Cookie:%20x",
        b"/search?q=" + b"x" * 5000,
        b"/search?" + b"q=wool&" * 500,
        b"/search?q=%F0%9F%91%9F",
        b"/\xff",
        b"/%ff",
        b"/products/%ff",
        b"//evil.test/",
        b"/products/shoes%2f..%2f..",
    ],
)
async def test_a_strange_target_is_a_page_like_any_other(shop: Client, target: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
    writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert re.match(rb"HTTP/1\.[01] (200|400|404) ", answer), answer[:200]
    assert b"Traceback" not in answer
    assert b"\r\nSet-Cookie" not in answer


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", ()),
        ("%_\\", ("_",)),
        ("Wool  wool WOOL", ("wool",)),
        ("a b c d e f g h", ("a", "b", "c", "d", "e", "f")),
        ("o'clock", ("o", "clock")),
    ],
)
def test_terms(query: str, words: tuple[str, ...]) -> None:
    assert terms(query) == words


async def test_a_fault_of_ours_is_a_friendly_page_without_a_trace(
    shop: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from appserver.shop.sqlite import Sqlite

    async def fails(*_: object) -> None:
        raise LookupError("secret detail")

    monkeypatch.setattr(Sqlite, "products", fails)
    async with shop.get("/") as page, shop.get("/api/products") as document:
        assert (page.status, page.headers["Cache-Control"]) == (500, "no-store")
        text = await page.text()
        problem = await document.json(content_type="application/problem+json")
    assert "Something fell off a shelf" in text
    assert "secret" not in text
    assert "Traceback" not in text
    assert (problem["status"], problem["title"]) == (500, "Internal Server Error")
    assert [record.message for record in caplog.records] == ["GET / failed", "GET /api/products failed"]
