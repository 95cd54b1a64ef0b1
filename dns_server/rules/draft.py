"""A zone while its records are collected, and how it becomes the names of a compiled one.

Every record is one small run of bytes until then, so that a million of them are read without a million objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from struct import Struct
from typing import Final

from dns_server.rules import advice, packed, types
from dns_server.rules.faults import Fault
from dns_server.rules.names import ancestors, is_at_or_below, parent, to_text
from dns_server.rules.rdata import fold

_ENTRY: Final = Struct(">HIQB")
"""Type, TTL, place, octets of the owner if its letter case is not the key's; then that owner, then rdata."""
_HEAD: Final = _ENTRY.size

Entries = bytes | list[bytes]
Group = list[tuple[int, int, bytes, bytes]]
"""The records of one RRset as they were read: place, TTL, owner, rdata."""

SINGLE: Final = frozenset({types.SOA, types.CNAME, types.DNAME})
"""RFC 2181 §10.1, RFC 6672 §2.4: one record in the set."""
LONGEST_TTL: Final = 0x7FFF_FFFF


class Draft:
    """The records of a zone, by name."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.apex = origin.lower()
        self.files: list[str] = []
        self.names: dict[bytes, Entries] = {}
        self.faults: list[Fault] = []

    def file(self, name: str) -> int:
        """What is added to a line number to make it a place in that file."""
        self.files.append(name)
        return len(self.files) << 40

    def place(self, text: str) -> int:
        """The place of `FILE:LINE`."""
        if not text:
            return 0
        file, _, line = text.rpartition(":")
        if not line.isdigit():
            file, line = text, "0"
        number = self.files.index(file) + 1 if file in self.files else self.file(file) >> 40
        return number << 40 | int(line)

    def place_text(self, place: int) -> str:
        if not place:
            return ""
        line = place & 0xFF_FFFF_FFFF
        file = self.files[(place >> 40) - 1]
        return f"{file}:{line}" if line else file

    def fault(self, place: int, message: str, *, fatal: bool = True) -> None:
        self.faults.append(Fault(self.place_text(place), message, fatal))

    def warn(self, place: int, message: str) -> None:
        self.fault(place, message, fatal=False)

    def add(self, owner: bytes, type: int, ttl: int, rdata: bytes, place: int) -> None:
        """`rdata` fits its type."""
        key = owner.lower()
        if ttl > LONGEST_TTL:  # RFC 2181 §8
            self.warn(place, f"the TTL {ttl} is above {LONGEST_TTL}; 0 is taken")
            ttl = 0
        if owner == key:
            entry = _ENTRY.pack(type, ttl, place, 0) + rdata
        else:
            entry = _ENTRY.pack(type, ttl, place, len(owner)) + owner + rdata
        known = self.names.setdefault(key, entry)
        if known is not entry:
            if isinstance(known, bytes):
                self.names[key] = [known, entry]
            else:
                known.append(entry)

    def groups(self, key: bytes) -> dict[int, Group]:
        """What was read for that name, by type."""
        found: dict[int, Group] = {}
        entries = self.names[key]
        for entry in (entries,) if isinstance(entries, bytes) else entries:
            type, ttl, place, size = _ENTRY.unpack_from(entry)
            owner, rdata = (entry[_HEAD : _HEAD + size], entry[_HEAD + size :]) if size else (key, entry[_HEAD:])
            if type in found:
                found[type].append((place, ttl, owner, rdata))
            else:
                found[type] = [(place, ttl, owner, rdata)]
        return found

    def compile(self) -> tuple[dict[bytes, bytes] | None, list[Fault]]:
        """The names of the zone, packed; None if any fault is fatal. Uses the draft up."""
        self._check_names()
        structure = Structure(self)
        if not any(fault.fatal for fault in self.faults):
            advice.advise(self, structure)
        self.faults.sort(key=lambda fault: fault.line)
        if any(fault.fatal for fault in self.faults):
            return None, self.faults
        names, apex = self.names, self.apex
        for key in names:
            groups = self.groups(key)
            sets = [(type, group[0][2], group[0][1], _distinct(type, group)) for type, group in groups.items()]
            names[key] = packed.pack(
                key,
                sets,
                flags=(packed.CUT if types.NS in groups and key != apex else 0)
                | (packed.WILDCARD if key in structure.above_wildcards else 0),
                veil=len(structure.veil(key)),
                children=structure.children.get(key, 0),
            )
        self.names = {}
        return names, self.faults  # type: ignore[return-value]

    def _check_names(self) -> None:
        """All that is wrong with single names."""
        apex, names = self.apex, self.names
        readable = not any(fault.fatal for fault in self.faults)
        foreign: list[bytes] = []
        for key in names:
            if not is_at_or_below(key, apex):
                foreign.append(key)
                continue
            groups = self.groups(key)
            for type, group in groups.items():
                if len(group) > 1 or type in _CHECKED:
                    self._check_set(key, type, group)
            if types.CNAME in groups and len(groups) > 1 and not groups.keys() <= BESIDE_ALIAS:
                place, _, owner, _ = groups[types.CNAME][0]
                self.fault(place, beside_alias(owner, groups))
        for key in foreign:
            for group in self.groups(key).values():
                for place, _, owner, _ in group:
                    self.fault(place, f"{to_text(owner)} is not in the zone {to_text(self.origin)}")
            del names[key]
        if readable:  # else it may stand in a line that was not understood
            for message in missing(self.origin, self.groups(apex) if apex in names else ()):
                self.fault(1 << 40 if self.files else 0, message)

    def _check_set(self, key: bytes, type: int, group: Group) -> None:
        place, ttl, owner, rdata = group[0]
        seen = {fold(type, rdata)}
        for other, other_ttl, _, other_rdata in group[1:]:
            other_rdata = fold(type, other_rdata)
            if other_rdata in seen:
                # RFC 2181 §5: a record is in a set once, whatever the letter case of its names (RFC 4034 §6.2)
                self.warn(other, f"the same {types.type_name(type)} record of {to_text(owner)} a second time")
                continue
            seen.add(other_rdata)
            if other_ttl != ttl:  # RFC 2181 §5.2
                self.warn(other, f"the TTL {other_ttl} differs from the {ttl} of the same set; the first is taken")
            if type in SINGLE and len(seen) == 2:
                self.fault(other, second(type, owner))
        for message in misplaced(type, at_apex=key == self.apex):
            self.fault(place, message)
        if len(seen) > packed.MOST_RECORDS:
            self.fault(place, too_many(type, owner))


_NO_DATA: Final = frozenset({0, types.OPT, types.NXNAME, *range(249, 256)})
"""RFC 6895 §3.1."""
_CHECKED: Final = frozenset({types.SOA, *_NO_DATA})


def _distinct(type: int, group: Group) -> list[bytes]:
    if len(group) == 1:
        return [group[0][3]]
    found: dict[bytes, bytes] = {}
    for _, _, _, rdata in group:
        found.setdefault(fold(type, rdata), rdata)
    return list(found.values())


def missing(origin: bytes, found: Collection[int]) -> Iterator[str]:
    """`found`: the types at the apex."""
    for type in (types.SOA, types.NS):
        if type not in found:
            yield f"the zone {to_text(origin)} has no {types.type_name(type)} record at its apex"


def misplaced(type: int, *, at_apex: bool) -> Iterator[str]:
    if type == types.SOA and not at_apex:
        yield "a SOA record stands only at the apex"
    if type in _NO_DATA:
        yield f"{types.type_name(type)} is no type of zone data"


def second(type: int, owner: bytes) -> str:
    return f"a second {types.type_name(type)} record for {to_text(owner)}"


def too_many(type: int, owner: bytes) -> str:
    return f"the {types.type_name(type)} set of {to_text(owner)} has more than {packed.MOST_RECORDS} records"


def beside_alias(owner: bytes, found: Collection[int]) -> str:
    """RFC 1034 §3.6.2; what DNSSEC says of the alias itself may stand beside it (RFC 4034 §2, §3, §4)."""
    others = ", ".join(types.type_name(other) for other in sorted(found) if other not in BESIDE_ALIAS)
    return f"{to_text(owner)} has a CNAME and other data ({others})"


BESIDE_ALIAS: Final = frozenset({types.CNAME, types.RRSIG, types.NSEC})


class Structure:
    """How the names of a draft lie above each other; draws the empty non-terminals."""

    def __init__(self, draft: Draft) -> None:
        names, apex = draft.names, draft.apex
        self.apex = apex
        self.children: dict[bytes, int] = {}
        self.above_wildcards: set[bytes] = set()
        self.cuts: set[bytes] = set()
        self.dnames: set[bytes] = set()
        empty: set[bytes] = set()
        children = self.children
        for key in names:
            groups = _types(names[key])
            if types.NS in groups and key != apex:
                self.cuts.add(key)
            if types.DNAME in groups:
                self.dnames.add(key)
            below = key
            while below != apex:
                above = parent(below)
                if below.startswith(b"\x01*"):
                    self.above_wildcards.add(above)
                known = children.get(above)
                children[above] = (known or 0) + 1
                if known is not None or above in names:
                    break
                empty.add(above)
                below = above
        for key in empty:
            names[key] = []
        names.setdefault(apex, [])

    def veil(self, key: bytes) -> bytes:
        """The key of the topmost zone cut at or above this name, or DNAME above it; empty without one."""
        cuts, dnames, apex = self.cuts, self.dnames, self.apex
        if not cuts and not dnames:
            return b""
        found = b""
        for name in ancestors(key):
            if name in cuts or (name in dnames and name != key):
                found = name
            if name == apex:
                break
        return found


def _types(entries: Entries) -> set[int]:
    if isinstance(entries, bytes):
        return {entries[0] << 8 | entries[1]}
    return {entry[0] << 8 | entry[1] for entry in entries}
