"""Dynamic update (RFC 2136) as pure steps: the message read, prerequisites held against a zone, and what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from dns_server.rules import query, serial, types
from dns_server.rules.names import is_at_or_below
from dns_server.rules.rdata import RdataFault, expand, fold, read_name
from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Zone

OPCODE: Final = 5
CLASS_NONE: Final = 254
SINGLE: Final = frozenset({types.CNAME, types.DNAME, types.SOA})
"""Types of which a name has one record: another one takes its place (§3.4.2.2; RFC 6672 §2.4)."""
MAX_TTL: Final = 0x7FFF_FFFF

Check = Callable[[int, bytes], object]
"""Raises ValueError for rdata that is none of its type."""


class UpdateFault(Exception):
    """What the update is answered with, and why."""

    def __init__(self, rcode: int, reason: str) -> None:
        super().__init__(reason)
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the message, as it stands there."""

    name: bytes
    type: int
    cls: int
    ttl: int
    rdata: bytes
    """Names written out."""
    empty: bool
    """Whether RDLENGTH is 0."""

    @property
    def key(self) -> bytes:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Update:
    """An UPDATE message. `question` is its zone section, octet for octet."""

    id: int
    flags: int
    question: bytes
    zone: bytes
    prerequisites: tuple[Row, ...]
    updates: tuple[Row, ...]
    payload: int
    """What the client takes over UDP, and 0 without EDNS."""


def begin(message: bytes) -> Update:
    """The zone section of an update without TSIG, and no record yet: who asks is judged before the work of reading
    them is done. Raises UpdateFault with FORMERR, or NOTAUTH for another class than IN (§2.3, §3.1)."""
    if message[4:6] != b"\0\1":
        raise UpdateFault(types.FORMERR, "the zone section holds one zone")
    asked = query.parse(message)
    if asked is None or not asked.name:
        raise UpdateFault(types.FORMERR, "the message ends in the zone section, or a name is none")
    if asked.type != types.SOA:
        raise UpdateFault(types.FORMERR, "the type in the zone section is SOA")
    if asked.cls != types.IN:
        raise UpdateFault(types.NOTAUTH, "only class IN is served")
    question = message[12 : 16 + len(asked.name)]
    return Update(asked.id, asked.flags, question, asked.key, (), (), asked.payload if asked.edns else 0)


def read(message: bytes) -> Update:
    """All of it. Raises UpdateFault as `begin` does, and with FORMERR."""
    asked = begin(message)
    at = 12 + len(asked.question)
    sections: list[tuple[Row, ...]] = []
    try:
        for count in (int.from_bytes(message[place : place + 2], "big") for place in (6, 8, 10)):
            rows = []
            for _ in range(count):
                row, at = _row(message, at)
                if row.type in (types.OPT, types.TSIG) and len(sections) < 2:
                    # RFC 6891 §6.1.1, RFC 8945 §5.1: a message so formed is not looked at, not even its zone
                    raise RdataFault(f"{types.type_name(row.type)} outside the additional section")
                rows.append(row)
            sections.append(tuple(rows))
    except (RdataFault, IndexError) as fault:
        raise UpdateFault(types.FORMERR, str(fault)) from None
    if at != len(message):
        raise UpdateFault(types.FORMERR, "octets behind the last record")
    return replace(asked, prerequisites=sections[0], updates=sections[1])


def _row(message: bytes, at: int) -> tuple[Row, int]:
    name, at = read_name(message, at)
    if len(message) < at + 10:
        raise RdataFault("the message ends in a record")
    type, cls = message[at] << 8 | message[at + 1], message[at + 2] << 8 | message[at + 3]
    ttl = int.from_bytes(message[at + 4 : at + 8], "big")
    start = at + 10
    end = start + (message[at + 8] << 8 | message[at + 9])
    if end > len(message):
        raise RdataFault("the message ends in a record")
    rdata = expand(type, message, start, end) if end > start else b""
    return Row(name, type, cls, ttl, rdata, end == start), end


# §3.2: prerequisites.


