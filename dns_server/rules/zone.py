"""A zone compiled for answering: every name in one dict, so that a name that exists is found with one look.

Empty non-terminals are nodes too (RFC 8020), so the first ancestor that is found is the closest encloser (RFC 4592
§3.3.1). A zone is frozen once compiled; a reload makes another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dns_server.rules import types
from dns_server.rules.names import ROOT, ancestors, is_at_or_below, parent, to_text
from dns_server.rules.rdata import RdataFault
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


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a zone, and where. One that is not fatal is legal and unwise."""

    place: str
    message: str
    fatal: bool = True

    @property
    def line(self) -> tuple[str, int]:
        """What faults are told in the order of."""
        file, _, line = self.place.rpartition(":")
        return (file, int(line)) if line.isdigit() else (self.place, 0)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class Node:
    """A name of the zone."""

    __slots__ = ("key", "rrsets", "veil", "wildcard")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.rrsets: dict[int, RRset] = {}
        """By type; none for an empty non-terminal."""
        self.wildcard: Node | None = None
        """The child named `*`."""
        self.veil: Node | None = None
        """The topmost zone cut at or above this name, or DNAME above it: what answers in its place."""


class Zone:
    """All of one zone. `key` is its apex."""

    __slots__ = ("key", "negative", "nodes", "origin", "soa")

    def __init__(self, origin: bytes, nodes: Mapping[bytes, Node]) -> None:
        self.origin = origin
        self.key = origin.lower()
        self.nodes = nodes
        self.soa = nodes[self.key].rrsets[types.SOA]
        # RFC 2308 §3: a negative answer holds for the lesser of the SOA's own TTL and its minimum
        minimum = int.from_bytes(self.soa.rdatas[0][-4:], "big")
        negative = RRset(self.soa.owner, types.SOA, min(self.soa.ttl, minimum), self.soa.rdatas).hinge()
        self.negative = (negative.owner, negative)

    @property
    def serial(self) -> int:
        return int.from_bytes(self.soa.rdatas[0][-20:-16], "big")

    def rrsets(self) -> Iterator[RRset]:
        for node in self.nodes.values():
            yield from node.rrsets.values()

    def node(self, key: bytes) -> Node | None:
        """The node of that name; an empty non-terminal is one too."""
        return self.nodes.get(key)

    def rrset(self, key: bytes, type: int) -> RRset | None:
        """What stands there, below a cut too."""
        node = self.node(key)
        return node.rrsets.get(type) if node is not None else None

    def changed(self, removed: Iterable[RRset], added: Iterable[RRset]) -> tuple[Zone | None, list[Fault]]:
        """Another version: without the records of `removed` (those that are not there are passed over), with those of
        `added`. An RRset takes the TTL of what is added to it (RFC 2136 §7.12). None if any fault is fatal."""
        sets = {
            (rrset.owner.lower(), rrset.type): (rrset.owner, rrset.ttl, dict.fromkeys(rrset.rdatas))
            for rrset in self.rrsets()
        }
        for rrset in removed:
            place = (rrset.owner.lower(), rrset.type)
            if place in sets:
                for rdata in rrset.rdatas:
                    sets[place][2].pop(rdata, None)
        for rrset in added:
            place = (rrset.owner.lower(), rrset.type)
            owner, _, rdatas = sets.get(place, (rrset.owner, 0, {}))
            sets[place] = (owner, rrset.ttl, {**rdatas, **dict.fromkeys(rrset.rdatas)})
        return compile_zone(
            self.origin,
            [Record(owner, type, ttl, rdata) for (_, type), (owner, ttl, rdatas) in sets.items() for rdata in rdatas],
        )

    def is_cut(self, node: Node) -> bool:
        """Whether the zone ends here: NS records below the apex (RFC 1034 §4.2)."""
        return types.NS in node.rrsets and node.key != self.key


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
    faults: list[Fault] = []
    apex = origin.lower()
    groups: dict[tuple[bytes, int], list[Record]] = {}
    for record in records:
        key = record.owner.lower()
        if not is_at_or_below(key, apex):
            faults.append(Fault(record.place, f"{to_text(record.owner)} is not in the zone {to_text(origin)}"))
            continue
        group = groups.setdefault((key, record.type), [])
        if any(record.rdata == other.rdata for other in group):
            continue  # RFC 2181 §5: a record is in a set once
        if group and record.ttl != group[0].ttl:
            faults.append(  # RFC 2181 §5.2
                Fault(
                    record.place,
                    f"the TTL {record.ttl} differs from the {group[0].ttl} of the same set; the first is taken",
                    fatal=False,
                )
            )
        group.append(record)
    nodes: dict[bytes, Node] = {apex: Node(apex)}
    for (key, type), group in groups.items():
        try:
            rrset = RRset(group[0].owner, type, group[0].ttl, (record.rdata for record in group))
        except RdataFault as fault:
            faults.append(Fault(group[0].place, str(fault)))
            continue
        _node(nodes, key).rrsets[type] = rrset
    faults += _check(apex, origin, nodes, groups)
    faults.sort(key=lambda fault: fault.line)
    if any(fault.fatal for fault in faults):
        return None, faults
    zone = Zone(origin, nodes)
    _draw_veils(zone)
    faults += _check_addresses(zone, groups)
    return zone, faults


