"""Cross-site request forgery: what is acted upon, and what is not."""

from __future__ import annotations

import pytest

from appserver.shop.guard import Forged, forged
from tests.appserver.shop.conftest import Client, own

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@pytest.mark.parametrize(
    ("method", "headers", "scheme", "host", "content_type", "verdict"),
    [
        ("GET", {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}, "https", "shop.test", FORM, None),
        ("HEAD", {}, "https", "shop.test", FORM, None),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, "https", "shop.test", FORM, None),
        ("POST", {"Sec-Fetch-Site": "none"}, "https", "shop.test", FORM, None),
        ("POST", {"Sec-Fetch-Site": "same-site"}, "https", "shop.test", FORM, Forged.CROSS_SITE),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, "https", "shop.test", JSON, Forged.CROSS_SITE),
        (
            "POST",
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.test"},
            "https",
            "shop.test",
            FORM,
            Forged.CROSS_SITE,
        ),
        ("POST", {"Sec-Fetch-Site": ""}, "https", "shop.test", FORM, Forged.CROSS_SITE),
        ("POST", {"Origin": "https://shop.test"}, "https", "shop.test", FORM, None),
        ("POST", {"Origin": "https://shop.test:8443"}, "https", "shop.test:8443", FORM, None),
        ("POST", {"Origin": "https://shop.test"}, "https", "Shop.test:443", FORM, None),
        ("POST", {"Origin": "http://shop.test"}, "http", "shop.test:80", FORM, None),
        ("POST", {"Origin": "http://shop.test"}, "https", "shop.test", FORM, Forged.ORIGIN),
        ("POST", {"Origin": "https://shop.test"}, "https", "shop.test:8443", FORM, Forged.ORIGIN),
        ("POST", {"Origin": "https://evil.test"}, "https", "shop.test", FORM, Forged.ORIGIN),
        ("POST", {"Origin": "https://shop.test.evil.test"}, "https", "shop.test", FORM, Forged.ORIGIN),
        ("POST", {"Origin": "https://shop.test@evil.test"}, "https", "shop.test", FORM, Forged.ORIGIN),
        ("POST", {"Origin": "null"}, "https", "shop.test", FORM, Forged.ORIGIN),
        ("POST", {"Origin": ""}, "https", "shop.test", JSON, Forged.ORIGIN),
        ("POST", {"Origin": "https://evil.test"}, "https", "shop.test", JSON, Forged.ORIGIN),
        ("POST", {}, "https", "shop.test", FORM, Forged.UNKNOWN),
        ("POST", {}, "https", "shop.test", "text/plain", Forged.UNKNOWN),
        ("POST", {}, "https", "shop.test", JSON, None),
        ("DELETE", {"Origin": "https://evil.test"}, "https", "shop.test", JSON, Forged.ORIGIN),
    ],
)
def test_forged(
    method: str, headers: dict[str, str], scheme: str, host: str, content_type: str, verdict: Forged | None
) -> None:
    assert forged(method, headers, scheme=scheme, host=host, content_type=content_type) is verdict


@pytest.mark.parametrize("path", ["/cart/add", "/cart/remove", "/cart/checkout"])
@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_forged_form_is_a_403_page(shop: Client, path: str, headers: dict[str, str]) -> None:
    async with shop.post("/api/cart", json={"slug": "mug"}) as added:
        assert added.status == 201
    async with shop.post(path, data={"slug": "mug"}, headers=headers) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (403, "no-store")
        assert "only on forms sent from this shop" in await answer.text()
    async with shop.get("/api/cart") as cart:
        assert (await cart.json())["count"] == 1


async def test_a_forged_call_of_the_api_says_why(shop: Client) -> None:
    headers = {"Origin": "https://evil.test"}
    async with shop.post("/api/cart", json={"slug": "mug"}, headers=headers) as answer:
        problem = await answer.json(content_type="application/problem+json")
    assert (problem["status"], problem["reason"]) == (403, "origin")


async def test_what_is_not_there_is_not_forbidden(shop: Client) -> None:
    async with shop.post("/nowhere") as missing, shop.post("/products/shoes") as method:
        assert (missing.status, method.status) == (404, 405)
    async with shop.post("/api/cart", json={"slug": "mug"}, headers=own(shop)) as answer:
        assert answer.status == 201
