"""`POST /-/purge`."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from cdn_edge.purge import Purge
from stack.errors import BadRequest, ContentTooLarge
from stack.http.message import Body, Request
from tests.cdn_edge.lab import Lab, Stream

URL = "https://shop.test/a"


def request(target: str = "/-/purge", body: Body = b"") -> Request:
    return Request(b"POST", target.encode(), [], authority=b"127.0.0.1", body=body)


async def lab_with_two_variants() -> Lab:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Encoding"))
    await lab.ask("/a", "Accept-Encoding: gzip")
    await lab.ask("/a")
    await lab.ask("/b")
    return lab


@pytest.mark.parametrize(
    "asked",
    [
        lambda: request(body=json.dumps({"url": URL}).encode()),
        lambda: request(body=Stream(b'{"url": ', f'"{URL}"}}'.encode())),
        lambda: request(f"/-/purge?url={quote(URL, safe='')}"),
        lambda: request(f"/-/purge?url={URL}"),
        lambda: request(body=b'{"url": "HTTPS://SHOP.test:443/a#x"}'),
    ],
)
async def test_all_variants_go(asked) -> None:  # type: ignore[no-untyped-def]
    lab = await lab_with_two_variants()
    response = await Purge(lab.store)(asked())
    assert response.status == 200
    assert json.loads(response.body) == {"url": URL, "purged": 2}
    assert not (await lab.ask("/a")).is_hit
    assert (await lab.ask("/b")).is_hit


async def test_nothing_there() -> None:
    response = await Purge(Lab().store)(request(f"/-/purge?url={URL}"))
    assert json.loads(response.body)["purged"] == 0  # type: ignore[arg-type]


async def test_a_forgotten_port_is_hinted_at() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    for authority in ("other.test:8443", "shop.test:8443", "shop.test:8444"):
        await lab.ask("/a", authority=authority)
    await lab.ask("/b/a", authority="shop.test:8443")
    await lab.ask("/a", authority="shop.test", scheme="http")
    await lab.ask("/a", authority="shop.test:8445")
    answer = json.loads((await Purge(lab.store)(request(f"/-/purge?url={URL}"))).body)  # type: ignore[arg-type]
    assert answer["purged"] == 0
    named = ["https://shop.test:8445/a", "http://shop.test/a", "https://shop.test:8444/a"]
    assert answer["hint"] == f"There is {', '.join(named)}: scheme and port are part of the URL."
    assert lab.store.statistics().objects == 6


async def test_no_hint_where_nothing_comes_near() -> None:
    lab = await lab_with_two_variants()
    response = await Purge(lab.store)(request("/-/purge?url=https://shop.test/c"))
    assert json.loads(response.body) == {"url": "https://shop.test/c", "purged": 0}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: request(), "Send"),
        (lambda: request(body=b"{"), "no JSON"),
        (lambda: request(body=b'{"url": 1}'), "Send"),
        (lambda: request(body=b"[]"), "Send"),
        (lambda: request(body=b'{"url": "/a"}'), "no http or https URL"),
        (lambda: request("/-/purge?url=a&url=b"), "Send"),
    ],
)
async def test_what_is_wrong_is_said(asked, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadRequest, match=says):
        await Purge(Lab().store)(asked())


async def test_a_purge_is_short() -> None:
    with pytest.raises(ContentTooLarge):
        await Purge(Lab().store)(request(body=Stream(b"a" * 40_000, b"a" * 40_000)))
