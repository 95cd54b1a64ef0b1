"""Random zones and questions about them, for a model and for other servers to judge."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

Name = tuple[bytes, ...]
"""Labels, the leftmost first, without the root's empty one."""

A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, NAPTR, DNAME, DS = 1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 35, 39, 43
SSHFP, RRSIG, NSEC, DNSKEY, NSEC3PARAM, TLSA, SVCB, HTTPS, SPF, ANY, URI, CAA = (
    44,
    46,
    47,
    48,
    51,
    52,
    64,
    65,
    99,
    255,
    256,
    257,
)
PRIVATE = 65280
DATA = (A, AAAA, TXT, MX, SRV, HTTPS, SVCB, PTR, CAA, NAPTR, TLSA, HINFO, PRIVATE)
ASKED = (A, A, A, ANY, AAAA, TXT, MX, SRV, HTTPS, SVCB, NS, SOA, CNAME, DNAME, DS, PTR, CAA, NAPTR, TLSA, PRIVATE, 4711)


@dataclass(frozen=True)
class Record:
    owner: Name
    type: int
    ttl: int
    rdata: tuple[bytes | Name, ...]
    """Octets and names in turn, as they follow each other."""

    def wire(self) -> bytes:
        return b"".join(part if isinstance(part, bytes) else to_wire(part) for part in self.rdata)

    def names(self) -> list[Name]:
        return [part for part in self.rdata if not isinstance(part, bytes)]

    def text(self) -> str:
        wire = self.wire()  # RFC 3597 §5: any type can be written so
        return f"{to_text(self.owner)} {self.ttl} IN TYPE{self.type} \\# {len(wire)} {wire.hex()}"


@dataclass(frozen=True)
class ZoneText:
    origin: Name
    records: tuple[Record, ...]

    def text(self) -> str:
        return "".join(f"{record.text()}\n" for record in self.records)


World = tuple[ZoneText, ...]


def to_wire(name: Name) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def from_wire(wire: bytes) -> Name:
    labels: list[bytes] = []
    at = 0
    while length := wire[at]:
        labels.append(wire[at + 1 : at + 1 + length])
        at += length + 1
    return tuple(labels)


def to_text(name: Name) -> str:
    if not name:
        return "."
    return "".join("".join(map(_octet, label)) + "." for label in name)


def _octet(octet: int) -> str:
    return chr(octet) if chr(octet).isascii() and (chr(octet).isalnum() or octet in b"-_*") else f"\\{octet:03d}"


def lower(name: Name) -> Name:
    return tuple(label.lower() for label in name)


def size(name: Name) -> int:
    return sum(len(label) + 1 for label in name) + 1


def below(name: Name, other: Name) -> bool:
    """At or below; letter case does not matter."""
    return len(name) >= len(other) and lower(name[len(name) - len(other) :]) == lower(other)


