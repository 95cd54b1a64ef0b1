"""What share one stored response by order of the operator or of the origin, what the origin sees, and what a purge finds."""

from __future__ import annotations

from pathlib import Path

from stack.http.message import Request, Response
from tests.cdn_edge.processes import edge, origin

FLAGS = ("--cache-key-ignore-query", "@tracking", "--cache-key-sort-query", "--cache-key-cookies", "lang")


def answer(request: Request) -> Response:
    fields = [(b"cache-control", b"max-age=600"), (b"vary", b"Accept-Encoding")]
    if request.path == b"/search":
        fields.append((b"no-vary-search", b'params=("session")'))
    return Response(200, fields, b"%b for %b" % (request.target, request.get(b"accept-encoding") or b"-"))


async def test_the_origin_sees_the_url_and_the_key_less_of_it(tmp_path: Path) -> None:
    async with origin(answer) as behind, edge(behind.url, *FLAGS, home=tmp_path) as front:
        first = await front.ask("/a?utm_source=x&b=2&a=1", headers={"Accept-Encoding": "gzip, deflate, br"})
        assert first.body == b"/a?utm_source=x&b=2&a=1 for br, gzip"
        for path, accepted in (("/a?a=1&b=2", "br,gzip"), ("/a?b=2&fbclid=7&a=1", "br;q=1.0, gzip;q=0.8, *;q=0.1")):
            assert (await front.ask(path, headers={"Accept-Encoding": accepted})).is_hit
        assert (await front.ask("/a?a=1&b=2", headers={"Accept-Encoding": "gzip, br;q=0"})).body.endswith(b"for gzip")
        german = {"Accept-Encoding": "gzip, br;q=0", "Cookie": "lang=de; other=1"}
        assert not (await front.ask("/a?a=1&b=2", headers=german)).is_hit
        assert (await front.ask("/a?a=1&b=2", headers={**german, "Cookie": "lang=de"})).is_hit
        assert await front.purge(front.url + "/a?fbclid=9&b=2&a=1") == 3
        assert await front.purge(front.url + "/a?a=1&b=2") == 0
        assert not (await front.ask("/a?a=1&b=2", headers={"Accept-Encoding": "br, gzip"})).is_hit


async def test_no_vary_search(tmp_path: Path) -> None:
    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        await front.ask("/search?q=shoes&session=1")
        for path in ("/search?q=shoes&session=2", "/search?q=shoes", "/search?session=&q=shoes"):
            assert (await front.ask(path)).is_hit, path
        assert not (await front.ask("/search?q=hats&session=1")).is_hit
        assert [request.target for request in behind.seen] == [
            b"/search?q=shoes&session=1",
            b"/search?q=hats&session=1",
        ]
        assert await front.purge(front.url + "/search?session=9&q=shoes") == 1
        assert not (await front.ask("/search?q=shoes&session=1")).is_hit
        assert (await front.ask("/search?q=hats")).is_hit
        # a change of what one of the URLs names takes it out for all of them
        await front.ask("/search?session=5&q=shoes", "POST", data=b"x")
        assert not (await front.ask("/search?q=shoes&session=1")).is_hit
