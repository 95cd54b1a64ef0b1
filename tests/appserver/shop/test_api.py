"""The JSON API, and its errors as problem documents."""

from __future__ import annotations

import json

import pytest

from appserver.shop.catalog import PRODUCTS
from tests.appserver.shop.conftest import Client, own


async def test_products(shop: Client) -> None:
    async with shop.get("/api/products") as answer:
        assert answer.content_type == "application/json"
        products = (await answer.json())["products"]
    assert [product["slug"] for product in products] == [product.slug for product in PRODUCTS]
    async with shop.get("/api/products/shoes") as answer:
        shoes = await answer.json()
    assert shoes == products[0]
    assert (shoes["price"], shoes["stock"]) == ({"cents": 8900, "currency": "EUR"}, 40)
    async with shop.get(shoes["image"]) as image, shop.get(shoes["page"]) as page:
        assert (image.status, page.status) == (200, 200)


async def test_a_cart(shop: Client) -> None:
    async with shop.get("/api/cart") as answer:
        assert await answer.json() == {"lines": [], "count": 0, "total": {"cents": 0, "currency": "EUR"}}
    async with shop.post("/api/cart", json={"slug": "mug", "quantity": 2}, headers=own(shop)) as answer:
        assert answer.status == 201
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Set-Cookie"].startswith("session=")
    async with shop.post("/api/cart", json={"slug": "mug"}) as answer:
        assert answer.status == 200
        cart = await answer.json()
    assert (cart["count"], cart["total"]["cents"]) == (3, 5550)
    assert [(line["slug"], line["quantity"], line["total"]["cents"]) for line in cart["lines"]] == [("mug", 3, 5550)]
    async with shop.get("/api/cart") as answer:
        assert await answer.json() == cart
    async with shop.get("/cart") as page:
        assert "3 × €18.50" in await page.text()


@pytest.mark.parametrize(
    ("method", "path", "content", "content_type", "status", "told"),
    [
        ("GET", "/api/products/boots", b"", "", 404, "nothing at this address"),
        ("GET", "/api/", b"", "", 404, "nothing at this address"),
        ("DELETE", "/api/products", b"", "", 405, "does not take"),
        ("PUT", "/api/cart", b"{}", "application/json", 405, "does not take"),
        ("POST", "/api/cart", b"slug=mug", "application/x-www-form-urlencoded", 415, "another kind"),
        ("POST", "/api/cart", b'{"slug": "mug"}', "text/plain", 415, "another kind"),
        ("POST", "/api/cart", b"", "application/json", 400, "truncated"),
        ("POST", "/api/cart", b"{", "application/json", 400, "truncated"),
        ("POST", "/api/cart", b'{"slug": "\xff"}', "application/json", 400, ""),
        ("POST", "/api/cart", b"{}", "application/json", 422, "`slug`"),
        ("POST", "/api/cart", b"[]", "application/json", 422, "object"),
        ("POST", "/api/cart", b'{"slug": 1}', "application/json", 422, "`$.slug`"),
        ("POST", "/api/cart", b'{"slug": "mug", "quantity": 0}', "application/json", 422, "`$.quantity`"),
        ("POST", "/api/cart", b'{"slug": "mug", "quantity": 21}', "application/json", 422, "`$.quantity`"),
        ("POST", "/api/cart", b'{"slug": "mug", "quantity": 1.5}', "application/json", 422, "`$.quantity`"),
        ("POST", "/api/cart", b'{"slug": "mug", "price": 1}', "application/json", 422, "`price`"),
        ("POST", "/api/cart", b'{"slug": "x\\u0000y"}', "application/json", 422, "`$.slug`"),
        ("POST", "/api/cart", b'{"slug": "boots"}', "application/json", 422, "no product 'boots'"),
        ("POST", "/api/cart", b'{"slug": "radio"}', "application/json", 409, "sold out"),
        ("POST", "/api/cart", b"[" * 15_000, "application/json", 422, "object"),
        ("POST", "/api/cart", b" " * 20_000, "application/json", 413, "larger"),
    ],
)
async def test_an_error_is_a_problem_document_rfc9457(
    shop: Client, method: str, path: str, content: bytes, content_type: str, status: int, told: str
) -> None:
    headers = {**own(shop), "Content-Type": content_type} if content_type else own(shop)
    async with shop.request(method, path, data=content, headers=headers) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        problem = json.loads(await answer.read())
        assert "Set-Cookie" not in answer.headers
        if status == 405:
            assert answer.headers["Allow"]
        if status == 415:
            assert answer.headers["Accept-Post"] == "application/json"
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert told in problem["detail"]
