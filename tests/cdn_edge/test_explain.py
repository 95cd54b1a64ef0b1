"""`/-/explain` of the admin endpoint: what it takes, and what it says to what it does not."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from cdn_edge.explain import Explain
from stack.errors import BadRequest, ContentTooLarge
from stack.http.message import Body, Request
from tests.cdn_edge.lab import Lab, Stream

URL = "https://shop.test/a"


def posted(document: object) -> Request:
    return order("/-/explain", json.dumps(document).encode(), b"POST")


def order(target: str, body: Body = b"", method: bytes = b"GET") -> Request:
    return Request(method, target.encode(), [], authority=b"127.0.0.1", body=body)


async def said(request: Request, lab: Lab | None = None) -> dict[str, Any]:
    lab = lab or Lab()
    response = await Explain(lab.edge.explaining)(request)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    found: dict[str, Any] = json.loads(response.body)
    return found


@pytest.mark.parametrize(
    "request_",
    [
        posted({"url": URL, "headers": {"Accept-Language": "de"}}),
        posted({"url": URL, "method": "GET", "headers": [["Accept-Language", "de"]]}),
        order("/-/explain", Stream(json.dumps({"url": URL, "headers": {"ACCEPT-LANGUAGE": " de "}}).encode()), b"POST"),
        order(f"/-/explain?url={quote(URL, safe='')}&header=Accept-Language:%20de"),
        order(f"/-/explain?url={quote(URL, safe='')}&method=GET&header={quote('accept-language:de')}"),
    ],
)
async def test_the_ways_to_ask(request_: Request) -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Language"))
    await lab.ask("/a", "Accept-Language: de")
    record = await said(request_, lab)
    assert (record["lookup"], record["answer"], record["url"]) == ("hit", 200, URL)
    assert record["variants"][0]["selected"]


async def test_content_bypasses() -> None:
    assert (await said(posted({"url": URL, "headers": {"Content-Length": "3"}})))["lookup"] == "bypass"
    assert (await said(posted({"url": URL, "headers": {"Content-Length": "0"}})))["lookup"] == "uri-miss"
    assert (await said(posted({"url": URL, "method": "PUT"})))["lookup"] == "method"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (order("/-/explain"), "Send"),
        (order("/-/explain", b"{", b"POST"), "no JSON"),
        (order("/-/explain", b"[" * 100_000, b"POST"), "ContentTooLarge|no JSON"),
        (posted([]), "Send"),
        (posted({}), "Send"),
        (posted({"url": 7}), "Send"),
        (posted({"url": "/a"}), "https://host/path"),
        (posted({"url": "ftp://shop.test/"}), "https://host/path"),
        (posted({"url": URL, "method": "G T"}), "no method"),
        (posted({"url": URL, "method": ""}), "no method"),
        (posted({"url": URL, "header": {}}), "no header to be given"),
        (posted({"url": URL, "headers": "x"}), "Send"),
        (posted({"url": URL, "headers": [["x"]]}), "Send"),
        (posted({"url": URL, "headers": {"x": 7}}), "Send"),
        (posted({"url": URL, "headers": {"x y": "z"}}), "Name: value"),
        (posted({"url": URL, "headers": {"x": "a\r\nb: c"}}), "Name: value"),
        (posted({"url": URL, "headers": {"x": "\u20ac"}}), "Name: value"),
        (order(f"/-/explain?url={URL}&url={URL}"), "Send"),
        (order(f"/-/explain?url={URL}&header=nothing%20here"), "Name: value"),
    ],
)
async def test_what_it_does_not_take(request_: Request, error: str) -> None:
    with pytest.raises(BadRequest, match=error):
        await said(request_)


async def test_too_long() -> None:
    with pytest.raises(ContentTooLarge):
        await said(order("/-/explain", Stream(*[b" " * 50_000] * 2), b"POST"))
