"""The zones of a server as they are now, and the one door through which they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dns_server.rules.names import ancestors
from dns_server.rules.packed import type_numbers
from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Fault, Zone, Zones

log = logging.getLogger("hopstack.dns")

_STEP: Final = 500
MOST_LISTED: Final = 50_000
"""Names that differ; of more than these nobody is told each."""

Place = tuple[bytes, int]
"""Where an RRset stands: owner in lower case, and type."""


@dataclass(frozen=True, slots=True)
class Change:
    """One zone's step from one version to the next. `before` is None for a zone that is new, `after` for one that
    is served no more; `removed` and `added` are whole or partial RRsets, the SOA among them. For a zone that is new or
    gone they are empty."""

    before: Zone | None
    after: Zone | None
    removed: Sequence[RRset]
    added: Sequence[RRset]
    whole: bool = False
    """More differs than is worth a list: both are empty."""


class ChangeRefused(ValueError):
    """The zone would not be one any more; `faults` say why. Nothing was changed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


class Book:
    """Holds one snapshot. Whoever answers takes `zones` once and works on that; a change puts another in its place
    between two questions."""

    def __init__(self, zones: Zones | None = None) -> None:
        self.zones = zones if zones is not None else Zones()
        self.watchers: list[Callable[[Change], object]] = []
        """Called with each change after it is in force, in the order of the changes: to notify secondaries, to keep
        history. One that raises is logged, and the others still hear of it."""
        self.followers: list[Callable[[], Awaitable[object]]] = []
        """Each is waited for before a change is answered: until whoever answers beside us has it too."""
        self.absent: Mapping[bytes, str] = {}
        """Zones that are ours and cannot be answered from, and why: they are SERVFAIL, with all below them."""
        self.fetched: frozenset[bytes] = frozenset()
        """Zones that come from primaries: `replace` leaves them as they are."""

    def replace(self, zones: Zones, touched: Mapping[bytes, Collection[Place] | None] | None = None) -> None:
        """All zones at once, as after a reload. `touched`: by zone, what `comparing` said of those that were compared
        beforehand."""
        before = self.zones
        if kept := [zone for key, zone in before.by_key.items() if key in self.fetched]:
            zones = Zones([*zones.by_key.values(), *kept])
        self.zones = zones
        for key in {**before.by_key, **zones.by_key}:
            old, new = before.by_key.get(key), zones.by_key.get(key)
            if old is not new:
                places = touched or {}
                self._tell(old, new, places.get(key), compared=key in places)

    def change(self, key: bytes, removed: Iterable[RRset], added: Iterable[RRset]) -> Zone:
        """One zone, by records. `removed` first: records that are not there are passed over; `added` join their sets.
        Raises ChangeRefused; KeyError for a zone that is not here. The serial is the caller's."""
        before = self.zones.by_key[key]
        after, faults = before.changed(removed, added)
        if after is None:
            raise ChangeRefused([fault for fault in faults if fault.fatal])
        self.put(after)
        return after

    def put(self, zone: Zone, touched: Collection[Place] | None = None, *, compared: bool = False) -> None:
        """A zone as a whole, new or in place of its last version. `touched`: where alone the two may differ; or, with
        `compared`, what `comparing` said of them."""
        before = self.zones.by_key.get(zone.key)
        if zone.key in self.absent:
            self.absent = {key: why for key, why in self.absent.items() if key != zone.key}
        self.zones = Zones({**self.zones.by_key, zone.key: zone}.values())
        self._tell(before, zone, touched, compared=compared)

    def withdraw(self, key: bytes, why: str) -> None:
        """Answer from that zone no more, until it is `put` again."""
        before = self.zones.by_key.get(key)
        self.absent = {**self.absent, key: why}
        # finished responses hold for one snapshot: so this is another one, even if the zone was not there
        self.zones = Zones(zone for zone in self.zones.by_key.values() if zone.key != key)
        if before is not None:
            self._tell(before, None)

    def why_absent(self, name: bytes) -> str | None:
        """Why nothing can be said of that name (a key): the nearest zone at or above it is absent."""
        for above in ancestors(name):
            if above in self.zones.by_key:
                return None
            if above in self.absent:
                return self.absent[above]
        return None

    async def settled(self) -> None:
        """Returns when what was changed is in force everywhere."""
        if self.followers:
            await asyncio.gather(*(follower() for follower in self.followers))

    def _tell(
        self,
        before: Zone | None,
        after: Zone | None,
        touched: Collection[Place] | None = None,
        *,
        compared: bool = False,
    ) -> None:
        if not self.watchers:
            return
        if before is None or after is None:
            change = Change(before, after, (), ())
        elif (touched := differing(before, after) if touched is None and not compared else touched) is None:
            change = Change(before, after, (), (), whole=True)
        else:
            change = Change(before, after, *difference(before, after, touched))
        for watcher in self.watchers:
            try:
                watcher(change)
            except Exception:  # the zone is in force: whoever fails to hear of it must not undo that, or hide it
                log.exception("a change was not heard of")


def differing(before: Zone, after: Zone) -> set[Place] | None:
    """Where two versions may differ; None if that is nearly everywhere. Takes half a second for a million names."""
    *_, touched = comparing(before, after)
    return touched


def comparing(before: Zone, after: Zone) -> Iterator[set[Place] | None]:
    """Like `differing`, in steps of less than a millisecond; the last says it."""
    old, new = before.packed, after.packed
    keys: list[bytes] = []
    items = iter(new.items())
    while some := list(islice(items, _STEP)):
        keys += [key for key, node in some if old.get(key) != node]
        yield None
    names = iter(old)
    while rest := list(islice(names, _STEP)):
        keys += [key for key in rest if key not in new]
        yield None
    if len(keys) <= MOST_LISTED:
        yield {(key, type) for key in keys for zone in (old, new) if key in zone for type in type_numbers(zone[key])}


def difference(
    before: Zone | None, after: Zone | None, touched: Collection[Place] | None = None
) -> tuple[list[RRset], list[RRset]]:
    """What has to be removed from one version, and added, to make it the other. `touched`: where alone they may
    differ; without it all of both is compared."""
    old, new = (_sets(zone, touched) for zone in (before, after))
    removed: list[RRset] = []
    added: list[RRset] = []
    for place in {**old, **new}:
        was, becomes = old.get(place), new.get(place)
        if was == becomes:
            continue
        kept: set[bytes] = set()
        if was is not None and becomes is not None and was.ttl == becomes.ttl:
            kept = set(was.rdatas) & set(becomes.rdatas)
        for rrset, into in ((was, removed), (becomes, added)):
            if rrset is not None and (rdatas := [rdata for rdata in rrset.rdatas if rdata not in kept]):
                into.append(RRset(rrset.owner, rrset.type, rrset.ttl, rdatas))
    return removed, added


def _sets(zone: Zone | None, touched: Collection[Place] | None) -> dict[Place, RRset]:
    if zone is None:
        return {}
    if touched is None:
        return {(rrset.owner.lower(), rrset.type): rrset for rrset in zone.rrsets()}
    return {place: rrset for place in touched if (rrset := zone.rrset(*place)) is not None}