def hold(update: Update, zone: Zone, check: Check) -> None:
    """Raises UpdateFault for the first prerequisite that the zone does not meet."""
    values: dict[tuple[bytes, int], list[bytes]] = {}
    for row in update.prerequisites:
        if row.ttl:
            raise UpdateFault(types.FORMERR, "the TTL of a prerequisite is 0")
        if row.cls not in (types.IN, types.CLASS_ANY, CLASS_NONE):
            raise UpdateFault(types.FORMERR, "a prerequisite of another class")
        if row.cls != types.IN and not row.empty:
            raise UpdateFault(types.FORMERR, "a prerequisite without a value has data")
        if not is_at_or_below(row.key, zone.key):
            raise UpdateFault(types.NOTZONE, "a prerequisite outside the zone")
        if row.cls == types.IN:
            _checked(row, check)
            values.setdefault((row.key, row.type), []).append(row.rdata)
            continue
        if row.type == types.ANY:
            there = _in_use(zone, row.key)
            wrong = types.NXDOMAIN if row.cls == types.CLASS_ANY else types.YXDOMAIN
        else:
            there = zone.rrset(row.key, row.type) is not None
            wrong = types.NXRRSET if row.cls == types.CLASS_ANY else types.YXRRSET
        if there is not (row.cls == types.CLASS_ANY):
            raise UpdateFault(wrong, f"a prerequisite is not met: {types.rcode_name(wrong)}")
    for (key, type), rdatas in values.items():
        rrset = zone.rrset(key, type)
        have = {fold(type, rdata) for rdata in rrset.rdatas} if rrset is not None else set()
        if have != {fold(type, rdata) for rdata in rdatas}:
            raise UpdateFault(types.NXRRSET, "a prerequisite is not met: NXRRSET")


def _in_use(zone: Zone, key: bytes) -> bool:
    """§2.4.4: it owns at least one record; an empty non-terminal does not."""
    node = zone.node(key)
    return node is not None and bool(node.rrsets)


def _checked(row: Row, check: Check) -> None:
    if _is_meta(row.type):
        raise UpdateFault(types.FORMERR, f"{types.type_name(row.type)} is no type of data")
    try:
        check(row.type, row.rdata)
    except ValueError as error:
        raise UpdateFault(types.FORMERR, str(error)) from None


def _is_meta(type: int) -> bool:
    """RFC 6895 §3.1: types that only stand in questions and messages."""
    return type in (0, types.OPT) or 128 <= type <= 255


# §3.4: the update section.


def scan(update: Update, zone: Zone, check: Check) -> None:
    """§3.4.1: everything is looked at before anything is changed. Raises UpdateFault."""
    for row in update.updates:
        if not is_at_or_below(row.key, zone.key):
            raise UpdateFault(types.NOTZONE, "an update outside the zone")
        if row.cls == types.IN:
            _checked(row, check)
        elif row.cls == types.CLASS_ANY:
            if row.ttl or not row.empty or (row.type != types.ANY and _is_meta(row.type)):
                raise UpdateFault(types.FORMERR, "a deletion of RRsets with TTL, data or no type of data")
        elif row.cls == CLASS_NONE:
            if row.ttl:
                raise UpdateFault(types.FORMERR, "a deletion of a record with TTL")
            _checked(row, check)
        else:
            raise UpdateFault(types.FORMERR, "an update of another class")


def touched(update: Update, zone: Zone) -> Iterator[tuple[bytes, int]]:
    """Name and type of all that the update means to change, for whoever says whether it may (§3.3)."""
    for row in update.updates:
        if row.type != types.ANY:
            yield row.key, row.type
        elif (node := zone.node(row.key)) is not None:
            yield from ((row.key, type) for type in node.rrsets if not _is_kept(zone, row.key, type))