class Maker:
    """Draws worlds and questions. `strict`: only what NSD and Knot load: nothing below a DNAME. `tidy`: a zone says of
    another that is served beside it no more than where it begins: NSD keeps all zones in one tree."""

    def __init__(self, random: Random, *, strict: bool = False, tidy: bool = False) -> None:
        self.random = random
        self.strict = strict or tidy
        self.tidy = tidy

    def world(self) -> World:
        pick = self.random.random
        origins: list[Name] = [(b"z", b"test")]
        if pick() < 0.5:
            origins.append((self._label(), b"z", b"test"))
        if pick() < 0.3:
            origins.append((self._label(), self._label(), b"z", b"test"))
        if pick() < 0.3:
            origins.append((b"test",))
        if pick() < 0.3:
            origins.append(())
        if pick() < 0.4:
            origins.append((b"y", b"example"))
        known: dict[Name, Name] = {}
        for origin in origins:
            if b"*" not in origin:
                known.setdefault(lower(origin), origin)
        places = list(known.values())
        zones = tuple(self._zone(origin, places) for origin in places)
        return tuple(self._tidied(zone, places) for zone in zones) if self.tidy else zones

    def zone_like(self, zone: ZoneText, world: World) -> ZoneText:
        """Another version of one of the zones."""
        return self._zone(zone.origin, [other.origin for other in world])

    def _label(self) -> bytes:
        pick = self.random.random()
        if pick < 0.13:
            return b"*"
        if pick < 0.17:
            return self.random.choice([b"\0", b"a.b", b" ", b"\xff", b"@", b"\xc0\x0c", b"**", b"*a", b"\\", b'"'])
        return self.random.choice([b"a", b"b", b"c", b"d", b"ns", b"A", b"Ns", b"w"])

    def _below(self, origin: Name, depth: int = 3) -> Name:
        return tuple(self._label() for _ in range(self.random.randint(1, depth))) + origin

    def _target(self, origin: Name, owners: Sequence[Name], places: Sequence[Name]) -> Name:
        pick = self.random.random()
        if pick < 0.55 and owners:
            name = self.random.choice(owners)
            return (self._label(), *name) if self.random.random() < 0.3 else name
        if pick < 0.75:
            return self._below(origin)
        if pick < 0.9:
            return self._below(self.random.choice(places))
        return (b"far", b"invalid")

    def _zone(self, origin: Name, places: Sequence[Name]) -> ZoneText:
        random = self.random
        ttl = random.choice([0, 5, 60, 300, 86400])
        minimum = random.choice([0, 5, 60, 300])
        server = self._below(origin, 1) if random.random() < 0.7 else (b"ns", b"far", b"invalid")
        soa = (server, (b"Host", *origin), b"".join(n.to_bytes(4, "big") for n in (1, 3600, 600, 86400, minimum)))
        sets: dict[tuple[Name, int], list[Record]] = {}
        owners = [self._below(origin) for _ in range(random.randint(2, 14))]
        owners += [origin] * random.randint(0, 2)
        children = [place for place in places if below(place, origin) and len(place) > len(origin)]
        owners += [child for child in children if random.random() < 0.8]

        def add(owner: Name, type: int, *rdata: bytes | Name, ttl: int = ttl) -> None:
            known = sets.setdefault((lower(owner), type), [])
            first = known[0] if known else None
            record = Record(first.owner if first else owner, type, first.ttl if first else ttl, rdata)
            if all(other.wire().lower() != record.wire().lower() for other in known):
                known.append(record)

        add(origin, SOA, *soa)
        for _ in range(random.randint(1, 3)):
            add(origin, NS, self._target(origin, owners, places) if random.random() < 0.5 else server)
        used = {lower(origin): "apex"}
        for owner in owners:
            kind = used.get(lower(owner))
            if kind == "apex":
                if random.random() < 0.1 and not (self.strict and len(owners) > 3):
                    add(origin, DNAME, self._far_or_near(origin, owners, places)) if (
                        lower(origin),
                        DNAME,
                    ) not in sets else None
                else:
                    self._data(add, origin, origin, owners, places)
                continue
            if kind is None:
                star = owner[0] == b"*"
                kinds = (
                    ["data"] * 9
                    + ["alias"] * 4
                    + ["cut"] * (1 if star else 4)
                    + ["dname"] * (1 if star else 2)
                    + ["dead"]
                )
                kind = "cut" if owner in children and random.random() < 0.8 else random.choice(kinds)
                used[lower(owner)] = kind
            if kind == "alias" and (lower(owner), CNAME) not in sets:
                add(owner, CNAME, self._target(origin, owners, places))
            elif kind == "data":
                for _ in range(random.randint(1, 3)):
                    self._data(add, owner, origin, owners, places)
            elif kind == "cut":
                self._cut(add, owner, origin, owners, places)
            elif kind == "dname" and (lower(owner), DNAME) not in sets:
                add(owner, DNAME, self._far_or_near(origin, owners, places))
                if random.random() < 0.5:
                    self._data(add, owner, origin, owners, places)
        records = [record for group in sets.values() for record in group]
        aliases = {key for key, type in sets if type == CNAME}
        records = [record for record in records if record.type == CNAME or lower(record.owner) not in aliases]
        if self.strict:
            records = self._without_hidden(origin, records)
        return ZoneText(origin, tuple(records))

    def _far_or_near(self, origin: Name, owners: Sequence[Name], places: Sequence[Name]) -> Name:
        if self.random.random() < 0.25:
            return (b"x" * 63, b"Y" * 63, b"z" * self.random.randint(40, 63), *origin)
        return self._target(origin, owners, places)

    def _data(self, add: object, owner: Name, origin: Name, owners: Sequence[Name], places: Sequence[Name]) -> None:
        assert callable(add)
        random = self.random
        type = random.choice((*DATA, A, A, AAAA, MX))
        ttl = random.choice([0, 60, 300, 7200])
        for _ in range(random.choice([1, 1, 2, 3])):
            name = self._target(origin, owners, places)
            add(owner, type, *self._rdata(type, name), ttl=ttl)

    def _rdata(self, type: int, name: Name) -> tuple[bytes | Name, ...]:
        random = self.random
        number = random.randint(1, 9)
        if type == A:
            return (bytes((192, 0, 2, number)),)
        if type == AAAA:
            return (ipaddress.ip_address(f"2001:db8::{number}").packed,)
        if type == MX:
            return (bytes((0, number)), name)
        if type == PTR:
            return (name,)
        if type == SRV:
            return (bytes((0, 1, 0, number, 0, 80)), name)
        if type in (SVCB, HTTPS):
            if random.random() < 0.4:
                return (b"\0\0", name)
            return (b"\0\1", () if random.random() < 0.5 else name, b"\0\1\0\3\2h2")
        if type == NAPTR:
            return (bytes((0, 10, 0, number)) + b"\1s\3SIP\0", name)
        if type == TLSA:
            return (b"\3\1\1" + bytes(31) + bytes((number,)),)
        if type == CAA:
            return (b"\0\5issue;%d" % number,)
        if type == HINFO:
            return (b"\2PC\2L%d" % number,)
        return (b"\3one\4two%d" % number,)

    def _cut(self, add: object, owner: Name, origin: Name, owners: Sequence[Name], places: Sequence[Name]) -> None:
        assert callable(add)
        random = self.random
        for _ in range(random.randint(1, 3)):
            pick = random.random()
            if pick < 0.5:
                server = (self._label(), *owner)
                if server[0] == b"*":
                    server = (b"ns", *owner)
            elif pick < 0.8:
                server = self._target(origin, owners, places)
            else:
                server = (b"ns", b"far", b"invalid")
            add(owner, NS, server)
            if pick < 0.5 and lower(server) != lower(owner):
                add(server, A, bytes((192, 0, 2, random.randint(10, 19))), ttl=60)
                if random.random() < 0.4:
                    add(server, AAAA, ipaddress.ip_address("2001:db8::53").packed, ttl=60)
        if random.random() < 0.4 and owner[0] != b"*":
            add(owner, DS, bytes((0, 1, 13, 2)) + bytes(32))

    def _without_hidden(self, origin: Name, records: list[Record]) -> list[Record]:
        """Nothing below a DNAME."""
        redirects = {lower(record.owner) for record in records if record.type == DNAME}
        depth = len(origin)
        return [
            record
            for record in records
            if not any(lower(record.owner[at:]) in redirects for at in range(1, len(record.owner) - depth + 1))
        ]

    def _tidied(self, zone: ZoneText, places: Sequence[Name]) -> ZoneText:
        records = list(zone.records)
        ttl = records[0].ttl
        children = [place for place in places if below(place, zone.origin) and len(place) > len(zone.origin)]
        for child in sorted(children, key=len):
            between = {lower(child[index:]) for index in range(1, len(child) - len(zone.origin) + 1)}
            records = [record for record in records if not below(record.owner, child)]
            if any(below(child, other) and other != child for other in children):
                continue  # the nearer one's to delegate
            apex = lower(zone.origin)
            records = [
                record
                for record in records
                if not (lower(record.owner) in between and record.type in (NS, DNAME, CNAME))
                or (lower(record.owner) == apex and record.type == NS)
            ]
            records.append(Record(child, NS, ttl, ((b"ns", b"far", b"invalid"),)))
        return ZoneText(zone.origin, tuple(records))

    def questions(self, world: World, count: int) -> Iterator[tuple[Name, int]]:
        random = self.random
        names = [name for zone in world for record in zone.records for name in (record.owner, *record.names())]
        for _ in range(count):
            name = random.choice(names)
            pick = random.random()
            if pick < 0.3:
                name = tuple(self._label() for _ in range(random.randint(1, 2))) + name
            elif pick < 0.4:
                name = name[1:]
            elif pick < 0.45:
                name = (b"*", *name)
            elif pick < 0.5 and name:
                name = (self._label(), *name[1:])
            elif pick < 0.53:
                name = (b"m" * 63, b"n" * 50, *name)
            if size(name) > 255:
                name = name[-2:]
            if random.random() < 0.2:
                name = tuple(label.upper() for label in name)
            yield name, random.choice(ASKED)
