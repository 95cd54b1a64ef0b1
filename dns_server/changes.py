"""Changes of zones while they run: made one after the other, on disk and in force everywhere before they are answered.

A change is kept by RRset and laid over the text: the text first, then what was set while it ran, until that is reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

from dns_server.book import Book, ChangeRefused, Place, comparing
from dns_server.journal import Entry, Journal, JournalFault, Step, file_name, fingerprint
from dns_server.rules import serial, types
from dns_server.rules.names import to_text
from dns_server.rules.rrset import RRset
from dns_server.rules.update import Draft
from dns_server.rules.zone import Zone, Zones
from stack.clock import Clock

log = logging.getLogger("hopstack.dns")

MAX_CHANGED: Final = 100_000
"""RRsets of one zone that differ from its text."""
PATIENCE: Final = 3.0
"""Seconds that another process may hold a journal; a client of UPDATE waits hardly longer for its answer."""
LOOK: Final = 1.0
"""Seconds between two looks for what another process has written."""
_RETRY: Final = 0.02


class NotPrimary(LookupError):
    """No zone of that name is served here from a text: there is none, or it is a secondary's."""


class Changes:
    """The door through which records are changed."""

    def __init__(self, book: Book, directory: Path, *, clock: Clock, raises: bool = False) -> None:
        """`directory`: of the journals; made with the first. `raises`: a text that changed without a newer serial is
        served with the next one, which is kept in the journal."""
        self.book = book
        self.texts: Mapping[bytes, Zone] = {}
        """The zones as their texts say them."""
        self.aside: dict[bytes, dict[Place, str]] = {}
        """By zone: changes that the text now contradicts, and why. They are kept and not in force."""
        self._directory = directory
        self._raises = raises
        self._clock = clock
        self._journals: dict[bytes, Journal] = {}
        self._lock = asyncio.Lock()

    # The text.

    async def load(self, zones: Zones) -> None:
        """Serve these texts with what was changed over them, all at once. Raises JournalFault."""
        async with self._lock:
            after = {}
            for key, text in zones.by_key.items():
                journal = self._journals.get(key) or Journal(self._directory / file_name(key))
                present = self.book.zones.by_key.get(key)
                if text is self.texts.get(key) and present is not None and not journal.is_stale:
                    after[key] = present
                    continue
                after[key] = await asyncio.to_thread(self._laid, text, journal)
                if journal.entries:
                    log.info(
                        "%s: RRsets that were changed while running and lie over the text: %d; "
                        "`hopstack dns show --changed` has them", to_text(key), len(journal.entries),
                    )  # fmt: skip
                self._journals[key] = journal
            touched = {}
            for key, zone in after.items():
                before = self.book.zones.by_key.get(key)
                if before is not None and before is not zone:
                    for found in comparing(before, zone):
                        touched[key] = found
                        await self._clock.sleep(0)  # a million names take their time, and questions are answered
            self.texts = zones.by_key
            self.aside = {key: found for key, found in self.aside.items() if key in zones.by_key}
            self.book.replace(Zones(after.values()), touched)

    def _laid(self, text: Zone, journal: Journal) -> Zone:
        """In a thread. The text alone when there is nothing to lay over it."""
        self.aside.pop(text.key, None)
        journal.read()
        if journal.damaged:
            log.error("%s: damaged changes that are left out: %d", journal.path, journal.damaged)
        if journal.serial is None and not self._raises:
            return text
        zone, aside = _lay(text, journal.entries.values())
        if aside:
            self.aside[text.key] = aside
            for (name, type), why in aside.items():
                log.warning("%s %s was set while running and is not in force: %s", to_text(name), _name(type), why)
        whole = _whole(text)
        if journal.serial is None or serial.newer(text.serial, journal.serial):
            number = text.serial
        elif whole == journal.text:
            number = journal.serial
        else:
            # secondaries have to notice that the text has changed below
            number = serial.after(journal.serial)
        if whole != journal.text:
            _warn(text, journal.entries.values())
            _note(journal, Step(number, whole))
        return _with_serial(zone, number)

    async def follow(self) -> None:
        """Take over what another process changes: of two generations of a server each may be asked."""
        told = ""
        while True:
            await self._clock.sleep(LOOK)
            try:
                for key in self._stale():
                    async with self._lock:
                        await self._catch_up(key)
            except JournalFault as fault:
                if str(fault) != told:
                    log.error("%s", fault)
                told = str(fault)

    def _stale(self) -> list[bytes]:
        try:
            there = set(os.listdir(self._directory))
        except OSError:
            return []
        return [key for key, journal in self._journals.items() if journal.path.name in there and journal.is_stale]

    async def _catch_up(self, key: bytes) -> None:
        text, journal = self.texts.get(key), self._journals.get(key)
        if text is None or journal is None or not journal.is_stale:
            return
        self.book.put(await asyncio.to_thread(self._laid, text, journal))

    # A change.

    async def change(self, key: bytes, work: Callable[[Draft], object], *, by: str) -> Zone:
        """Let `work` change the zone's RRsets; what it raises is raised, and then nothing was changed.

        The serial is raised, unless the work does it. Raises NotPrimary, ChangeRefused for what would be no zone any
        more, JournalFault.
        """
        async with self._lock, self._held(key) as journal:
            zone = self.book.zones.by_key[key]
            draft = Draft(zone)
            work(draft)
            if not draft.changes():
                return zone
            soa = draft.get(key, types.SOA)  # without one it is refused below
            if soa is not None and not serial.newer(serial.of(soa.rdatas[0]), zone.serial):
                draft.put(soa.owner, types.SOA, soa.ttl, [serial.with_serial(soa.rdatas[0], serial.after(zone.serial))])
            removed, added = draft.difference()
            after, faults = zone.changed(removed, added)
            if after is None:
                raise ChangeRefused([fault for fault in faults if fault.fatal])
            text = self.texts[key]
            whole = journal.text or await asyncio.to_thread(_whole, text)
            entries = [self._entry(text, place, rrset, by) for place, rrset in draft.changes().items()]
            kept = tuple(entry for entry in entries if not entry.reset or entry.place in journal.entries)
            more = sum(not entry.reset and entry.place not in journal.entries for entry in kept)
            if len(journal.entries) + more > MAX_CHANGED:
                raise JournalFault(f"more than {MAX_CHANGED} RRsets of {to_text(key)} would differ from its text")
            await asyncio.to_thread(journal.append, Step(after.serial, whole, kept))
            for entry in kept:
                self.aside.get(key, {}).pop(entry.place, None)
            self.book.put(after, draft.changes().keys())
        await self.book.settled()
        return after

    async def reset(self, key: bytes, wanted: Callable[[Place], bool]) -> tuple[Zone, list[Place]]:
        """Back to the text, all RRsets that are `wanted`; also what is not in force. The zone, and which they were."""
        found: list[Place] = []

        def work(draft: Draft) -> None:
            text, journal = self.texts[key], self._journals[key]
            for place in filter(wanted, journal.entries):
                found.append(place)
                said, now = text.rrset(*place), draft.get(*place)
                if said is not None:
                    draft.put(said.owner, said.type, said.ttl, said.rdatas)
                elif now is not None:
                    draft.put(now.owner, now.type, 0, ())

        zone = await self.change(key, work, by="")
        left = [place for place in found if place in self._journals[key].entries]
        if left:
            # they were aside: nothing of the zone changes, only what is remembered
            async with self._lock, self._held(key) as journal:
                gone = tuple(Entry(to_text(name), type, reset=True) for name, type in left)
                await asyncio.to_thread(journal.append, Step(journal.serial or zone.serial, journal.text, gone))
                for place in left:
                    self.aside.get(key, {}).pop(place, None)
        return zone, found

    @contextlib.asynccontextmanager
    async def _held(self, key: bytes) -> AsyncIterator[Journal]:
        """The zone's journal, locked, and the zone as it says."""
        journal = self._journals.get(key)
        if journal is None or key not in self.texts or key not in self.book.zones.by_key:
            raise NotPrimary(f"{to_text(key)} is not served from a text here")
        until = self._clock.now() + PATIENCE
        while True:
            with journal.locked() as mine:
                if mine:
                    await self._catch_up(key)
                    yield journal
                    return
            if self._clock.now() > until:
                raise JournalFault(f"another process holds {journal.path}")
            await self._clock.sleep(_RETRY)

    def _entry(self, text: Zone, place: Place, rrset: RRset | None, by: str) -> Entry:
        name, type = place
        said = text.rrset(name, type)
        same = _plain(rrset) == _plain(said)
        if same:
            return Entry(to_text(name), type, reset=True)
        over = fingerprint([said]) if said is not None else ""
        if rrset is None:
            return Entry(to_text(name), type, over=over, by=by, at=self._clock.time())
        data = tuple(rdata.hex() for rdata in rrset.rdatas)
        return Entry(to_text(rrset.owner), type, rrset.ttl, data, over, by, self._clock.time())

    # What may be looked at.

    def entries(self, key: bytes) -> Mapping[Place, Entry]:
        """By name and type, what was changed in a zone, whether in force or not."""
        journal = self._journals.get(key)
        return journal.entries if journal is not None else {}