class Draft:
    """RRsets of a zone as they become, one step after the other; the zone itself is not touched."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._sets: dict[tuple[bytes, int], RRset | None] = {}
        self._touched: dict[bytes, dict[int, None]] = {}
        """Types that were put, by name."""

    def get(self, key: bytes, type: int) -> RRset | None:
        place = key, type
        return self._sets[place] if place in self._sets else self.zone.rrset(key, type)

    def types(self, key: bytes) -> list[int]:
        """Of the RRsets at that name."""
        node = self.zone.node(key)
        known = dict.fromkeys(node.rrsets if node is not None else ())
        return [type for type in known | self._touched.get(key, {}) if self.get(key, type) is not None]

    def put(self, owner: bytes, type: int, ttl: int, rdatas: Iterable[bytes]) -> None:
        """The whole RRset; without data it goes."""
        kept = tuple(rdatas)
        key = owner.lower()
        self._touched.setdefault(key, {})[type] = None
        self._sets[key, type] = RRset(owner, type, ttl, kept) if kept else None

    def changes(self) -> dict[tuple[bytes, int], RRset | None]:
        """What differs from the zone: the RRset as it becomes, None for one that goes."""
        return {place: rrset for place, rrset in self._sets.items() if rrset != self.zone.rrset(*place)}

    def difference(self) -> tuple[list[RRset], list[RRset]]:
        """(removed, added), as `Zone.changed` takes them."""
        changes = self.changes()
        removed = [was for place in changes if (was := self.zone.rrset(*place)) is not None]
        return removed, [rrset for rrset in changes.values() if rrset is not None]


def apply(update: Update, draft: Draft) -> None:
    """§3.4.2, record by record; what the section says not to be done is passed over."""
    # records of one set that follow each other are added at once: thousands of them do not take their square in time
    for (key, type, cls), rows in groupby(update.updates, lambda row: (row.key, row.type, row.cls)):
        if cls == types.IN:
            if type in SINGLE:
                for row in rows:
                    _set(draft, row)
            else:
                _add(draft, key, type, list(rows))
        elif cls == CLASS_NONE:
            for row in rows:
                _delete_record(draft, row)
        else:
            for other in draft.types(key) if type == types.ANY else [type]:
                if not _is_kept(draft.zone, key, other):
                    draft.put(key, other, 0, ())


def _stands_alone(draft: Draft, key: bytes, type: int) -> bool:
    """Whether such a record is passed over, because beside an alias stands nothing (§3.4.2.2)."""
    others = [other for other in draft.types(key) if other != type]
    return (type == types.CNAME and bool(others)) or types.CNAME in others


def _set(draft: Draft, row: Row) -> None:
    """§3.4.2.2: a record that takes the place of another."""
    key, type = row.key, row.type
    if _stands_alone(draft, key, type):
        return
    rrset = draft.get(key, type)
    if type == types.SOA and (
        key != draft.zone.key or rrset is None or not serial.newer(serial.of(row.rdata), serial.of(rrset.rdatas[0]))
    ):
        return
    ttl = _ttl(row)
    if rrset is None or (rrset.ttl, rrset.rdatas) != (ttl, (row.rdata,)):
        draft.put(rrset.owner if rrset is not None else row.name, type, ttl, (row.rdata,))


def _add(draft: Draft, key: bytes, type: int, rows: Sequence[Row]) -> None:
    """§3.4.2.2: records that join a set. The TTL of the last is that of them all (§7.12, RFC 2181 §5.2)."""
    if _stands_alone(draft, key, type):
        return
    rrset = draft.get(key, type)
    whole = {fold(type, rdata): rdata for rdata in rrset.rdatas} if rrset is not None else {}
    for row in rows:
        whole.setdefault(fold(type, row.rdata), row.rdata)
    draft.put(rrset.owner if rrset is not None else rows[0].name, type, _ttl(rows[-1]), whole.values())


def _ttl(row: Row) -> int:
    return row.ttl if row.ttl <= MAX_TTL else 0  # RFC 2181 §8


def _delete_record(draft: Draft, row: Row) -> None:
    """§3.4.2.4: never the SOA, and not the last NS of the zone."""
    rrset = draft.get(row.key, row.type)
    if rrset is None or row.type == types.SOA:
        return
    gone = fold(row.type, row.rdata)
    kept = [rdata for rdata in rrset.rdatas if fold(row.type, rdata) != gone]
    if len(kept) < len(rrset.rdatas) and (kept or not _is_kept(draft.zone, row.key, row.type)):
        draft.put(rrset.owner, row.type, rrset.ttl, kept)


def _is_kept(zone: Zone, key: bytes, type: int) -> bool:
    """§3.4.2.3: the apex keeps its SOA and NS."""
    return key == zone.key and type in (types.SOA, types.NS)
