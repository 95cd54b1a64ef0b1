"""Dynamic update (RFC 2136) as pure steps: the message read, prerequisites held against a zone, and what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dns_server.rules import serial, types
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


def read(message: bytes) -> Update:
    """The update in `message`, without TSIG. Raises UpdateFault with FORMERR, or NOTAUTH for another class than IN
    (§2.3, §3.1)."""
    counts = [int.from_bytes(message[at : at + 2], "big") for at in (4, 6, 8, 10)]
    try:
        if counts[0] != 1:
            raise UpdateFault(types.FORMERR, "the zone section holds one zone")
        zone, at = read_name(message, 12)
        if len(message) < at + 4:
            raise RdataFault("the message ends in the zone section")
        type, cls = message[at] << 8 | message[at + 1], message[at + 2] << 8 | message[at + 3]
        question = message[12 : at + 4]
        at += 4
        sections: list[tuple[Row, ...]] = []
        for count in counts[1:]:
            rows = []
            for _ in range(count):
                row, at = _row(message, at)
                rows.append(row)
            sections.append(tuple(rows))
    except (RdataFault, IndexError) as fault:
        raise UpdateFault(types.FORMERR, str(fault)) from None
    if at != len(message):
        raise UpdateFault(types.FORMERR, "octets behind the last record")
    if type != types.SOA:
        raise UpdateFault(types.FORMERR, "the type in the zone section is SOA")
    if cls != types.IN:
        raise UpdateFault(types.NOTAUTH, "only class IN is served")
    opt = next((row for row in sections[2] if row.type == types.OPT), None)
    head = int.from_bytes(message[:2], "big"), int.from_bytes(message[2:4], "big")
    return Update(*head, question, zone.lower(), sections[0], sections[1], max(opt.cls, 512) if opt else 0)


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

    def get(self, key: bytes, type: int) -> RRset | None:
        place = key, type
        return self._sets[place] if place in self._sets else self.zone.rrset(key, type)

    def types(self, key: bytes) -> list[int]:
        """Of the RRsets at that name."""
        node = self.zone.node(key)
        known = dict.fromkeys(node.rrsets if node is not None else ())
        known |= dict.fromkeys(type for owner, type in self._sets if owner == key)
        return [type for type in known if self.get(key, type) is not None]

    def put(self, owner: bytes, type: int, ttl: int, rdatas: Iterable[bytes]) -> None:
        """The whole RRset; without data it goes."""
        kept = tuple(rdatas)
        self._sets[owner.lower(), type] = RRset(owner, type, ttl, kept) if kept else None

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
    for row in update.updates:
        if row.cls == types.IN:
            _add(draft, row)
        elif row.cls == CLASS_NONE:
            _delete_record(draft, row)
        else:
            for type in draft.types(row.key) if row.type == types.ANY else [row.type]:
                if not _is_kept(draft.zone, row.key, type):
                    draft.put(row.name, type, 0, ())


def _add(draft: Draft, row: Row) -> None:
    """§3.4.2.2. The TTL of what is added is that of the whole set (§7.12, RFC 2181 §5.2)."""
    key, type = row.key, row.type
    others = [other for other in draft.types(key) if other != type]
    if (type == types.CNAME and others) or types.CNAME in others:
        return  # beside an alias stands nothing
    ttl = row.ttl if row.ttl <= MAX_TTL else 0  # RFC 2181 §8
    rrset = draft.get(key, type)
    if type == types.SOA and (
        key != draft.zone.key or rrset is None or not serial.newer(serial.of(row.rdata), serial.of(rrset.rdatas[0]))
    ):
        return
    if rrset is None or type in SINGLE:
        owner = rrset.owner if rrset is not None else row.name
        if rrset is None or (rrset.ttl, rrset.rdatas) != (ttl, (row.rdata,)):
            draft.put(owner, type, ttl, (row.rdata,))
        return
    same = fold(type, row.rdata)
    kept = [rdata for rdata in rrset.rdatas if fold(type, rdata) != same]
    if len(kept) < len(rrset.rdatas):
        draft.put(rrset.owner, type, ttl, rrset.rdatas)
    else:
        draft.put(rrset.owner, type, ttl, (*kept, row.rdata))


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
