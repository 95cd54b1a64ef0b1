"""Zones from files: each by itself, only what has changed, and large ones from what was compiled."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dns_server import compiled, texts
from dns_server.book import Book
from dns_server.changes import Changes
from dns_server.rules.names import from_text
from dns_server.rules.zone import Zone
from dns_server.texts import Texts
from dns_server.zonefile import read
from stack.clock import SystemClock
from stack.errors import ConfigError
from tests.support import big_zone

CLOCK = SystemClock()
SOA = "@ 60 SOA ns h {serial} 7200 3600 1209600 300\n@ 60 NS ns\nns 60 A 192.0.2.1\n"
A, B = from_text("a.test"), from_text("b.test")


def write(path: Path, more: str = "", serial: int = 1) -> None:
    path.write_text(SOA.format(serial=serial) + more)


@pytest.fixture
def files(tmp_path: Path) -> dict[bytes, Path]:
    found = {A: tmp_path / "a.zone", B: tmp_path / "b.zone"}
    for file in found.values():
        write(file)
    return found


@pytest.fixture(params=[texts.WORTH, 0], ids=["read", "compiled"])
def both(request: pytest.FixtureRequest, files: dict[bytes, Path], tmp_path: Path) -> Texts:
    return Texts(files, directory=tmp_path / "compiled", clock=CLOCK, worth=request.param)


async def test_each_zone_is_reloaded_by_itself(both: Texts, files: dict[bytes, Path], tmp_path: Path) -> None:
    changes = Changes(book := Book(), tmp_path / "changes", clock=CLOCK)
    await both.start(changes)
    old = dict(book.zones.by_key)
    write(files[A], "new 60 A 192.0.2.2\n", serial=2)
    write(files[B], "bad 60 A x\n", serial=2)
    with pytest.raises(ConfigError, match=r"^\S*b\.zone:4: not understood: bad 60 A x$"):
        await both.reload(changes)
    assert book.zones.by_key[A].serial == 2
    assert book.zones.by_key[B] is old[B]
    assert both.faults == {A: "", B: f"{files[B]}:4: not understood: bad 60 A x"}
    assert both.row(B)["fault"] == both.fault
    new = book.zones.by_key[A]
    write(files[B])
    await both.reload(changes)
    assert book.zones.by_key == {A: new, B: old[B]}  # neither is read again: the content is what it was
    assert both.fault == ""


async def test_at_the_start_every_zone_has_to_be_right(both: Texts, files: dict[bytes, Path], tmp_path: Path) -> None:
    write(files[A], "bad 60 A x\n")
    files[B].unlink()
    book = Book()
    with pytest.raises(
        ConfigError, match=r"a\.zone:4: not understood: bad 60 A x; zone b\.test\.: cannot read .*b\.zone"
    ):
        await both.start(Changes(book, tmp_path / "changes", clock=CLOCK))
    assert not book.zones.by_key


async def test_a_file_that_changes_is_read_when_it_lies_still(
    both: Texts, files: dict[bytes, Path], tmp_path: Path
) -> None:
    more = tmp_path / "more"
    more.write_text("x 60 A 192.0.2.1\n")
    write(files[A], "$INCLUDE more\n")
    await both.read()
    assert await both.changed() == []
    write(files[A], "$INCLUDE more\n", serial=2)
    assert await both.changed() == []  # seen, and perhaps half written
    [zone] = await both.changed()
    assert (zone.key, zone.serial) == (A, 2)
    # a file that it includes, replaced as editors do
    beside = tmp_path / ".more.swp"
    beside.write_text("x 60 A 192.0.2.2\n")
    beside.replace(more)
    assert await both.changed() == []
    [zone] = await both.changed()
    assert zone.rrset(from_text("x.a.test"), 1).rdatas == (bytes((192, 0, 2, 2)),)  # type: ignore[union-attr]
    assert await both.changed() == await both.changed() == []
    # what is faulty is read once, and again when it, or what it includes, has changed
    more.write_text("$INCLUDE none\n")
    assert [await both.changed(), await both.changed()] == [[], []]
    assert "cannot read the included" in both.fault
    (tmp_path / "none").write_text("y 60 A 192.0.2.1\n")
    assert await both.changed() == []
    assert len(await both.changed()) == 1
    assert both.fault == ""
    # another time and the same content
    os.utime(files[A])
    assert [await both.changed(), await both.changed()] == [[], []]


async def test_what_secondaries_would_not_see_is_said(
    files: dict[bytes, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = Texts(files, directory=tmp_path, clock=CLOCK)
    await found.read()
    caplog.set_level(logging.WARNING)
    write(files[A], "new 60 A 192.0.2.2\n")
    write(files[B], "; a remark\n")
    await found.read()
    assert [record.getMessage() for record in caplog.records] == [
        f"{files[A]}: it has changed and its serial has not: secondaries will not see it"
    ]
    caplog.clear()
    write(files[A], serial=2**32 - 1)
    write(files[B], serial=2**31 + 1)
    await found.read()
    assert [record.getMessage() for record in caplog.records] == [
        f"{files[A]}: its serial went back from 1 to 4294967295 (RFC 1982): secondaries will not see it",
        f"{files[B]}: its serial went back from 1 to 2147483649 (RFC 1982): secondaries will not see it",
    ]


async def test_files_are_followed(files: dict[bytes, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LOOK", 0.02)
    found = Texts(files, directory=tmp_path / "compiled", clock=CLOCK)
    changes = Changes(book := Book(), tmp_path / "changes", clock=CLOCK)
    await found.start(changes)
    following = asyncio.create_task(found.follow(changes))
    async with asyncio.timeout(20):
        write(files[A], "x 60 A x\n", serial=2)
        while not found.fault:
            await asyncio.sleep(0.01)
        assert book.zones.by_key[A].serial == 1
        write(files[A], serial=3)
        while book.zones.by_key[A].serial != 3:
            await asyncio.sleep(0.01)
    assert not found.fault
    following.cancel()


# Compiled zones.


@pytest.fixture
def big(tmp_path: Path) -> Path:
    return big_zone.write(tmp_path / "big.zone", 3000)


async def load(file: Path, directory: Path) -> Zone:
    found = Texts({A: file}, directory=directory, clock=CLOCK, worth=0)
    await found.read()
    assert found.fault == ""
    return found.zones[0]


async def test_a_compiled_zone_is_the_same(big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "compiled"
    expected = read(A, big).zone.packed
    assert (await load(big, directory)).packed == expected
    [target] = directory.glob("*.compiled")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(target.stat().st_mode) == 0o600

    async def never(*_: object) -> None:
        raise AssertionError("it is compiled already")

    monkeypatch.setattr(Texts, "_compile", never)
    assert (await load(big, directory)).packed == expected


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def grown(raw: bytes) -> bytes:
    return raw + b"\0"


def flipped(raw: bytes) -> bytes:
    return raw[:-100] + bytes((raw[-100] ^ 1,)) + raw[-99:]


def other_version(raw: bytes) -> bytes:
    return raw.replace(b"zone 1", b"zone 0", 1)


def nothing(raw: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("harm", [cut, grown, flipped, other_version, nothing])
async def test_a_damaged_one_is_made_anew(harm: Callable[[bytes], bytes], big: Path, tmp_path: Path) -> None:
    directory = tmp_path / "compiled"
    expected = (await load(big, directory)).packed
    [target] = directory.glob("*.compiled")
    whole = target.read_bytes()
    target.write_bytes(harm(whole))
    assert compiled.load(target, A) is None
    assert (await load(big, directory)).packed == expected
    assert target.read_bytes() == whole


async def test_one_of_another_text_is_made_anew(big: Path, tmp_path: Path) -> None:
    """Even within one tick of the clock, and with the size it had."""
    directory, seen = tmp_path / "compiled", big.stat()
    await load(big, directory)
    text = big.read_text()
    big.write_text(text.replace("text of 9", "text of 8", 1))
    os.utime(big, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert (big.stat().st_size, big.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    rrset = (await load(big, directory)).rrset(from_text("h9.a.test"), 16)
    assert rrset is not None
    assert rrset.rdatas == (b"\x09text of 8",)


async def test_where_nothing_can_be_kept_the_text_is_read(
    big: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "compiled"
    blocked.write_text("a file where the directory should be")
    assert len(await load(big, blocked)) > 2990
    assert "is read without keeping it compiled" in caplog.text


async def test_several_that_start_at_once_compile_it_once(big: Path, tmp_path: Path) -> None:
    directory = tmp_path / "compiled"
    zones = await asyncio.gather(*(load(big, directory) for _ in range(3)))
    assert zones[0].packed == zones[1].packed == zones[2].packed
    assert sorted(path.suffix for path in directory.iterdir()) == [".compiled", ".lock"]


async def test_warnings_are_kept_too(big: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    big.write_text(big.read_text() + "m MX 1 none\n")
    for _ in range(2):
        caplog.clear()
        await load(big, tmp_path / "compiled")
        assert "the mail server none.a.test. has no address here" in caplog.text


async def test_a_reload_of_a_large_zone_takes_no_long_steps(tmp_path: Path) -> None:
    """What the loop's thread does between two looks at the sockets, in seconds of its CPU: others do not disturb that."""
    big = big_zone.write(tmp_path / "big.zone", 60_000)
    found = Texts({A: big}, directory=tmp_path / "compiled", clock=CLOCK)
    changes = Changes(book := Book(), tmp_path / "changes", clock=CLOCK)
    heard: list[int] = []
    await found.start(changes)
    book.watchers.append(lambda change: heard.append(len(change.added)))
    big.write_text(big.read_text().replace("hostmaster 1 ", "hostmaster 2 ", 1))
    gc.collect()
    gc.freeze()  # the collector would go through all that other tests have left
    try:
        reload = asyncio.create_task(found.reload(changes))
        steps, last = [], time.thread_time()
        while not reload.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            steps.append(now - last)
            last = now
        await reload
    finally:
        gc.unfreeze()
    assert heard == [1]
    assert book.zones.by_key[A].serial == 2
    steps.sort()
    # one step takes up or compares some hundred of 60,000 names; all of them at once would be 30 ms and more
    assert steps[len(steps) * 999 // 1000] < 0.005
    assert steps[-1] < 0.025
