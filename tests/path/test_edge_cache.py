"""An edge alone in front of an origin: it answers what it may, says what it did, and forgets what was changed."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

from stack.errors import ResponseIncomplete
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Stream
from tests.cdn_edge.processes import cacheable, edge, origin
from tests.support.wire import talk


async def test_a_second_request_does_not_reach_the_origin(tmp_path: Path) -> None:
    async with origin(lambda request: cacheable(request.target)) as behind, edge(behind.url, home=tmp_path) as front:
        first = await front.ask("/a")
        assert re.fullmatch(r"edge; fwd=uri-miss; fwd-status=200; stored; ttl=(60|59)", first.cache_status)
        assert first.headers["x-cache"] == "MISS"
        second = await front.ask("/a")
        assert re.fullmatch(r"edge; hit; ttl=\d+", second.cache_status)
        assert (second.headers["x-cache"], second.body) == ("HIT", b"/a")
        assert second.headers["date"] == first.headers["date"]
        assert int(second.headers["age"]) <= 2
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert "edge.lookup" in second.headers["server-timing"]
        assert 'desc="hit"' in second.headers["server-timing"]
        assert len(behind.seen) == 1
        sent = behind.seen[0]
        assert sent.get(b"via") == b"1.1 edge"
        assert sent.authority == front.url.removeprefix("http://").encode()


async def test_head_conditions_and_ranges_from_the_store(tmp_path: Path) -> None:
    async with (
        origin(lambda _: cacheable(b"0123456789", more=[(b"etag", b'"a"')])) as behind,
        edge(behind.url, home=tmp_path) as front,
    ):
        await front.ask("/a")
        head = await front.ask("/a", "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")
        same = await front.ask("/a", headers={"if-none-match": '"a"'})
        assert (same.status, same.body) == (304, b"")
        part = await front.ask("/a", headers={"range": "bytes=2-3"})
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"23", "bytes 2-3/10")
        beyond = await front.ask("/a", headers={"range": "bytes=10-"})
        assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */10")
        several = await front.ask("/a", headers={"range": "bytes=0-0,-1"})
        assert several.status == 206
        assert several.headers["content-type"].startswith("multipart/byteranges")
        assert all(reply.is_hit for reply in (head, same, part, beyond, several))
        assert len(behind.seen) == 1


async def test_purge_takes_every_variant_and_stats_count(tmp_path: Path) -> None:
    def answer(request: Request) -> Response:
        return cacheable(request.get(b"accept-language") or b"-", more=[(b"vary", b"Accept-Language")])

    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        for language in ("de", "en", "de"):
            reply = await front.ask("/a", headers={"accept-language": language})
            assert reply.body == language.encode()
        cache = await front.cache()
        assert (cache["objects"], cache["keys"], cache["hits"], cache["misses"]) == (2, 1, 1, 2)
        assert 0 < cache["bytes"] < cache["limit"]
        assert 'hopstack_cache_lookups_total{result="vary-miss"} 1' in await front.metrics()
        assert await front.purge(front.url + "/a") == 2
        assert await front.purge(front.url + "/a") == 0
        assert not (await front.ask("/a", headers={"accept-language": "de"})).is_hit


async def test_an_unsafe_request_invalidates(tmp_path: Path) -> None:
    async with origin(lambda _: cacheable(b"x")) as behind, edge(behind.url, home=tmp_path) as front:
        await front.ask("/a")
        assert (await front.ask("/a")).is_hit
        posted = await front.ask("/a", "POST", data=b"body")
        assert posted.cache_status == "edge; fwd=method; fwd-status=200; detail=method"
        assert not (await front.ask("/a")).is_hit


async def test_a_content_that_breaks_off_reaches_the_client_as_broken_and_the_store_not_at_all(tmp_path: Path) -> None:
    answers = [
        Response(
            200,
            [(b"cache-control", b"max-age=60"), (b"content-length", b"6")],
            Stream(b"abc", error=ResponseIncomplete()),
        ),
        cacheable(b"abcdef"),
    ]
    async with origin(lambda _: answers.pop(0)) as behind, edge(behind.url, home=tmp_path) as front:
        with pytest.raises(aiohttp.ClientPayloadError):
            await front.ask("/a")
        assert (await front.ask("/a")).body == b"abcdef"
        assert (await front.ask("/a")).is_hit


async def test_a_large_content_streams_through_and_is_not_stored(tmp_path: Path) -> None:
    size = 3_000_000

    def answer(_: Request) -> Response:
        return Response(200, [(b"cache-control", b"max-age=60")], Stream(*[b"x" * 100_000] * 30))

    async with origin(answer) as behind, edge(behind.url, "--cache-max-object", "1M", home=tmp_path) as front:
        for _ in range(2):
            reply = await front.ask("/a")
            assert len(reply.body) == size
            assert not reply.is_hit
        assert (await front.cache())["objects"] == 0
        assert (await front.cache())["pending"] == 0


async def test_memory_stays_within_its_bound(tmp_path: Path) -> None:
    async with (
        origin(lambda _: cacheable(b"x" * 20_000)) as behind,
        edge(behind.url, "--cache-size", "1M", home=tmp_path) as front,
    ):
        for start in range(0, 400, 20):
            await asyncio.gather(*(front.ask(f"/{n}") for n in range(start, start + 20)))
        cache = await front.cache()
        assert 20 <= cache["objects"] <= 52
        assert cache["bytes"] <= cache["limit"] == 1024 * 1024
        assert cache["evicted"] >= 340


async def test_an_origin_that_dies_is_hidden_where_that_is_allowed(tmp_path: Path) -> None:
    async with (
        origin(lambda _: cacheable(b"kept", max_age=0, more=[(b"etag", b'"a"')])) as behind,
        edge(behind.url, home=tmp_path) as front,
    ):
        await front.ask("/a")
        await behind.die()
        stale = await front.ask("/a")
        assert (stale.status, stale.body) == (200, b"kept")
        assert re.fullmatch(r"edge; fwd=stale; ttl=(0|-\d); detail=stale-if-unreachable", stale.cache_status)
        unknown = await front.ask("/b")
        assert unknown.status == 502
        assert unknown.cache_status == "edge; fwd=uri-miss; detail=connection_refused"
        assert json.loads(unknown.body)["error"] == "connection_refused"
        assert "proxy-status" in unknown.headers


async def test_stale_while_revalidate_answers_before_the_origin_does(tmp_path: Path) -> None:
    answered: list[bytes] = []

    def answer(_: Request) -> Response:
        answered.append(b"%d" % len(answered))
        return Response(200, [(b"cache-control", b"max-age=0, stale-while-revalidate=60")], answered[-1])

    async with origin(answer) as behind, edge(behind.url, home=tmp_path) as front:
        assert (await front.ask("/a")).body == b"0"
        reply = await front.ask("/a")
        assert reply.body == b"0"
        assert "detail=stale-while-revalidate" in reply.cache_status
        deadline = asyncio.get_running_loop().time() + 10
        while (await front.ask("/a")).body == b"0":
            assert asyncio.get_running_loop().time() < deadline


async def test_what_is_refused_has_a_cache_status_too(tmp_path: Path) -> None:
    async with origin(lambda request: cacheable(request.target)) as behind, edge(behind.url, home=tmp_path) as front:
        port = int(front.url.rpartition(":")[2])
        answer = await talk(port, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\ncache-status: edge; detail=refused\r\n" in answer