def _note(journal: Journal, step: Step) -> None:
    """Which text the changes lie over now. Whoever has the journal at this moment notes the same."""
    try:
        with journal.locked() as mine:
            if mine and not journal.is_stale:
                journal.append(step)
    except JournalFault as fault:
        log.warning("%s", fault)  # nothing was changed that could be lost


def _whole(text: Zone) -> str:
    """Fingerprint of a zone, in whatever order its names are: a second for a million of them."""
    total = 0
    for key, node in text.packed.items():
        if key != text.key:
            total += int.from_bytes(blake2b(key + node, digest_size=16).digest(), "big")
    apex = text.node(text.key)
    assert apex is not None
    return fingerprint([*apex.rrsets.values()]) + f"{total & (1 << 128) - 1:032x}"


def _plain(rrset: RRset | None) -> RRset | None:
    """A SOA differs from another by more than its serial, or not at all."""
    if rrset is None or rrset.type != types.SOA:
        return rrset
    return RRset(rrset.owner, rrset.type, rrset.ttl, [serial.with_serial(rrset.rdatas[0], 0)])


def _lay(text: Zone, entries: Iterable[Entry]) -> tuple[Zone, dict[Place, str]]:
    """The text with all entries over it, and those that it contradicts: a name has an alias or other data."""
    draft = Draft(text)
    places: dict[bytes, list[Place]] = {}
    for entry in entries:
        rrset = entry.rrset()
        draft.put(rrset.owner, rrset.type, rrset.ttl, rrset.rdatas)
        places.setdefault(entry.place[0], []).append(entry.place)
    aside: dict[Place, str] = {}
    for name, at_name in places.items():
        there = draft.types(name)
        if types.CNAME in there and len(there) > 1:
            others = ", ".join(_name(type) for type in there)
            for place in at_name:
                said = text.rrset(*place)
                draft.put(name, place[1], said.ttl if said else 0, said.rdatas if said else ())
                aside[place] = f"with the text the name would have {others}, and an alias stands alone"
    zone, faults = text.changed(*draft.difference())
    if zone is not None:
        return zone, aside
    why = "; ".join(str(fault) for fault in faults if fault.fatal)
    return text, {place: why for at_name in places.values() for place in at_name}


def _warn(text: Zone, entries: Iterable[Entry]) -> None:
    for entry in entries:
        said = text.rrset(*entry.place)
        if (fingerprint([said]) if said is not None else "") != entry.over:
            log.warning(
                "%s %s: the text has changed, and what was set while running stays in force over it; "
                "`hopstack dns reset %s %s` gives the text's", entry.name, _name(entry.type), entry.name,
                _name(entry.type),
            )  # fmt: skip


def _with_serial(zone: Zone, number: int) -> Zone:
    if zone.serial == number:
        return zone
    soa = zone.soa
    raised = RRset(soa.owner, types.SOA, soa.ttl, [serial.with_serial(soa.rdatas[0], number)])
    after, _ = zone.changed([soa], [raised])
    assert after is not None
    return after


def _name(type: int) -> str:
    return types.type_name(type)
