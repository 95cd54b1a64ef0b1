"""A path that pretends to be static gets nobody's page stored: only the origin's own headers do.

The origin reads paths as frameworks do: `/account/x.css` (PHP's path info), `/account.css` (Rails' format),
`/account;x.css` (Spring's parameters), encoded slashes and dots.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from stack.http.message import Fields, Request, Response
from tests.cdn_edge.processes import Answer, edge, origin

PATHS = [
    "/account/x.css",
    "/account/x.js?v=3",
    "/account.css",
    "/account.jpg?x.png",
    "/account;x.css",
    "/account;v=1/x.css",
    "/account%2Fx.css",
    "/static/..%2Faccount",
    "/static/%2e%2e/account",
    "/static/%2E%2E%2Faccount?x.css",
    "/account%3Bx.css",
    "/account%3fx.css",
    "/account%23x.css",
    "/account%0ax.css",
    "/account/robots.txt",
    "/account/favicon.ico",
    "/account/.well-known/x.css",
]
SESSION = {"Cookie": "session=victim"}


def framework(headers: Fields) -> Answer:
    def answer(request: Request) -> Response:
        path = unquote(request.path.decode())
        while (shorter := re.sub(r"[^/]+/\.\.(/|$)", "", path, count=1)) != path:
            path = shorter
        page = re.split(r"[;?#\n]", path)[0].split("/")[1].partition(".")[0]
        if page != "account":
            return Response(404, [], b"nothing")
        user = (request.get(b"cookie") or b"session=nobody").partition(b"=")[2]
        return Response(200, [(b"content-type", b"text/html"), *headers], b"account of " + user)

    return answer


LAST_MODIFIED = (b"last-modified", b"Mon, 02 Mar 2020 10:00:00 GMT")


SAID: dict[str, Fields] = {
    "nothing": [],
    "last-modified": [LAST_MODIFIED],
    "validators": [LAST_MODIFIED, (b"etag", b'"1"')],
    "private": [(b"cache-control", b"private, max-age=600")],
    "no-store": [(b"cache-control", b"no-store")],
    "set-cookie": [(b"cache-control", b"max-age=600"), (b"set-cookie", b"session=victim")],
    "vary-cookie": [(b"cache-control", b"max-age=600"), (b"vary", b"Cookie")],
}
"""By host: what its framework says of the page."""


async def test_no_suffix_makes_a_page_everybodys(tmp_path: Path) -> None:
    frameworks = {f"{name}.test".encode(): framework(headers) for name, headers in SAID.items()}
    async with (
        origin(lambda request: frameworks[request.authority](request)) as behind,
        edge(behind.url, home=tmp_path) as front,
    ):
        for name in SAID:
            for path in PATHS:
                own = await front.ask(path, headers={**SESSION, "Host": f"{name}.test"})
                assert own.body == b"account of victim", (name, path)  # the origin does fall for it
                stranger = await front.ask(path, headers={"Host": f"{name}.test"})
                assert (stranger.body, stranger.is_hit) == (b"account of nobody", False), (name, path)


async def test_only_the_origins_own_word_does(tmp_path: Path) -> None:
    """It says so of the page itself, and of what pretends to be another in just the same way."""
    headers = [(b"cache-control", b"public, max-age=600")]
    async with origin(framework(headers)) as behind, edge(behind.url, home=tmp_path) as front:
        for path in ("/account", "/account/x.css"):
            await front.ask(path, headers=SESSION)
            assert (await front.ask(path)).is_hit


async def test_two_spellings_of_a_path_are_two_pages(tmp_path: Path) -> None:
    """Whatever the origin takes for the same: a key that took more for the same would mix up what it does not."""
    headers = [(b"cache-control", b"public, max-age=600")]
    async with origin(framework(headers)) as behind, edge(behind.url, home=tmp_path) as front:
        for path in ("/account", *PATHS):
            assert "uri-miss" in (await front.ask(path)).cache_status, path
        assert (await front.cache())["keys"] == len(PATHS) + 1
