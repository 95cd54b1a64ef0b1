"""The timers of a secondary zone, its copy on disk and its order of primaries, on a virtual clock."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from dns_server.book import Book, differing
from dns_server.config import TransferOptions
from dns_server.copies import Copies
from dns_server.handler import Authority
from dns_server.places import Place
from dns_server.primaries import Fetched
from dns_server.rules import types
from dns_server.rules.incoming import TransferFault
from dns_server.rules.query import parse
from dns_server.rules.rrset import Answer
from dns_server.rules.zone import Zone
from dns_server.secondary import LAST_RETRY, Secondary
from stack.clock import VirtualClock, settle
from stack.net.tasks import Tasks
from tests.support.zones_drawn import ORIGIN, content, make, name

KEY = ORIGIN.lower()
REFRESH, RETRY, EXPIRE = 3600, 600, 86400
ONE, TWO = Place(("192.0.2.1", 53)), Place(("192.0.2.2", 53))


class Peers:
    """Primaries in memory: a zone, or what happens instead."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.times: list[float] = []
        self.at: dict[Place, Zone | Exception] = {}
        self.broken: Exception | None = None
        self.asked: list[tuple[str, Place]] = []

    async def serial(self, place: Place, origin: bytes) -> int:
        self.asked.append(("soa", place))
        self.times.append(self.clock.now())
        found = self.at.get(place, TimeoutError())
        if isinstance(found, Exception):
            raise found
        return found.serial

    async def fetch(self, place: Place, origin: bytes, held: Zone | None) -> Fetched:
        self.asked.append(("zone", place))
        if self.broken is not None:
            raise self.broken
        found = self.at[place]
        assert isinstance(found, Zone)
        return Fetched(found, "axfr" if held is None else "ixfr", differing(held, found) if held is not None else None)


class World:
    def __init__(self, directory: Path) -> None:
        self.clock = VirtualClock()
        self.tasks = Tasks()
        self.book = Book()
        self.peers = Peers(self.clock)
        self.copies = Copies(directory / "copies")
        self.told: list[tuple[str, str]] = []
        self.secondary: Secondary

    async def start(self, *primaries: Place) -> Secondary:
        self.secondary = Secondary(
            ORIGIN, primaries or (ONE,),
            book=self.book, ask=self.peers, copies=self.copies, options=TransferOptions(), clock=self.clock,
            random=Random(1), tasks=self.tasks, transferred=lambda form, result: self.told.append((form, result)),
        )  # fmt: skip
        await self.secondary.load()
        self.tasks.spawn(self.secondary.run(), name="secondary")
        await settle()
        return self.secondary

    async def stop(self) -> None:
        await self.tasks.close()
        await self.secondary.close()

    def answer(self) -> Answer:
        query = parse(b"\0\1\0\0\0\1\0\0\0\0\0\0" + name([b"www"]) + b"\0\1\0\1")
        assert query is not None
        return Authority(self.book).answer(query)

    def serial(self) -> int | None:
        zone = self.book.zones.by_key.get(KEY)
        return zone.serial if zone is not None else None


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.stop()


def www(last: int) -> tuple[bytes, int, tuple[int, bytes]]:
    return name([b"www"]), 60, (types.A, bytes((192, 0, 2, last)))


