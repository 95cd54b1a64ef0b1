"""What can go wrong with the disk below the memory: it is a miss and a line, never an error or a wrong answer."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdn_edge.checks import LEAST_DISK
from cdn_edge.config import Key
from cdn_edge.explain import asked
from stack.clock import eventually
from stack.errors import ConfigError
from tests.cdn_edge.disk_lab import MIB, DiskLab, contents, disk_lab, swept


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
            hints = second.edge.explaining.record(asked({"url": "https://shop.test/a"})).hints
            assert any(hint.startswith("the disk: ") and "in use by process" in hint for hint in hints)
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


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dot"):
        DiskLab(name=".edge").build(tmp_path, LEAST_DISK)


async def test_a_directory_that_cannot_be_used_is_a_fault_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--cache-disk: .*file/edge cannot be used: Not a directory"):
        async with disk_lab(tmp_path / "file"):
            pass


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


async def test_what_was_stored_with_another_key_answers_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a header in the key since then, a response without it would answer everybody."""
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
    monkeypatch.setattr("tests.cdn_edge.disk_lab.KEY", Key(headers=("x-country",)))
    async with disk_lab(tmp_path, origin=lab) as again:
        assert not (await again.ask("/a")).is_hit
        await again.written()
    assert any("other options" in record.message for record in caplog.records)
    async with disk_lab(tmp_path, origin=lab, disk_size=20 * MIB, size=2_000_000) as third:
        assert (await third.ask("/a")).is_hit, "sizes do not matter"


def cleared(directory: Path) -> None:
    """`rm -rf DIR/*`."""
    for path in directory.iterdir():
        shutil.rmtree(path)


def without_content(directory: Path) -> None:
    shutil.rmtree(directory / "edge" / "content")


def without_coming(directory: Path) -> None:
    shutil.rmtree(directory / "edge" / "coming")


def another(directory: Path) -> None:
    """Brought back from a copy."""
    shutil.copytree(directory / "edge", directory / "copy")
    (directory / "edge").rename(directory / "was")
    (directory / "copy").rename(directory / "edge")


@pytest.mark.parametrize("disturb", [cleared, without_content, without_coming, shutil.rmtree, another])
async def test_a_directory_that_is_cleared_while_in_use_is_used_again(
    tmp_path: Path, disturb: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "cache"
    async with disk_lab(directory) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"first"))
        await lab.ask("/first")
        await lab.written()
        disturb(directory)
        for turn in range(8):
            lab.origin(lab.response("Cache-Control: max-age=60", body=b"%d" % turn))
            await lab.ask(f"/{turn}")
            await lab.written()
        await swept(lab)
        assert lab.disk.tier.state == "open"
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"later"))
        _, second = await lab.twice("/later")
        assert (second.is_hit, second.body, second.word("disk")) == (True, b"later", "read")
        assert (await lab.disk.purge(b"https://shop.test/later")) == (1, "")
        lab.empty_memory()
        await lab.kill()
    async with disk_lab(directory, origin=lab) as again:
        await again.loaded()
        assert (await again.ask("/7")).is_hit
        assert not (await again.ask("/later")).is_hit, "it was purged"
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_directory_that_has_another_user_now_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "cache"
    async with disk_lab(directory) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
        shutil.rmtree(directory)
        async with disk_lab(directory, origin=lab) as other:
            await other.ask("/other")
            await other.written()
            await lab.ask("/b")
            await lab.written()
            await eventually(lambda: lab.disk.tier.state == "off")
            assert other.disk.tier.state == "open"
            other.empty_memory()
            assert (await other.ask("/other")).is_hit
    assert any("in use by process" in record.message for record in caplog.records)
    assert not [record for record in caplog.records if record.exc_info]


async def test_many_torn_files_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with disk_lab(tmp_path) as lab:
        for number in range(5):
            lab.origin(lab.response("Cache-Control: max-age=60", body=b"%10d" % number))
            await lab.ask(f"/{number}")
        await lab.written()
        lab.empty_memory()
        for file in contents(tmp_path):
            flip(file)
        for number in range(5):
            assert (await lab.ask(f"/{number}")).word("disk") == "torn"
            await lab.written()
    told = [record.message for record in caplog.records]
    assert sum("not what was written" in line for line in told) == 1
    assert not any("tried again" in line for line in told)


async def test_what_cannot_be_taken_out_is_one_line_in_ten_seconds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        for number in range(5):
            await lab.ask(f"/{number}")
        await lab.written()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(lab.disk.tier.threads.shelf, "forget", full)
        for number in range(4):
            assert (await lab.ask(f"/{number}", method="POST")).status == 200
        lab.pass_time(11)
        assert (await lab.ask("/4", method="POST")).status == 200
        monkeypatch.undo()
    told = [record.message for record in caplog.records if "could not be taken out" in record.message]
    assert len(told) == 2
    assert told[1].endswith("tried again (3 more since the last line about it)")


@pytest.mark.parametrize("step", [-30 * 365 * 86_400.0, -3600.0])
async def test_a_clock_that_was_set_back_before_it_was_written_makes_nothing_younger(
    tmp_path: Path, step: float
) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        lab.clock._wall += step
        await lab.written()
        lab.pass_time(10)
        lab.empty_memory()
        here = await lab.ask("/a")
        assert (here.get("age"), here.word("disk")) == ("10", "read"), "in this process it changes nothing"
        await lab.kill()
    lab.pass_time(100)
    async with disk_lab(tmp_path, origin=lab) as again:
        await again.loaded()
        assert not (await again.ask("/a")).is_hit, "it was fresh for a minute"
        assert again.asked == 2
