"""A zone compiled for answering: every name in one dict, so that a name that exists is found with one look.

Empty non-terminals are nodes too (RFC 8020), so the first ancestor that is found is the closest encloser (RFC 4592
§3.3.1). A zone is frozen once compiled; a change or a reload makes another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dns_server.rules import packed, types
from dns_server.rules.draft import Draft
from dns_server.rules.faults import Fault as Fault
from dns_server.rules.names import ancestors, labels
from dns_server.rules.rdata import RdataFault, check
from dns_server.rules.revision import revise
from dns_server.rules.rrset import RRset


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a master file."""

    owner: bytes
    type: int
    ttl: int
    rdata: bytes
    """Wire form, names written out."""
    place: str = ""
    """`FILE:LINE`."""


class Node:
    """A name of the zone, unpacked when it is looked at."""

    __slots__ = ("_rrsets", "key", "packed", "zone")

    def __init__(self, zone: Zone, key: bytes, packed: bytes) -> None:
        self.zone = zone
        self.key = key
        self.packed = packed
        self._rrsets: dict[int, RRset] | None = None

    @property
    def rrsets(self) -> Mapping[int, RRset]:
        """By type, the SOA first, then ascending; none for an empty non-terminal."""
        if self._rrsets is None:
            self._rrsets = {rrset.type: rrset for rrset in packed.rrsets(self.key, self.packed)}
        return self._rrsets

    def rrset(self, type: int) -> RRset | None:
        if self._rrsets is not None:
            return self._rrsets.get(type)
        return packed.rrset(self.key, self.packed, type)

    @property
    def is_cut(self) -> bool:
        """Whether the zone ends here: NS records below the apex (RFC 1034 §4.2)."""
        return self.packed[0] & packed.CUT != 0

    @property
    def has_dname(self) -> bool:
        return self.packed[0] & packed.DNAME != 0

    @property
    def wildcard(self) -> Node | None:
        """The child named `*`."""
        return self.zone.node(b"\x01*" + self.key) if self.packed[0] & packed.WILDCARD else None

    @property
    def veil(self) -> Node | None:
        """The topmost zone cut at or above this name, or DNAME above it: what answers in its place."""
        size = self.packed[1]
        if not size:
            return None
        return self if size == len(self.key) else self.zone.node(self.key[-size:])

    @property
    def veiled_by(self) -> bytes:
        """The veil's key; empty without one."""
        size = self.packed[1]
        return self.key[-size:] if size else b""


class Zone:
    """All of one zone. `key` is its apex, `packed` its names (see `packed`)."""

    __slots__ = ("key", "negative", "origin", "packed", "soa")

    def __init__(self, origin: bytes, nodes: Mapping[bytes, bytes]) -> None:
        """`nodes` as `Draft.compile` makes them."""
        self.origin = origin
        self.key = origin.lower()
        self.packed = nodes
        soa = packed.rrset(self.key, nodes[self.key], types.SOA)
        assert soa is not None
        self.soa = soa
        # RFC 2308 §3: a negative answer holds for the lesser of the SOA's own TTL and its minimum
        minimum = int.from_bytes(soa.rdatas[0][-4:], "big")
        negative = RRset(soa.owner, types.SOA, min(soa.ttl, minimum), soa.rdatas).hinge()
        self.negative = (negative.owner, negative)

    def __len__(self) -> int:
        """Names, empty non-terminals among them."""
        return len(self.packed)

    @property
    def serial(self) -> int:
        return int.from_bytes(self.soa.rdatas[0][-20:-16], "big")

    def rrsets(self) -> Iterator[RRset]:
        """In no particular order, but the SOA first."""
        yield self.soa
        for key, node in self.packed.items():
            for rrset in packed.rrsets(key, node):
                if rrset.type != types.SOA:
                    yield rrset

    def canonical(self) -> list[bytes]:
        """All keys in the order of RFC 4034 §6.1. Takes its time: nobody answers by it."""
        return sorted(self.packed, key=canonical_order)

    def node(self, key: bytes) -> Node | None:
        """The node of that name; an empty non-terminal is one too."""
        node = self.packed.get(key)
        return None if node is None else Node(self, key, node)

    def rrset(self, key: bytes, type: int) -> RRset | None:
        """What stands there, below a cut too."""
        node = self.packed.get(key)
        return None if node is None else packed.rrset(key, node, type)

    def closest(self, key: bytes) -> Node:
        """The node of that name, or of the first ancestor that exists. The name is at or below the apex."""
        nodes = self.packed
        at = 0
        while (node := nodes.get(name := key[at:])) is None:
            at += key[at] + 1
        return Node(self, name, node)

    def changed(self, removed: Iterable[RRset], added: Iterable[RRset]) -> tuple[Zone | None, list[Fault]]:
        """Another version: without the records of `removed` (those that are not there are passed over), with those of
        `added`. An RRset takes the TTL of what is added to it (RFC 2136 §7.12). None if any fault is fatal; what is
        legal and unwise is not looked for."""
        nodes, faults = revise(self.origin, self.packed, removed, added)
        return (None, faults) if faults else (Zone(self.origin, nodes), [])


class Zones:
    """All zones of a server at one moment. Replaced as a whole, never changed."""

    __slots__ = ("by_key",)

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.by_key: Mapping[bytes, Zone] = MappingProxyType({zone.key: zone for zone in zones})

    def find(self, key: bytes, type: int) -> Zone | None:
        """The zone that answers: the nearest at or above the name.

        RFC 4035 §3.1.4.1: DS belongs to the parent's side of a cut, so the apex's own zone is passed over when its
        parent is here too.
        """
        nearest: Zone | None = None
        by_key = self.by_key
        for name in ancestors(key):
            if (zone := by_key.get(name)) is not None:
                if type != types.DS or name != key:
                    return zone
                nearest = zone
        return nearest


def compile_zone(origin: bytes, records: Iterable[Record]) -> tuple[Zone | None, list[Fault]]:
    """The zone of `records`, with all that is wrong with it. None if any fault is fatal."""
    draft = Draft(origin)
    for record in records:
        place = draft.place(record.place)
        try:
            check(record.type, record.rdata)
        except RdataFault as fault:
            draft.fault(place, str(fault))
            continue
        draft.add(record.owner, record.type, record.ttl, record.rdata, place)
    return finish(draft)


def finish(draft: Draft) -> tuple[Zone | None, list[Fault]]:
    """The zone of a draft, which is used up."""
    nodes, faults = draft.compile()
    return (Zone(draft.origin, nodes) if nodes is not None else None), faults


def canonical_order(key: bytes) -> list[bytes]:
    """What names are sorted by: label by label from the root (RFC 4034 §6.1)."""
    return [*labels(key)][::-1]