def _node(nodes: dict[bytes, Node], key: bytes) -> Node:
    """The node of that name, made with all its ancestors up to the apex."""
    if (node := nodes.get(key)) is not None:
        return node
    node = nodes[key] = Node(key)
    above = _node(nodes, parent(key))
    if key.startswith(b"\x01*"):
        above.wildcard = node
    return node


def _draw_veils(zone: Zone) -> None:
    # shortest names first, so that what lies above a node is settled before the node
    for node in sorted(zone.nodes.values(), key=lambda node: len(node.key)):
        if node.key == zone.key:
            continue
        above = zone.nodes[parent(node.key)]
        if above.veil is not None:
            node.veil = above.veil
        elif types.DNAME in above.rrsets:
            node.veil = above
        elif types.NS in node.rrsets:
            node.veil = node


def _check(
    apex: bytes, origin: bytes, nodes: Mapping[bytes, Node], groups: Mapping[tuple[bytes, int], list[Record]]
) -> Iterator[Fault]:
    first = next(iter(groups.values()), None)
    place = first[0].place.rpartition(":")[0] if first else ""
    for type, name in ((types.SOA, "SOA"), (types.NS, "NS")):
        if (apex, type) not in groups:
            yield Fault(place, f"the zone {to_text(origin)} has no {name} record at its apex")
    for (key, type), group in groups.items():
        if type == types.SOA and key != apex:
            yield Fault(group[0].place, "a SOA record stands only at the apex")
        if type in (types.SOA, types.CNAME, types.DNAME) and len(group) > 1:
            # RFC 2181 §10.1, RFC 6672 §2.4
            yield Fault(group[1].place, f"a second {types.type_name(type)} record for {to_text(group[1].owner)}")
        if type in (types.OPT, *range(249, 256)):
            yield Fault(group[0].place, f"{types.type_name(type)} is no type of zone data")
        if type == types.CNAME and len(nodes[key].rrsets) > 1:
            others = ", ".join(types.type_name(other) for other in nodes[key].rrsets if other != types.CNAME)
            # RFC 1034 §3.6.2
            yield Fault(group[0].place, f"{to_text(group[0].owner)} has a CNAME and other data ({others})")


def _check_addresses(zone: Zone, groups: Mapping[tuple[bytes, int], list[Record]]) -> Iterator[Fault]:
    """Name servers inside the zone need an address here: as data, or as glue below the cut (RFC 1034 §4.2.1)."""
    for (key, type), group in groups.items():
        if type != types.NS or ((veil := zone.nodes[key].veil) is not None and veil.key != key):
            continue
        for record in group:
            server = record.rdata.lower()
            # below another cut it is for that zone to say; a wildcard gives no glue
            if not is_at_or_below(server, zone.key) or _foreign(zone, server, key):
                continue
            node = zone.nodes.get(server)
            if node is None or not (types.A in node.rrsets or types.AAAA in node.rrsets):
                what = "glue" if is_at_or_below(server, key) and key != zone.key else "address"
                yield Fault(record.place, f"the name server {to_text(record.rdata)} has no {what} here", fatal=False)
            elif types.CNAME in node.rrsets:
                yield Fault(record.place, f"the name server {to_text(record.rdata)} is an alias", fatal=False)


def _foreign(zone: Zone, server: bytes, cut: bytes) -> bool:
    for name in ancestors(server):
        if (node := zone.nodes.get(name)) is not None:
            return node.veil is not None and node.veil.key != cut
        if name == ROOT:
            break
    return False
