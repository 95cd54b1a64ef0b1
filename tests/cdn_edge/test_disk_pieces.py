"""Large content on disk, slice by slice: it comes back, of one version, and what was taken out does not."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cdn_edge.rules.judging import Policy
from stack.errors import ConnectRefused
from tests.cdn_edge.disk_lab import MIB, DiskLab, contents, disk_lab
from tests.cdn_edge.lab import Lab
from tests.cdn_edge.ranged import File, counted

SLICE = 4_096
SLICES = 10
LARGE = SLICES * SLICE + 1_000
KEY = b"https://shop.test/a"


def policy() -> Policy:
    return Policy(max_object=20_000, slice=SLICE, slice_from=2 * SLICE)


def options(**more: Any) -> Any:
    return {"policy": policy(), "size": 4 * MIB, "max_object": 20_000, **more}


def file_of(lab: Lab, version: int = 0, tag: str = '"a"') -> File:
    file = File(lab.clock, counted(LARGE, version), tag=tag, chunk=1_500)
    lab.origin(file)
    return file


def rows(directory: Path) -> list[bytes]:
    with sqlite3.connect(directory / "edge" / "index.sqlite") as database:
        found = [row[0] for row in database.execute("SELECT key FROM objects ORDER BY key")]
    database.close()
    return found


async def kept(lab: DiskLab) -> File:
    file = file_of(lab)
    assert (await lab.ask("/a")).body == file.content
    await lab.written()
    return file


async def test_it_comes_back_slice_by_slice(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        assert len(rows(tmp_path)) == 1 + SLICES + 1
        lab.empty_memory()
        reply = await lab.ask("/a")
        assert reply.body == file.content
        assert reply.cache_status == "edge; hit; ttl=60; detail=disk"
        lab.empty_memory()
        part = await lab.ask("/a", "Range: bytes=5000-5009")
        assert (part.status, part.body) == (206, file.content[5_000:5_010])
        assert lab.store.statistics().objects == 2, "one slice is read for it, and its head"
        assert file.served == ["all 200"]


async def test_slices_alone_that_left_the_memory_come_from_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        parts = head_of(lab)
        for piece in list(parts.pieces)[3:6]:
            lab.store._eviction.remove(piece)
            lab.store._forget(piece)
        reply = await lab.ask("/a")
        assert (reply.body, reply.cache_status) == (file.content, "edge; hit; ttl=60")
        assert file.served == ["all 200"]
        assert parts.gaps(range_of(parts)) == [], "they are in memory again"


def head_of(lab: DiskLab) -> Any:
    stored, _ = lab.store.find(KEY, [])
    assert stored is not None
    assert stored.parts is not None
    return stored.parts


def range_of(parts: Any) -> Any:
    from stack.http.ranges import Range

    return Range(0, parts.length)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_over_a_restart(tmp_path: Path, end: str) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        if end == "kill":
            await lab.kill()
    async with disk_lab(tmp_path, origin=lab, **options()) as again:
        lab.pass_time(10)
        reply = await again.ask("/a")
        assert (reply.body, reply.cache_status) == (file.content, "edge; hit; ttl=50; detail=disk")
        assert file.served == ["all 200"]


async def test_what_is_missing_on_disk_is_fetched_alone(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
    with sqlite3.connect(tmp_path / "edge" / "index.sqlite") as database:
        database.execute("DELETE FROM objects WHERE key=?", (b"%b#bytes=%d" % (KEY, 4 * SLICE),))
    database.close()
    async with disk_lab(tmp_path, origin=lab, **options()) as again:
        reply = await again.ask("/a")
        assert (reply.body, reply.word("lookup")) == (file.content, "partial")
        assert file.served[1:] == [f"bytes={4 * SLICE}-{5 * SLICE - 1} 206"]
        await again.written()
        again.empty_memory()
        assert (await again.ask("/a")).is_hit, "and is on disk from then on"


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("how", ["purge", "unsafe", "gone"])
async def test_what_is_taken_out_stays_out_though_it_comes_again_with_the_same_tag(
    tmp_path: Path, how: str, where: str
) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        if where == "disk":
            lab.empty_memory()
        if how == "purge":
            assert await lab.disk.purge(KEY) == (1, "")
        elif how == "unsafe":
            await lab.ask("/a", method="POST")
        else:
            lab.pass_time(61)
            lab.origin(lab.response("Cache-Control: no-store", 404))
            await lab.ask("/a")
        await lab.kill()  # at once: nothing is waited for
    assert contents(tmp_path) == []
    assert rows(tmp_path) == []
    async with disk_lab(tmp_path, origin=lab, **options()) as again:
        file = file_of(again, 1)  # another content, and an origin that says it is the same
        await again.ask("/a", "Range: bytes=0-99")
        assert (await again.ask("/a")).body == file.content


async def test_left_over_slices_of_a_storing_before_are_not_used(tmp_path: Path) -> None:
    """Whatever went wrong with taking them out: their stamp is another one."""
    async with disk_lab(tmp_path, **options()) as lab:
        await kept(lab)
    with sqlite3.connect(tmp_path / "edge" / "index.sqlite") as database:
        database.execute("DELETE FROM objects WHERE key=?", (KEY,))
    database.close()
    async with disk_lab(tmp_path, origin=lab, **options()) as again:
        file = file_of(again, 1)
        await again.ask("/a", "Range: bytes=0-99")
        assert (await again.ask("/a")).body == file.content
        await again.written()
        again.empty_memory()
        assert (await again.ask("/a")).body == file.content


async def test_a_new_version_takes_the_old_ones_slices_out(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        await kept(lab)
        lab.pass_time(61)
        file = file_of(lab, 1, '"b"')
        assert (await lab.ask("/a")).body == file.content
        await lab.written()
        assert len(rows(tmp_path)) == len(contents(tmp_path)) + 1 == 1 + SLICES + 1
        lab.empty_memory()
        assert (await lab.ask("/a")).body == file.content
        lab.pass_time(61)
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"small"))
        await lab.ask("/a")
        await lab.written()
        assert rows(tmp_path) == [KEY]
        assert lab.disk.tier.threads.objects == 1
        assert lab.disk.tier.known == {hash(KEY)}


async def test_a_304_keeps_the_slices(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        lab.pass_time(61)
        lab.empty_memory()
        reply = await lab.ask("/a")
        assert (reply.body, reply.word("fetch")) == (file.content, "revalidated")
        assert file.served == ["all 200", "all 304"]
        await lab.written()
        await lab.kill()
    async with disk_lab(tmp_path, origin=lab, **options()) as again:
        reply = await again.ask("/a")
        assert (reply.body, reply.cache_status) == (file.content, "edge; hit; ttl=60; detail=disk")


async def test_stale_from_disk_when_the_origin_is_gone(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = file_of(lab)
        file.head = "Cache-Control: max-age=60, stale-if-error=600\nAccept-Ranges: bytes"
        await lab.ask("/a")
        await lab.written()
        lab.empty_memory()
        lab.pass_time(61)
        lab.origin(ConnectRefused())
        reply = await lab.ask("/a")
        assert (reply.status, reply.body, reply.get("x-cache")) == (200, file.content, "STALE")


async def test_only_if_cached_is_answered_from_disk(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        lab.empty_memory()
        reply = await lab.ask("/a", "Cache-Control: only-if-cached")
        assert (reply.status, reply.body) == (200, file.content)


@pytest.mark.parametrize("trouble", ["torn", "gone", "exchanged"])
async def test_a_slice_that_is_not_what_was_written_is_fetched(tmp_path: Path, trouble: str) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        lab.empty_memory()
        with sqlite3.connect(tmp_path / "edge" / "index.sqlite") as database:
            names = dict(
                database.execute("SELECT o.key, c.digest FROM objects o JOIN contents c ON c.id = o.content").fetchall()
            )
            one, other = (b"%b#bytes=%d" % (KEY, n * SLICE) for n in (2, 3))
            if trouble == "exchanged":
                database.execute("UPDATE objects SET key='x' WHERE key=?", (one,))
                database.execute("UPDATE objects SET key=? WHERE key=?", (one, other))
                database.execute("UPDATE objects SET key=? WHERE key='x'", (other,))
        database.close()
        text = names[one].hex()
        path = tmp_path / "edge" / "content" / text[:2] / text
        if trouble == "torn":
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        elif trouble == "gone":
            path.unlink()
        reply = await lab.ask("/a")
        assert reply.body == file.content
        fetched = [f"bytes={n * SLICE}-{(n + 1) * SLICE - 1} 206" for n in ((2, 3) if trouble == "exchanged" else (2,))]
        assert file.served[1:] == fetched


async def test_the_disk_loses_slices_one_by_one_and_the_head_last(tmp_path: Path) -> None:
    """The file does not fit, so there are always some of it there, and others of it not."""
    size, length = 1 * MIB, 24 * MIB + 5
    given = Policy(max_object=2 * MIB, slice=size, slice_from=2 * MIB)
    sizes = options(policy=given, size=64 * MIB, max_object=2 * MIB, disk_size=16 * MIB)
    async with disk_lab(tmp_path, **sizes) as lab:
        file = File(lab.clock, os.urandom(length), chunk=300_000)
        lab.origin(file)
        assert (await lab.ask("/a")).body == file.content
        await lab.written()
        found = rows(tmp_path)
        assert found[0] == KEY
        assert 8 < len(found) < 1 + 24
        await lab.kill()
        last = int(max(rows(tmp_path), key=lambda key: int(key.partition(b"=")[2] or 0)).partition(b"=")[2])
    async with disk_lab(tmp_path, origin=lab, **sizes) as again:
        reply = await again.ask("/a", f"Range: bytes={last}-{last + 9}")
        assert (reply.body, reply.is_hit) == (file.content[last : last + 10], True)
        assert (await again.ask("/a")).body == file.content
        assert len(file.served) > 1


async def test_each_variant_has_slices_of_its_own(tmp_path: Path) -> None:
    """With one tag, as a careless origin sends it."""
    async with disk_lab(tmp_path, **options()) as lab:
        files = {}
        for version, language in enumerate(("de", "en")):
            files[language] = file_of(lab, version)
            files[language].head += "\nVary: Accept-Language"
            await lab.ask("/a", f"Accept-Language: {language}")
        await lab.written()
        lab.empty_memory()
        for language, file in files.items():
            reply = await lab.ask("/a", f"Accept-Language: {language}")
            assert (reply.is_hit, reply.body) == (True, file.content)
        assert await lab.disk.purge(KEY) == (2, "")
        assert rows(tmp_path) == []
        assert lab.disk.tier.known == set()


async def test_a_look_that_fails_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
        lab.empty_memory()

        def fails(*_: object) -> bytes:
            raise OSError(5, "Input/output error")

        await lab.ask("/a", "Range: bytes=0-9")
        with monkeypatch.context() as broken:
            broken.setattr("cdn_edge.disk_files.Files.read", fails)
            assert (await lab.ask("/a", "Range: bytes=9000-9009")).body == file.content[9_000:9_010]
        assert len(file.served) == 2
        await lab.written()
        lab.empty_memory()
        assert (await lab.ask("/a")).body == file.content
        assert len(file.served) == 2, "all of it is on disk still"


async def test_slices_of_another_size_are_fetched_anew(tmp_path: Path) -> None:
    async with disk_lab(tmp_path, **options()) as lab:
        file = await kept(lab)
    other = Policy(max_object=20_000, slice=2 * SLICE, slice_from=2 * SLICE)
    async with disk_lab(tmp_path, origin=lab, **options(policy=other)) as again:
        for kind in ("partial", "hit"):
            reply = await again.ask("/a")
            assert (reply.body, reply.word("lookup")) == (file.content, kind)
            await again.written()
            again.empty_memory()
        assert len(rows(tmp_path)) == 1 + SLICES // 2 + 1


async def test_what_comes_waits_for_a_disk_that_is_behind(tmp_path: Path) -> None:
    """The memory holds a tenth of the file, and yet all of it is on disk after the first time."""
    given = Policy(max_object=MIB // 2, slice=MIB // 8, slice_from=MIB // 4)
    async with disk_lab(tmp_path, **options(policy=given, size=2 * MIB, max_object=MIB // 4)) as lab:
        file = File(lab.clock, os.urandom(20 * MIB), chunk=100_000)
        lab.origin(file)
        assert (await lab.ask("/a")).body == file.content
        await lab.written()
        assert len(rows(tmp_path)) == 1 + 20 * 8
        assert lab.store.size <= 2 * MIB


async def test_an_index_from_before_there_were_slices_goes_on(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"x"))
        await lab.ask("/a")
        await lab.written()
    with sqlite3.connect(tmp_path / "edge" / "index.sqlite") as database:
        database.execute("DROP INDEX objects_belongs")
        for column in ("stamp", "belongs"):
            database.execute(f"ALTER TABLE objects DROP COLUMN {column}")
        database.execute("PRAGMA user_version=1")
    database.close()
    async with disk_lab(tmp_path, origin=lab, **options()) as again:
        assert (await again.ask("/a")).is_hit
        await kept_at(again, "/b")
        again.empty_memory()
        assert (await again.ask("/b")).is_hit


async def kept_at(lab: DiskLab, target: str) -> None:
    file_of(lab)
    await lab.ask(target)
    await lab.written()
