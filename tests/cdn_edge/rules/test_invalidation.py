"""RFC 9111 §4.4."""

from __future__ import annotations

import pytest

from cdn_edge.rules.invalidation import invalidated
from cdn_edge.rules.key import Keying
from tests.cdn_edge.lab import lines

KEY = b"https://shop.test/cart"


@pytest.mark.parametrize(
    ("method", "status", "fields", "expected"),
    [
        *[(method, 200, "", ["/cart"]) for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "LOCK", "FOO")],
        *[
            (method, 200, "Location: /x", [])
            for method in ("OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY")
        ],
        *[("POST", status, "", ["/cart"]) for status in (200, 201, 204, 299, 301, 303, 307, 399)],
        *[("POST", status, "Location: /x", []) for status in (400, 404, 409, 500, 503, 999)],
        ("POST", 201, "Location: /cart/1", ["/cart", "/cart/1"]),
        ("PUT", 200, "Content-Location: /cart/2", ["/cart", "/cart/2"]),
        ("PUT", 200, "Content-Location: /cart/2\nLocation: https://shop.test/3", ["/cart", "/3", "/cart/2"]),
        ("PUT", 200, "Location: /cart", ["/cart"]),
        ("PUT", 200, "Location: https://other.test/", ["/cart"]),
        ("PUT", 200, "Content-Location: http://shop.test/", ["/cart"]),
    ],
)
def test_invalidated(method: str, status: int, fields: str, expected: list[str]) -> None:
    found = invalidated(method.encode(), KEY, status, lines(fields), Keying())
    assert [key.decode().removeprefix("https://shop.test") for key in found] == expected
