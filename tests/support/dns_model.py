"""RFC 1034 §4.3.2 as it is written, over plain lists: slow, obvious, and nothing in common with the server."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.dns_reading import Line, Response
from tests.support.dns_worlds import (
    AAAA,
    ANY,
    CNAME,
    DNAME,
    DS,
    HTTPS,
    MX,
    NS,
    SOA,
    SRV,
    SVCB,
    A,
    Name,
    Record,
    World,
    ZoneText,
    below,
    lower,
    size,
)  # fmt: skip

REFUSED, YXDOMAIN, NXDOMAIN = 5, 6, 3
LINKS = 20
SERVICES = 8


def answer(world: World, name: Name, type: int) -> Response:
    """Step 2: the zone that is the nearest ancestor of the name; of DS, the parent's (RFC 4035 §3.1.4.1)."""
    zones = [zone for zone in world if below(name, zone.origin)]
    zones.sort(key=lambda zone: len(zone.origin))
    if not zones:
        return Response(REFUSED)
    zone = zones[-1]
    if type == DS and len(zone.origin) == len(name) and len(zones) > 1:
        zone = zones[-2]
    return _Walk(zone, type).walk(name)


class _Walk:
    def __init__(self, zone: ZoneText, type: int) -> None:
        self.zone = zone
        self.type = type
        self.found = Response(authoritative=True)
        self.services: list[tuple[Name, Record]] = []

    def at(self, name: Name, type: int | None = None) -> list[Record]:
        """The records there, in the order of the zone."""
        return [
            record
            for record in self.zone.records
            if lower(record.owner) == lower(name) and (type is None or record.type == type)
        ]

    def exists(self, name: Name) -> bool:
        """RFC 8020, RFC 4592 §2.2.2: with data of its own or anything below."""
        return any(below(record.owner, name) for record in self.zone.records)

    def walk(self, name: Name) -> Response:
        asked: list[Name] = []
        while name is not None and len(asked) < LINKS:
            if lower(name) in asked or not below(name, self.zone.origin):
                break
            asked.append(lower(name))
            following = self.step(name)
            if following is None:
                break
            name = following
        self.additional()
        return self.found

    def step(self, name: Name) -> Name | None:
        """Step 3: down from the apex, label by label; gives the name to go on with."""
        apex = len(self.zone.origin)
        for depth in range(apex, len(name) + 1):
            here = name[len(name) - depth :]
            if not self.exists(here):
                return self.wildcard(name, here[1:])
            if depth > apex and self.at(here, NS) and not (self.type == DS and depth == len(name)):
                self.referral(here)
                return None
            if depth < len(name) and self.at(here, DNAME):
                return self.redirect(name, here)
        return self.data(name, self.at(name))

    def wildcard(self, name: Name, closest: Name) -> Name | None:
        """Step 3c."""
        star = (b"*", *closest)
        if not self.exists(star):
            self.negative(NXDOMAIN)
            return None
        if self.at(star, NS) and self.type != DS:
            self.referral(star)
            return None
        return self.data(name, self.at(star))

    def data(self, name: Name, records: list[Record]) -> Name | None:
        """Step 3a."""
        types = [record.type for record in records]
        wanted = self.type
        if wanted == ANY and records:  # RFC 8482 §4.1
            wanted = SOA if SOA in types else min(types)
        if wanted == DNAME and any(
            type == DNAME and lower(owner) == lower(name) for owner, type, *_ in self.found.answer
        ):
            return None  # RFC 2181 §5: it led to itself
        if wanted in types:
            self.say(name, [record for record in records if record.type == wanted])
        elif CNAME in types:
            alias = next(record for record in records if record.type == CNAME)
            self.say(name, [alias])
            return alias.names()[0]
        else:
            self.negative(0)
        return None

    def redirect(self, name: Name, owner: Name) -> Name | None:
        """RFC 6672 §3.2."""
        [dname] = self.at(owner, DNAME)
        if (line := _line(dname.owner, dname)) not in self.found.answer:
            self.found.answer.append(line)
        target = name[: len(name) - len(owner)] + dname.names()[0]
        if size(target) > 255:
            self.found.rcode = YXDOMAIN
            return None
        self.found.answer.append(_line(name, Record(name, CNAME, dname.ttl, (target,))))
        return target if self.type != CNAME else None

    def referral(self, cut: Name) -> None:
        """Step 3b."""
        self.found.authoritative = bool(self.found.answer)
        servers = self.at(cut, NS)
        self.found.authority += [_line(record.owner, record) for record in servers]
        for record in servers:
            self.addresses(record.names()[0])

    def negative(self, rcode: int) -> None:
        """RFC 2308 §3."""
        self.found.rcode = rcode
        [soa] = self.at(self.zone.origin, SOA)
        ttl = min(soa.ttl, int.from_bytes(soa.wire()[-4:], "big"))
        self.found.authority.append(_line(soa.owner, Record(soa.owner, SOA, ttl, soa.rdata)))

    def say(self, name: Name, records: Iterable[Record]) -> None:
        for record in records:
            self.found.answer.append(_line(name, record))
            if record.type in (NS, MX, SRV):
                self.addresses(record.names()[0])
            elif record.type in (SVCB, HTTPS):
                self.services.append((name, record))

    def additional(self) -> None:
        """RFC 9460 §4.1."""
        done = [lower(name) for name, _ in self.services[:1]]
        sets = 1
        while self.services:
            name, record = self.services.pop(0)
            target = record.names()[0]
            alias = record.wire()[:2] == b"\0\0"
            if target or not alias:
                self.addresses(target or name)
            if alias and target and lower(target) not in done and sets < SERVICES:
                more = [other for other in self.given(target) if other.type == record.type]
                self.found.additional += [_line(target, other) for other in more]
                self.services += [(target, other) for other in more]
                if more:
                    done.append(lower(target))
                    sets += 1

    def addresses(self, name: Name) -> None:
        known = [(lower(owner), *rest) for owner, *rest in self.found.additional]  # in whatever letter case
        for record in self.given(name):
            if record.type in (A, AAAA) and (lower(name), *_line(name, record)[1:]) not in known:
                self.found.additional.append(_line(name, record))

    def given(self, name: Name) -> list[Record]:
        """What this zone has for a name that another names: its data, a wildcard's, or glue."""
        if not below(name, self.zone.origin):
            return []
        apex = len(self.zone.origin)
        cut = False
        for depth in range(apex, len(name) + 1):
            here = name[len(name) - depth :]
            cut = cut or (depth > apex and bool(self.at(here, NS)))
            if not self.exists(here):
                return [] if cut else self.at((b"*", *here[1:]))
            if depth < len(name) and not cut and self.at(here, DNAME):
                return []
        return self.at(name)


def _line(owner: Name, record: Record) -> Line:
    return owner, record.type, record.ttl, record.wire()
