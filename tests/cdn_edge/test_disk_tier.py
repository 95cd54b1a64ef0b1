"""The disk tier below the memory: what leaves the memory is found again, and what is invalid is not."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from cdn_edge.disk import LEAST
from cdn_edge.explain import asked as request_of
from stack.clock import eventually
from stack.errors import ConfigError, ConnectRefused
from stack.http.message import Peer, Request, Response
from stack.telemetry.exchange import Exchange
from tests.cdn_edge.disk_lab import MIB, DiskLab, disk_lab


def contents(directory: Path) -> list[Path]:
    return [path for path in (directory / "edge" / "content").glob("*/*") if path.is_file()]


async def swept(lab: DiskLab) -> None:
    """Until what was left over is removed."""
    await eventually(lambda: lab.disk._worker._sweeper is not None)
    assert lab.disk._worker._sweeper is not None
    await lab.disk._worker._sweeper


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


async def test_of_several_that_match_the_latest_comes_back(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=600", body=b"first"))
        await lab.ask("/a")
        lab.origin(lab.response("Cache-Control: max-age=600\nVary: Accept-Language", body=b"second"))
        lab.pass_time(5)
        await lab.ask("/a", "Cache-Control: no-cache")
        await lab.written()
        lab.empty_memory()
        assert (await lab.ask("/a")).body == b"second"


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


def cut(path: Path) -> None:
    os.truncate(path, 3)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "word"), [(cut, "torn"), (flip, "torn"), (os.unlink, "gone")])
async def test_a_file_that_is_not_as_written_is_a_miss(tmp_path: Path, damage: object, word: str) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"0123456789"))
        for target in ("/a", "/b"):
            await lab.ask(target)
        await lab.written()
        lab.empty_memory()
        [file] = contents(tmp_path)
        damage(file)  # type: ignore[operator]
        reply = await lab.ask("/a")
        assert (reply.body, reply.is_hit, reply.word("disk")) == (b"0123456789", False, word)
        await lab.written()
        lab.empty_memory()
        assert (await lab.ask("/a")).is_hit, "written anew"
        assert lab.disk.tier.threads.objects == 1 + (await lab.ask("/b")).is_hit


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


async def test_a_full_queue_drops_and_what_is_older_goes(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"))
        await lab.ask("/a")
        await lab.written()
        lab.disk.tier.queue.limit = 10
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"new"))
        await lab.ask("/a", "Cache-Control: no-cache")
        await lab.written()
        assert contents(tmp_path) == []
        assert lab.disk.statistics()["writes"] == {"written": 1, "dropped": 1}
        await lab.kill()
    async with disk_lab(tmp_path, origin=lab) as again:
        assert (await again.ask("/a")).body == b"new"
        assert again.asked == 3


async def test_the_disk_is_bounded_and_what_was_used_last_stays(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, disk_size=LEAST, size=4 * MIB, max_object=MIB) as lab:
        for number in range(200):
            lab.origin(lab.response("Cache-Control: max-age=6000", body=number.to_bytes(4) * 50_000))
            await lab.ask(f"/{number}")
            await lab.written()
            lab.pass_time(1)
            assert lab.disk.tier.threads.bytes <= LEAST
            if number % 10 == 9:
                lab.empty_memory()
                assert (await lab.ask("/3")).is_hit, number
        lab.empty_memory()
        assert 40 < lab.disk.tier.threads.objects < 90
        assert (await lab.ask("/199")).is_hit
        assert not (await lab.ask("/20")).is_hit
        on_disk = sum(path.stat().st_size for path in (tmp_path / "edge").rglob("*") if path.is_file())
        assert on_disk <= LEAST
        assert lab.disk.statistics()["evicted"] > 100


async def test_what_is_in_memory_is_spared_on_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, disk_size=LEAST, size=8 * MIB, max_object=MIB) as lab:
        lab.origin(lab.response("Cache-Control: max-age=6000", body=b"hot"))
        await lab.ask("/hot")
        for number in range(150):
            lab.origin(lab.response("Cache-Control: max-age=6000", body=number.to_bytes(4) * 50_000))
            await lab.ask(f"/{number}")
            assert (await lab.ask("/hot")).at_once
            await lab.written()
            lab.pass_time(1)
        await lab.kill()
    async with disk_lab(tmp_path, disk_size=LEAST, origin=lab) as again:
        assert (await again.ask("/hot")).is_hit


@pytest.mark.parametrize("rubbish", [b"no database at all, " * 500, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_index_is_begun_anew(tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
    (tmp_path / "edge" / "index.sqlite").write_bytes(rubbish)
    async with disk_lab(tmp_path, origin=lab) as again:
        assert not (await again.ask("/a")).is_hit
        _, second = await again.twice()
        assert second.is_hit
        await again.written()
        await swept(again)
    assert any("damaged" in record.message and "thrown away" in record.message for record in caplog.records)
    assert not list((tmp_path / "edge").glob("content.*")), "the old content is removed"


async def test_an_index_of_another_version_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import sqlite3

    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60"))
        await lab.ask("/a")
        await lab.written()
    database = sqlite3.connect(tmp_path / "edge" / "index.sqlite")
    database.execute("PRAGMA user_version=99")
    database.close()
    async with disk_lab(tmp_path, origin=lab) as again:
        assert again.disk.tier.state == "off"
        assert not (await again.ask("/a")).is_hit
        assert (await again.ask("/a")).is_hit, "in memory"
        assert (await again.disk.purge(b"https://shop.test/a"))[0] == 1
    assert any("version 99" in record.message for record in caplog.records)
    assert len(contents(tmp_path)) == 1


async def test_a_second_edge_on_one_directory_waits_for_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with disk_lab(tmp_path) as first:
        first.origin(first.response("Cache-Control: max-age=60", body=b"x"))
        for target in ("/a", "/b"):
            await first.ask(target)
        await first.written()
        async with disk_lab(tmp_path, origin=first) as second:
            assert second.disk.tier.state == "waiting"
            assert str(os.getpid()) in second.disk.tier.why
            count, amiss = await second.disk.purge(b"https://shop.test/b")
            assert (count, "in use by process" in amiss) == (0, True)
            assert not (await second.ask("/a")).is_hit
            await first.disk.stop()
            await second.clock.advance(1)
            await second.loaded()
            second.empty_memory()
            assert (await second.ask("/a")).is_hit
            await second.written()
            assert not (await second.ask("/b")).is_hit, "purged while it waited"
    assert sum("in use by process" in record.message for record in caplog.records) == 1


async def test_left_over_files_are_removed(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
    for name in (f"content/ab/ab{'0' * 62}", "content/ab/what", "coming/7"):
        path = tmp_path / "edge" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left over")
    async with disk_lab(tmp_path, origin=lab) as again:
        await again.loaded()
        await swept(again)
        assert len(contents(tmp_path)) == 1
        assert list((tmp_path / "edge" / "coming").iterdir()) == []
        assert (await again.ask("/a")).is_hit


async def test_a_slow_disk_is_not_waited_for(tmp_path: Path) -> None:
    import threading

    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
        lab.empty_memory()
        stuck = threading.Event()
        reading = lab.disk.tier.threads._reading
        find = reading.find
        reading.find = lambda *args: (stuck.wait(20), find(*args))[1]  # type: ignore[method-assign, func-returns-value]
        asking = asyncio.ensure_future(lab.ask("/a"))
        await lab.clock.advance(3)
        reply = await asking
        stuck.set()
        assert (reply.word("disk"), reply.is_hit, reply.body) == ("slow", False, b"x")


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


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 16M"):
        DiskLab().build(tmp_path, LEAST - 1)
    with pytest.raises(ConfigError, match="no dot"):
        DiskLab(name=".edge").build(tmp_path, LEAST)


async def test_a_directory_that_cannot_be_used_is_a_fault_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--cache-disk: .*file/edge cannot be used: Not a directory"):
        async with disk_lab(tmp_path / "file"):
            pass


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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_disk_that_takes_nothing_is_left_alone_for_a_while(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=600", body=b"old"))
        await lab.ask("/a")
        await lab.written()

        def fails(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr("cdn_edge.disk_files.os.write", fails)
            for turn in range(3):
                lab.origin(lab.response("Cache-Control: max-age=600", body=b"new %d" % turn))
                assert (await lab.ask("/a", "Cache-Control: no-cache")).body == b"new %d" % turn
                await lab.written()
        assert list((tmp_path / "edge" / "coming").iterdir()) == []
        assert sum(record.levelname == "ERROR" for record in caplog.records) == 1, "one line"
        assert lab.disk.statistics()["objects"] == 0, "what is older than what is in memory is not there"
        await lab.clock.advance(11)
        lab.origin(lab.response("Cache-Control: max-age=600", body=b"newest"))
        await lab.ask("/a", "Cache-Control: no-cache")
        await lab.written()
        lab.empty_memory()
        assert (await lab.ask("/a")).body == b"newest"
        assert any("writing again" in record.message for record in caplog.records)