async def test_a_zone_is_fetched_and_looked_after_at_its_refresh(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    assert world.answer().word == "answered"
    world.peers.at[ONE] = make(2, [www(2)])
    await world.clock.advance(REFRESH * 0.89)
    assert world.serial() == 1
    await world.clock.advance(REFRESH * 0.12)
    assert world.serial() == 2
    assert world.told == [("axfr", "done"), ("ixfr", "done")]


async def test_the_same_serial_is_not_fetched(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    before = world.book.zones
    await world.clock.advance(REFRESH * 10)
    assert world.book.zones is before
    assert world.peers.asked.count(("zone", ONE)) == 1
    assert 10 <= world.peers.asked.count(("soa", ONE)) <= 13


async def test_a_failure_is_retried_at_retry(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    world.peers.at[ONE] = TransferFault("answered REFUSED")
    await world.clock.advance(REFRESH)
    world.peers.asked.clear()
    await world.clock.advance(RETRY * 5)
    assert 5 <= len(world.peers.asked) <= 6
    assert world.secondary.row()["error"] == "192.0.2.1:53: answered REFUSED"
    assert world.answer().word == "answered", "what was fetched holds until it expires"
    world.peers.at[ONE] = make(1, [www(1)])
    await world.clock.advance(RETRY)
    assert world.secondary.row()["error"] == ""


async def test_it_expires_and_comes_back(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    del world.peers.at[ONE]
    await world.clock.advance(EXPIRE - 1)
    assert world.answer().word == "answered"
    await world.clock.advance(2)
    answer = world.answer()
    assert (answer.word, answer.rcode) == ("servfail", types.SERVFAIL)
    assert "it expired: no primary confirmed it since 20" in world.secondary.row()["state"]
    world.peers.at[ONE] = make(1, [www(1)])
    await world.clock.advance(RETRY)
    assert world.answer().word == "answered", "the same serial makes it good again, without a transfer"
    assert world.peers.asked.count(("zone", ONE)) == 1


async def test_who_expires_before_the_next_look_looks_at_once(world: World) -> None:
    """As with an EXPIRE below REFRESH."""
    world.peers.at[ONE] = make(1, [www(1)])
    secondary = await world.start()
    secondary._options = TransferOptions(min_refresh=2.0 * EXPIRE, max_refresh=2.0 * EXPIRE)
    await world.clock.advance(REFRESH)
    world.peers.asked.clear()
    await world.clock.advance(EXPIRE + 1)
    assert world.peers.asked == [("soa", ONE)]
    assert world.answer().word == "answered"


async def test_each_confirmation_begins_the_expiry_anew(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    await world.clock.advance(EXPIRE * 3)
    assert world.answer().word == "answered"


async def test_what_was_never_fetched_is_servfail_and_tried_with_longer_waits(world: World) -> None:
    await world.start()
    assert world.answer().rcode == types.SERVFAIL
    await world.clock.advance(1500)
    tried = world.peers.times
    waits = [later - sooner for sooner, later in itertools.pairwise(tried)]
    for number, wait in enumerate(waits):
        assert 0.9 * min(2**number, LAST_RETRY) <= wait <= min(2**number, LAST_RETRY)
    assert 10 < len(tried) < 16
    world.peers.at[ONE] = make(1, [www(1)])
    await world.clock.advance(LAST_RETRY)
    assert world.answer().word == "answered"


async def test_notify_is_a_look_at_once_at_who_sent_it(world: World) -> None:
    world.peers.at = {ONE: make(1, [www(1)]), TWO: make(1, [www(1)])}
    await world.start(ONE, TWO)
    world.peers.at[TWO] = make(2, [www(2)])
    world.peers.asked.clear()
    assert world.secondary.refresh(first=TWO, serial=2)
    await settle()
    assert world.peers.asked == [("soa", TWO), ("zone", TWO)]
    assert world.serial() == 2
    assert not world.secondary.refresh(first=TWO, serial=2), "the hint is no news"
    await settle()
    assert len(world.peers.asked) == 2


async def test_the_next_primary_is_asked(world: World) -> None:
    world.peers.at[TWO] = make(1, [www(1)])
    await world.start(ONE, TWO)
    assert world.serial() == 1
    assert world.secondary.row()["error"] == "192.0.2.1:53: no answer"


async def test_a_primary_that_is_behind_changes_nothing_and_is_told_of(world: World) -> None:
    world.peers.at = {ONE: make(7, [www(7)]), TWO: make(9, [www(9)])}
    await world.start(ONE, TWO)
    assert world.serial() == 7
    world.peers.at[ONE] = make(5, [www(5)])
    await world.clock.advance(REFRESH)
    assert world.serial() == 9, "the next one has what is newer"
    del world.peers.at[TWO]
    await world.clock.advance(EXPIRE * 2)
    assert world.answer().word == "answered"
    assert "has serial 5, older than 9 here" in world.secondary.row()["error"]


async def test_a_broken_transfer_leaves_the_old_version(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    world.peers.at[ONE] = make(2, [www(2)])
    world.peers.broken = EOFError("the transfer ended before its last SOA")
    world.secondary.refresh()
    await settle()
    assert world.serial() == 1
    assert world.secondary.row()["error"] == "192.0.2.1:53: the transfer ended before its last SOA"
    assert world.told[-1] == ("ixfr", "failed")
    world.peers.broken = None
    await world.clock.advance(RETRY)
    assert world.serial() == 2


async def test_a_primary_that_was_set_back_is_followed_when_told_to(world: World) -> None:
    world.peers.at[ONE] = make(7, [www(7)])
    await world.start()
    world.peers.at[ONE] = make(5, [www(5)])
    world.secondary.refresh()
    await settle()
    assert world.serial() == 7
    world.secondary.refresh(whole=True)
    await settle()
    assert world.serial() == 5
    world.peers.asked.clear()
    await world.clock.advance(REFRESH)
    assert ("zone", ONE) not in world.peers.asked


# The copy on disk.


async def test_a_restart_serves_at_once_and_asks_by_ixfr(world: World, tmp_path: Path) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    await world.stop()
    again = World(tmp_path)
    again.peers.at[ONE] = make(2, [www(2)])
    again.clock = world.clock
    secondary = Secondary(
        ORIGIN, (ONE,),
        book=again.book, ask=again.peers, copies=again.copies, options=TransferOptions(), clock=again.clock,
        random=Random(1), tasks=again.tasks, transferred=lambda form, result: again.told.append((form, result)),
    )  # fmt: skip
    await secondary.load()
    assert again.answer().word == "answered"
    assert content(again.book.zones.by_key[KEY]) == content(make(1, [www(1)]))
    again.tasks.spawn(secondary.run(), name="secondary")
    await settle()
    assert again.told == [("ixfr", "done")]
    await again.tasks.close()


async def test_a_copy_ages_while_the_server_is_down(world: World, tmp_path: Path) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    await world.stop()
    await world.clock.advance(EXPIRE + 1)
    again = World(tmp_path)
    again.clock = world.clock
    await again.start()
    assert again.answer().rcode == types.SERVFAIL
    assert "expired" in again.secondary.row()["state"]
    await again.stop()


async def test_a_copy_of_a_time_to_come_holds_no_longer_than_another(world: World, tmp_path: Path) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    await world.stop()
    ahead = world.clock.time() + 10 * EXPIRE
    os.utime(world.copies.path(KEY), (ahead, ahead))
    again = World(tmp_path)
    again.clock = world.clock
    await again.start()
    assert again.answer().word == "answered"
    await again.clock.advance(EXPIRE + 1)
    assert again.answer().rcode == types.SERVFAIL
    await again.stop()


async def test_a_confirmation_makes_the_copy_younger(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    await world.clock.advance(REFRESH * 2)
    loaded = world.copies.load(ORIGIN)
    assert loaded is not None
    assert world.clock.time() - loaded[1] < REFRESH


async def test_a_copy_that_cannot_be_touched_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()

    def utime(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", utime)
    await world.clock.advance(REFRESH)
    monkeypatch.undo()
    world.peers.at[ONE] = make(2, [www(2)])
    await world.clock.advance(REFRESH)
    assert world.serial() == 2


async def test_the_copy_is_for_its_user_alone(world: World) -> None:
    world.peers.at[ONE] = make(1, [www(1)])
    await world.start()
    path = world.copies.path(KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["shop.test.copy"], "nothing is left beside it"


@pytest.mark.parametrize("harm", ["cut", "flipped", "other-zone", "empty", "garbage"])
async def test_a_harmed_copy_is_not_served(world: World, harm: str) -> None:
    copies = world.copies
    copies.save(make(1, [www(1)]), 1000.0)
    path = copies.path(KEY)
    data = path.read_bytes()
    assert copies.load(ORIGIN) is not None
    if harm == "other-zone":
        os.rename(path, copies.path(b"\x05other\x04test\0"))
        assert copies.load(b"\x05other\x04test\0") is None
    else:
        path.write_bytes(
            {"cut": data[:-40], "flipped": data[:60] + b"\xff" + data[61:], "empty": b""}.get(harm, b"x" * 200)
        )
        assert copies.load(ORIGIN) is None
    await world.start()


@pytest.mark.parametrize(
    ("key", "file"),
    [
        (b"\0", "@.copy"),
        (b"\x09a/../../b\0", "a%2F%5C.%5C.%2F%5C.%5C.%2Fb.copy"),
        (b"".join(b"\x3f" + b"\xff" * 63 for _ in range(3)) + b"\0", None),
    ],
    ids=["root", "path", "long"],
)
def test_names_of_files(tmp_path: Path, key: bytes, file: str | None) -> None:
    path = Copies(tmp_path).path(key)
    assert path.parent == tmp_path
    assert len(path.name) <= 210
    assert file is None or path.name == file
