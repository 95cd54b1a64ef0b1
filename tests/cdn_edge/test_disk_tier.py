"""The disk tier below the memory: what leaves the memory is found again, and what is invalid is not."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from cdn_edge.checks import LEAST_DISK
from cdn_edge.explain import asked as request_of
from cdn_edge.rules.reuse import Terms
from cdn_edge.stored import whole
from stack.clock import eventually
from stack.errors import ConnectRefused
from stack.http.message import Peer, Request, Response
from stack.telemetry.exchange import Exchange
from tests.cdn_edge.disk_lab import MIB, contents, disk_lab


async def test_what_left_the_memory_is_a_hit_from_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"\nX-Some: thing', body=b"self"))
        first, second = await lab.twice()
        assert not first.at_once
        assert (second.body, second.get("etag"), second.get("x-some")) == (b"self", '"a"', "thing")
        assert second.cache_status == "edge; hit; ttl=60; detail=disk"
        assert (second.word("disk"), second.word("lookup"), second.get("x-cache")) == ("read", "hit", "HIT")
        third = await lab.ask("/a")
        assert third.at_once, "it is in memory again"
        assert third.cache_status == "edge; hit; ttl=60"
        assert lab.asked == 1


async def test_what_is_on_disk_is_explained_and_stays_there(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Language"))
        await lab.ask("/a", "Accept-Language: de")
        await lab.written()
        lab.empty_memory()
        counted = dict(lab.disk.tier.reads.values)
        for language, word in (("de", "hit"), ("en", "uri-miss")):
            headers = {"Accept-Language": language}
            record = await lab.edge.explaining.ask(request_of({"url": "https://shop.test/a", "headers": headers}))
            assert record.lookup == word
            assert [(variant.disk, variant.selected) for variant in record.variants] == [(True, True)] * (word == "hit")
            assert any("on disk" in hint for hint in record.hints) is (word != "hit")
        assert lab.store.statistics().objects == 0
        assert dict(lab.disk.tier.reads.values) == counted
        for language, word in (("de", "hit"), ("en", "vary-miss")):
            assert (await lab.ask("/a", f"Accept-Language: {language}")).word("lookup") == word


async def test_age_counts_on_over_a_restart(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
        await lab.kill()
    lab.pass_time(25)
    lab.clock._now -= 900  # the machine was started anew: its monotonic clock begins elsewhere,
    lab.clock._wall += 900  # its wall clock goes on
    async with disk_lab(tmp_path, origin=lab) as again:
        reply = await again.ask("/a")
        assert reply.cache_status == "edge; hit; ttl=35; detail=disk"
        assert reply.get("age") == "25"
        again.pass_time(36)
        again.origin(again.response("Cache-Control: max-age=60", body=b"y"))
        assert (await again.ask("/a")).body == b"y", "no longer fresh"


async def test_a_clock_that_was_set_back_makes_it_stale(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"', body=b"x"))
        await lab.ask("/a")
        await lab.written()
        await lab.kill()
    lab.clock._wall -= 3600
    async with disk_lab(tmp_path, origin=lab) as again:
        again.origin(again.response('Cache-Control: max-age=60\nETag: "a"', status=304, body=b""))
        reply = await again.ask("/a")
        assert (reply.body, reply.word("fetch"), reply.word("disk")) == (b"x", "revalidated", "read")


async def test_requests_before_the_keys_are_loaded_find_what_is_there(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60"))
        await lab.ask("/a")
        await lab.written()
    async with disk_lab(tmp_path, origin=lab) as again:
        assert again.disk.tier.state == "loading"
        assert (await again.ask("/a")).is_hit


@pytest.mark.parametrize("how", ["purge", "unsafe", "gone", "private"])
async def test_what_is_taken_out_stays_out_over_a_kill(tmp_path: Path, how: str) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"))
        await lab.ask("/a")
        await lab.written()
        assert len(contents(tmp_path)) == 1
        if how == "purge":
            assert await lab.disk.purge(b"https://shop.test/a") == (1, "")
            assert await lab.disk.purge(b"https://shop.test/a") == (0, "")
        elif how == "unsafe":
            await lab.ask("/a", method="POST")
        else:
            lab.pass_time(61)
            lab.origin(lab.response("Cache-Control: private" if how == "private" else "Cache-Control: no-store", 404))
            await lab.ask("/a")
            lab.clock._now -= 61
        await lab.kill()  # at once: nothing is waited for
    assert contents(tmp_path) == []
    async with disk_lab(tmp_path, origin=lab) as again:
        again.origin(again.response("Cache-Control: max-age=60", body=b"new"))
        assert (await again.ask("/a")).body == b"new"


async def test_a_purge_counts_each_variant_once_wherever_it_is(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Language"))
        for language in ("de", "en"):
            await lab.ask("/a", f"Accept-Language: {language}")
        await lab.written()
        lab.empty_memory()
        await lab.ask("/a", "Accept-Language: de")
        await lab.ask("/a", "Accept-Language: fr")
        assert await lab.disk.purge(b"https://shop.test/a") == (3, "")
        assert not (await lab.ask("/a", "Accept-Language: en")).is_hit


async def test_the_variant_that_the_request_selects_comes_back(tmp_path: Path) -> None:
    def answer(request: Request) -> Response:
        return lab.response(
            "Cache-Control: max-age=60\nVary: Accept-Language", body=request.get(b"accept-language") or b"-"
        )(request)

    async with disk_lab(tmp_path) as lab:
        lab.origin(answer)
        for text in ("Accept-Language: de", "Accept-Language: en", ""):
            await lab.ask("/a", text)
        await lab.written()
        lab.empty_memory()
        for text, body in (("Accept-Language: en", b"en"), ("", b"-"), ("Accept-Language: de", b"de")):
            reply = await lab.ask("/a", text)
            assert (reply.body, reply.is_hit) == (body, True)
        other = await lab.ask("/a", "Accept-Language: fr")
        assert (other.word("disk"), other.word("lookup")) == ("none", "vary-miss")
        assert lab.asked == 4


@pytest.mark.parametrize("newer", ["plain", "varying"])
async def test_of_several_that_match_the_latest_comes_back(tmp_path: Path, newer: str) -> None:
    """RFC 9111 §4.1."""
    async with disk_lab(tmp_path) as lab:
        now = lab.clock.now()
        for name, names, selection in (("plain", (), ()), ("varying", (b"accept-language",), (None,))):
            date = lab.clock.time() + (name == newer)
            kept = {"terms": Terms(60.0), "date": date, "born": now, "status": 200, "fields": []}
            lab.store.put(whole(b"https://shop.test/a", names, selection, body=name.encode(), **kept))  # type: ignore[arg-type]
        await lab.written()
        assert lab.disk.tier.threads.objects == 2
        lab.empty_memory()
        assert (await lab.ask("/a")).body == newer.encode()


async def test_conditions_ranges_and_head_from_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"', body=b"0123456789"))
        await lab.twice()
        lab.empty_memory()
        same = await lab.ask("/a", 'If-None-Match: "a"')
        assert (same.status, same.body) == (304, b"")
        assert same.cache_status == "edge; hit; ttl=60; detail=disk"
        lab.empty_memory()
        part = await lab.ask("/a", "Range: bytes=2-3")
        assert (part.status, part.body) == (206, b"23")
        lab.empty_memory()
        assert (await lab.ask("/a", method="HEAD")).is_hit
        lab.empty_memory()
        assert (await lab.ask("/a", "Cache-Control: only-if-cached")).is_hit
        assert lab.asked == 1


async def test_a_304_brings_the_row_up_to_date(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"\nX-Turn: 1', body=b"x"))
        await lab.ask("/a")
        await lab.written()
        lab.pass_time(61)
        lab.empty_memory()
        lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"\nX-Turn: 2', 304, body=b""))
        fresh = await lab.ask("/a")
        assert (fresh.body, fresh.get("x-turn"), fresh.word("fetch")) == (b"x", "2", "revalidated")
        await lab.written()
        assert len(contents(tmp_path)) == 1
        await lab.kill()
    async with disk_lab(tmp_path, origin=lab) as again:
        reply = await again.ask("/a")
        assert (reply.body, reply.get("x-turn"), reply.is_hit) == (b"x", "2", True)


async def test_stale_from_disk_while_the_origin_is_down(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
        lab.empty_memory()
        lab.pass_time(100)
        lab.origin(ConnectRefused())
        reply = await lab.ask("/a")
        assert (reply.status, reply.body, reply.word("fetch")) == (200, b"x", "stale-if-unreachable")


async def test_the_same_content_is_there_once(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x" * 5000))
        for target in ("/a", "/b", "/c"):
            await lab.ask(target)
        await lab.written()
        assert len(contents(tmp_path)) == 1
        assert await lab.disk.purge(b"https://shop.test/a") == (1, "")
        assert len(contents(tmp_path)) == 1
        lab.empty_memory()
        assert (await lab.ask("/b")).is_hit
        for target in (b"/b", b"/c"):
            await lab.disk.purge(b"https://shop.test" + target)
        assert contents(tmp_path) == []


async def test_without_content_there_is_no_file(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60\nLocation: /b", 301, body=b""))
        _, second = await lab.twice()
        assert (second.status, second.get("location"), second.is_hit) == (301, "/b", True)
        assert contents(tmp_path) == []


async def test_requests_together_read_it_once(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.twice()
        lab.empty_memory()

        replies = await asyncio.gather(*(lab.ask("/a") for _ in range(50)))
        assert all(reply.is_hit for reply in replies)
        assert lab.asked == 1
        assert sum("detail=disk" in reply.cache_status for reply in replies) == 1


async def test_a_response_in_the_queue_is_found_there(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        await lab.loaded()
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        lab.empty_memory()
        assert len(lab.disk.tier.queue) == 1
        assert (await lab.ask("/a")).is_hit
        assert lab.asked == 1


async def test_the_disk_is_bounded_and_what_was_used_last_stays(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, disk_size=LEAST_DISK, size=4 * MIB, max_object=MIB) as lab:
        for number in range(200):
            lab.origin(lab.response("Cache-Control: max-age=6000", body=number.to_bytes(4) * 50_000))
            await lab.ask(f"/{number}")
            await lab.written()
            lab.pass_time(1)
            assert lab.disk.tier.threads.bytes <= LEAST_DISK
            if number % 10 == 9:
                lab.empty_memory()
                assert (await lab.ask("/3")).is_hit, number
        lab.empty_memory()
        assert 40 < lab.disk.tier.threads.objects < 90
        assert (await lab.ask("/199")).is_hit
        assert not (await lab.ask("/20")).is_hit
        on_disk = sum(path.stat().st_size for path in (tmp_path / "edge").rglob("*") if path.is_file())
        assert on_disk <= LEAST_DISK
        assert lab.disk.statistics()["evicted"] > 100


async def test_what_is_in_memory_is_spared_on_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, disk_size=LEAST_DISK, size=8 * MIB, max_object=MIB) as lab:
        lab.origin(lab.response("Cache-Control: max-age=6000", body=b"hot"))
        await lab.ask("/hot")
        for number in range(150):
            lab.origin(lab.response("Cache-Control: max-age=6000", body=number.to_bytes(4) * 50_000))
            await lab.ask(f"/{number}")
            assert (await lab.ask("/hot")).at_once
            await lab.written()
            lab.pass_time(1)
        await lab.kill()
    async with disk_lab(tmp_path, disk_size=LEAST_DISK, origin=lab) as again:
        assert (await again.ask("/hot")).is_hit


async def test_what_is_invalidated_while_it_is_read_is_not_put_back(tmp_path: Path) -> None:
    import threading

    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"))
        await lab.ask("/a")
        await lab.written()
        lab.empty_memory()
        stuck = threading.Event()
        reading = lab.disk.tier.threads._reading
        find = reading.find

        def slowly(*args: object) -> object:
            found = find(*args)  # type: ignore[arg-type]
            stuck.wait(20)
            return found

        reading.find = slowly  # type: ignore[method-assign, assignment]
        asking = asyncio.ensure_future(lab.ask("/a"))
        await asyncio.sleep(0.05)
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"new"))
        await lab.disk.purge(b"https://shop.test/a")
        stuck.set()
        assert (await asking).body == b"new"
        assert (await lab.ask("/a")).body == b"new"


async def test_two_requests_of_one_moment_find_one_response(tmp_path: Path) -> None:
    """Both are looked up before either goes on: what the first brings back is not put into memory twice."""
    async with disk_lab(tmp_path) as lab:
        await lab.loaded()
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        lab.empty_memory()
        waiting = [lab.edge.handle(request, Exchange("edge", lab.clock.now, request)) for request in (plain(), plain())]
        answers = [answer if isinstance(answer, Response) else await answer for answer in waiting]
        assert [answer.body for answer in answers] == [b"x", b"x"]
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"y"))
        assert (await lab.ask("/a", "Cache-Control: no-cache")).body == b"y"
        assert (await lab.ask("/a")).body == b"y"
        assert lab.store.statistics().objects == 1


def plain() -> Request:
    return Request(b"GET", b"/a", [], authority=b"shop.test", scheme=b"https", peer=Peer("192.0.2.1", 1))


async def test_what_the_memory_does_not_let_in_is_answered_from_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, size=300_000, max_object=100_000) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x" * 30_000))
        for number in range(12):
            await lab.ask(f"/{number}")
            await lab.written()
        assert lab.disk.tier.threads.objects == 12
        asked = lab.asked
        for _ in range(2):
            for number in range(12):
                assert (await lab.ask(f"/{number}")).is_hit
        assert lab.asked == asked


async def test_what_the_memory_needs_to_know_of_the_disk_is_counted(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        for number in range(50):
            await lab.ask(f"/{number}")
        await lab.written()
        tier = lab.disk.tier
        await eventually(lambda: lab.store.beside == tier.known_bytes)
        assert lab.store.beside >= 50 * 48
        for count in (20_000, 50_000, 120_000):
            tracemalloc.start()
            try:
                tier.known = {hash(b"https://shop.test/%d" % number) for number in range(count)}
                taken = tracemalloc.get_traced_memory()[0]
            finally:
                tracemalloc.stop()
            assert taken <= tier.known_bytes <= taken * 1.3
