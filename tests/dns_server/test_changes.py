"""Changes are on disk before they hold, and are laid over whatever the text says by then."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dns_server import changes as module
from dns_server import journal as journals
from dns_server.book import Book, Change, ChangeRefused
from dns_server.changes import Changes, NotPrimary
from dns_server.journal import Entry, Journal, JournalFault, Step, file_name
from dns_server.rules import types
from dns_server.rules.names import from_text
from dns_server.rules.rrset import RRset
from dns_server.rules.update import Draft, UpdateFault
from dns_server.rules.zone import Zone, Zones
from dns_server.zonefile import load_text
from stack.clock import SystemClock, VirtualClock, eventually

TEXT = """\
$TTL 300
@    IN SOA ns hostmaster {serial} 3600 600 86400 30
@    IN NS  ns
ns   IN A   192.0.2.1
www  IN A   192.0.2.2
"""
SITE, WWW, NEW = (from_text(name) for name in ("shop.test", "www.shop.test", "new.shop.test"))


def zone(serial: int = 5, more: str = "", text: str = TEXT) -> Zone:
    return load_text(SITE, text.format(serial=serial) + more)[0]


def put(name: bytes, *hosts: int, ttl: int = 60, type: int = types.A) -> Callable[[Draft], None]:
    return lambda draft: draft.put(name, type, ttl, [bytes((192, 0, 2, host)) for host in hosts])


def alias(name: bytes) -> Callable[[Draft], None]:
    return lambda draft: draft.put(name, types.CNAME, 60, [WWW])


async def started(directory: Path, *texts: Zone) -> Changes:
    changes = Changes(Book(), directory, clock=SystemClock())
    await changes.load(Zones(texts or [zone()]))
    return changes


def now(changes: Changes, name: bytes = WWW, type: int = types.A) -> list[int] | None:
    rrset = changes.book.zones.by_key[SITE].rrset(name, type)
    return None if rrset is None else [rdata[-1] for rdata in rrset.rdatas]


def serial(changes: Changes) -> int:
    return changes.book.zones.by_key[SITE].serial


async def test_a_change_is_in_force_and_raises_the_serial(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    assert not list(tmp_path.iterdir())
    told: list[Change] = []
    changes.book.watchers.append(told.append)
    await changes.change(SITE, put(WWW, 9), by="me")
    assert (now(changes), serial(changes)) == ([9], 6)
    (change,) = told
    assert {rrset.type for rrset in change.removed} == {types.SOA, types.A}
    assert {rrset.type for rrset in change.added} == {types.SOA, types.A}
    assert (tmp_path / "shop.test.journal").stat().st_mode & 0o777 == 0o600


async def test_what_was_changed_is_there_after_a_restart(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    await changes.change(SITE, put(NEW, 8), by="me")
    await changes.change(SITE, put(from_text("ns2.shop.test"), 7), by="me")
    await changes.change(SITE, put(from_text("ns2.shop.test")), by="me")
    again = await started(tmp_path)
    assert (now(again), now(again, NEW), serial(again)) == ([9], [8], 9)
    entry = again.entries(SITE)[WWW, types.A]
    assert entry.by == "me"
    assert entry.at > 0


async def test_nothing_to_change_is_no_change(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    before = changes.book.zones
    await changes.change(SITE, put(WWW, 2, ttl=300), by="me")
    assert changes.book.zones is before
    assert not (tmp_path / "shop.test.journal").exists()


async def test_what_work_refuses_changes_nothing(tmp_path: Path) -> None:
    changes = await started(tmp_path)

    def work(draft: Draft) -> None:
        put(WWW, 9)(draft)
        raise UpdateFault(types.REFUSED, "no")

    with pytest.raises(UpdateFault):
        await changes.change(SITE, work, by="me")
    with pytest.raises(ChangeRefused, match="CNAME"):
        await changes.change(SITE, alias(WWW), by="me")
    with pytest.raises(NotPrimary):
        await changes.change(from_text("other.test"), put(WWW, 9), by="me")
    assert (now(changes), serial(changes)) == ([2], 5)
    assert (now(again := await started(tmp_path)), serial(again)) == ([2], 5)


async def test_a_serial_of_its_own_is_kept(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    soa = changes.book.zones.by_key[SITE].soa

    def work(draft: Draft) -> None:
        rdata = soa.rdatas[0]
        draft.put(SITE, types.SOA, 300, [rdata[:-20] + (2026010101).to_bytes(4, "big") + rdata[-16:]])

    await changes.change(SITE, work, by="me")
    assert serial(changes) == 2026010101
    await changes.change(SITE, put(WWW, 9), by="me")
    assert serial(changes) == 2026010102
    assert serial(await started(tmp_path)) == 2026010102


async def test_changes_come_one_after_the_other(tmp_path: Path) -> None:
    changes = await started(tmp_path)

    def add(host: int) -> Callable[[Draft], None]:
        def work(draft: Draft) -> None:
            rrset = draft.get(NEW, types.A)
            draft.put(NEW, types.A, 60, [*(rrset.rdatas if rrset else ()), bytes((192, 0, 2, host))])

        return work

    await asyncio.gather(*(changes.change(SITE, add(host), by="me") for host in range(1, 21)))
    assert now(changes, NEW) == list(range(1, 21))
    assert serial(changes) == 25
    assert now(await started(tmp_path), NEW) == list(range(1, 21))


async def test_it_is_answered_when_all_have_it(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    seen: list[list[int] | None] = []

    async def follower() -> None:
        await asyncio.sleep(0.01)
        seen.append(now(changes))

    changes.book.followers.append(follower)
    await changes.change(SITE, put(WWW, 9), by="me")
    assert seen == [[9]]


# The text changes under it.


async def test_the_text_first_then_what_was_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    await changes.load(Zones([zone(5, "more IN A 192.0.2.77\n")]))
    assert (now(changes), now(changes, from_text("more.shop.test"))) == ([9], [77])
    assert serial(changes) == 7, "secondaries have to notice"
    assert "text has changed" not in caplog.text
    changed = Zones([zone(5, "more IN A 192.0.2.77\n", TEXT.replace("192.0.2.2", "192.0.2.3"))])
    await changes.load(changed)
    assert (now(changes), serial(changes)) == ([9], 8)
    assert "www.shop.test. A: the text has changed, and what was set while running stays" in caplog.text
    await changes.load(changed)
    assert serial(changes) == 8
    again = Changes(Book(), tmp_path, clock=SystemClock())
    await again.load(changed)
    assert (now(again), serial(again)) == ([9], 8)


async def test_a_newer_serial_of_the_text_is_taken(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    await changes.load(Zones([zone(100)]))
    assert (now(changes), serial(changes)) == ([9], 100)
    await changes.change(SITE, put(NEW, 9), by="me")
    assert serial(await started(tmp_path, zone(100))) == 101


async def test_reset_is_the_text_again(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW), by="me")
    await changes.change(SITE, put(NEW, 9), by="me")
    assert now(changes) is None
    _, places = await changes.reset(SITE, lambda place: place[0] == WWW)
    assert places == [(WWW, types.A)]
    assert (now(changes), now(changes, NEW), serial(changes)) == ([2], [9], 8)
    await changes.reset(SITE, lambda place: True)
    assert (now(changes, NEW), serial(changes)) == (None, 9)
    again = await started(tmp_path)
    assert (now(again), now(again, NEW), serial(again), dict(again.entries(SITE))) == ([2], None, 9, {})


async def test_to_set_what_the_text_says_is_a_reset(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    await changes.change(SITE, put(WWW, 2, ttl=300), by="me")
    assert not changes.entries(SITE)


async def test_what_the_text_contradicts_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(NEW, 9), by="me")
    await changes.change(SITE, put(WWW, 8), by="me")
    await changes.load(Zones([zone(5, "new IN CNAME www\n")]))
    assert now(changes, NEW) is None
    assert changes.book.zones.by_key[SITE].rrset(NEW, types.CNAME) is not None
    assert now(changes) == [8]
    assert list(changes.aside[SITE]) == [(NEW, types.A)]
    assert "new.shop.test. A was set while running and is not in force" in caplog.text
    await changes.load(Zones([zone(5)]))
    assert now(changes, NEW) == [9], "nothing that was set is lost"
    await changes.load(Zones([zone(5, "new IN CNAME www\n")]))
    _, places = await changes.reset(SITE, lambda place: place[0] == NEW)
    assert places == [(NEW, types.A)]
    assert not changes.aside[SITE]
    await changes.load(Zones([zone(5)]))
    assert now(changes, NEW) is None


async def test_a_zone_that_went_and_came_keeps_its_changes(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    other = load_text(from_text("other.test"), TEXT.format(serial=1))[0]
    await changes.load(Zones([other]))
    with pytest.raises(NotPrimary):
        await changes.change(SITE, put(WWW, 8), by="me")
    await changes.load(Zones([zone()]))
    assert now(changes) == [9]


# Disk.


@pytest.mark.parametrize("lost", [1, 5, 30])
async def test_a_torn_last_entry_is_left_out_and_written_over(tmp_path: Path, lost: int) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    await changes.change(SITE, put(WWW, 8), by="me")
    file = tmp_path / "shop.test.journal"
    file.write_bytes(file.read_bytes()[:-lost])
    again = await started(tmp_path)
    assert (now(again), serial(again)) == ([9], 6)
    await again.change(SITE, put(NEW, 7), by="me")
    third = await started(tmp_path)
    assert (now(third), now(third, NEW), serial(third)) == ([9], [7], 7)


async def test_a_last_entry_of_zeros_is_left_out(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    with (tmp_path / "shop.test.journal").open("ab") as file:
        file.write(bytes(50) + b"\n")
    again = await started(tmp_path)
    assert (now(again), serial(again)) == ([9], 6)


async def test_a_damaged_entry_in_the_middle_is_told_and_the_others_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = await started(tmp_path)
    for name, host in ((WWW, 9), (NEW, 8), (from_text("x.shop.test"), 7)):
        await changes.change(SITE, put(name, host), by="me")
    file = tmp_path / "shop.test.journal"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1].replace(b"new", b"neu") + lines[2])
    again = await started(tmp_path)
    assert (now(again), now(again, NEW), now(again, from_text("x.shop.test"))) == ([9], None, [7])
    assert "damaged changes that are left out: 1" in caplog.text


async def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    before = (tmp_path / "shop.test.journal").read_bytes()

    def full(descriptor: int, octets: memoryview, at: int) -> int:
        if len(octets) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, octets[:10], at)

    real = os.pwrite
    monkeypatch.setattr(journals.os, "pwrite", full)
    with pytest.raises(JournalFault, match=r"cannot write .*shop\.test\.journal: No space left"):
        await changes.change(SITE, put(WWW, 8), by="me")
    assert (now(changes), serial(changes)) == ([9], 6)
    assert (tmp_path / "shop.test.journal").read_bytes() == before


async def test_the_journal_is_bounded_by_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "COMPACT", 2000)
    changes = await started(tmp_path)
    for number in range(60):
        await changes.change(SITE, put(WWW, number), by="me")
    assert (tmp_path / "shop.test.journal").stat().st_size < 3000
    again = await started(tmp_path)
    assert (now(again), serial(again)) == ([59], 65)


async def test_what_another_process_writes_is_followed(tmp_path: Path) -> None:
    one, two = await started(tmp_path), await started(tmp_path)
    await one.change(SITE, put(WWW, 9), by="me")
    await two.change(SITE, put(NEW, 8), by="me")  # caught up first: nothing of the other is lost
    assert (now(two), now(two, NEW), serial(two)) == ([9], [8], 7)
    task = asyncio.get_running_loop().create_task(one.follow())
    try:
        await eventually(lambda: now(one, NEW) == [8], within=5)
    finally:
        task.cancel()
    assert serial(one) == 7


async def test_a_journal_that_another_process_holds_is_not_waited_for_forever(tmp_path: Path) -> None:
    clock = VirtualClock()
    changes = Changes(Book(), tmp_path, clock=clock)
    await changes.load(Zones([zone()]))
    with Journal(tmp_path / file_name(SITE)).locked() as mine:
        assert mine
        task = asyncio.get_running_loop().create_task(changes.change(SITE, put(WWW, 9), by="me"))
        for _ in range(300):
            await clock.advance(0.02)
            if task.done():
                break
        with pytest.raises(JournalFault, match="another process holds"):
            await task
    await changes.change(SITE, put(WWW, 9), by="me")


def test_names_of_files() -> None:
    assert file_name(from_text("shop.test")) == "shop.test.journal"
    assert file_name(b"\0") == "@.journal"
    assert file_name(from_text(r"a\.b/c.test")) == "a%5C.b%2Fc.test.journal"
    assert len(file_name(from_text(".".join(["x" * 60] * 4)))) < 100


def test_a_step_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "z.journal")
    entry = Entry("www.shop.test.", 1, 60, ("c0000201",), "aa", "me", 1.5)
    journal.append(Step(7, "bb", (entry,)))
    again = Journal(journal.path)
    again.read()
    assert (again.serial, again.text, list(again.entries.values())) == (7, "bb", [entry])
    assert entry.rrset() == RRset(WWW, 1, 60, [bytes((192, 0, 2, 1))])


async def test_it_is_on_the_disk_when_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = await started(tmp_path)
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    await changes.change(SITE, put(WWW, 9), by="me")
    assert synced == ["shop.test.journal", tmp_path.name]  # the file's entry in its directory, too
    await changes.change(SITE, put(WWW, 8), by="me")
    assert synced[2:] == ["shop.test.journal"]


async def test_nothing_is_left_of_a_damaged_end(tmp_path: Path) -> None:
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    with (tmp_path / "shop.test.journal").open("ab") as file:
        file.write(b"x" * 5000 + b"\n")
    again = await started(tmp_path)
    await again.change(SITE, put(NEW, 8), by="me")
    journal = Journal(tmp_path / "shop.test.journal")
    journal.read()
    assert (len(journal.entries), journal.damaged) == (2, 0)


async def test_what_differs_from_the_text_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANGED", 2)
    changes = await started(tmp_path)
    await changes.change(SITE, put(WWW, 9), by="me")
    await changes.change(SITE, put(NEW, 9), by="me")
    with pytest.raises(JournalFault, match="more than 2 RRsets of shop"):
        await changes.change(SITE, put(from_text("more.shop.test"), 9), by="me")
    await changes.change(SITE, put(NEW, 8), by="me")  # one of them
    assert (now(changes), now(changes, NEW)) == ([9], [8])


async def test_a_file_that_cannot_be_written_anew_takes_changes_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(journals, "COMPACT", 1)
    changes = await started(tmp_path)
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    for host in range(9):
        await changes.change(SITE, put(WWW, host), by="me")
    monkeypatch.undo()
    assert now(changes) == now(await started(tmp_path)) == [8]
