"""How two answers to one question are held against each other, and where another server is known to differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.dns_reading import Line, Response
from tests.support.dns_worlds import ANY, CNAME, DNAME, DS, HTTPS, NS, SVCB, Name, World, below, from_wire, lower

YXDOMAIN: Final = 6
KNOT_LINKS: Final = 5

_NAMED: Final = (2, 5, 6, 12, 15, 33, 35, 39, 64, 65)
"""Types with names in their rdata; NSD and Knot put them into lower case (RFC 4343 leaves that open)."""


def differences(ours: Response, theirs: Response) -> list[str]:
    """What is not the same: order within a section and letter case do not matter, NS records of positive answers and
    their addresses may be left out."""
    found = [
        field for field in ("rcode", "authoritative", "truncated") if getattr(ours, field) != getattr(theirs, field)
    ]
    if _lines(ours.answer) != _lines(theirs.answer):
        found.append("answer")
    elif _chain(ours.answer) != _chain(theirs.answer):
        found.append("order of the chain")
    polite = bool(theirs.answer) and theirs.authoritative and not ours.authority
    polite = polite and all(type == NS for _, type, _, _ in theirs.authority)
    if not polite and _lines(ours.authority) != _lines(theirs.authority):
        found.append("authority")
    if not found:
        mine, other = set(_lines(ours.additional)), set(_lines(theirs.additional))
        if mine - other:
            found.append("more additional")
        if other - mine and not (polite and theirs.authority):
            found.append("less additional")
    return found


def _lines(section: list[Line]) -> list[Line]:
    return sorted(map(_folded, section))


def _folded(line: Line) -> Line:
    owner, type, ttl, rdata = line
    return lower(owner), type, ttl, rdata.lower() if type in _NAMED else rdata


def _chain(section: list[Line]) -> list[Name]:
    return [lower(owner) for owner, type, _, _ in section if type in (CNAME, DNAME)]


@dataclass(frozen=True)
class Case:
    """One question, and what two servers made of it."""

    world: World
    name: Name
    type: int
    ours: Response
    theirs: Response
    found: list[str]
    """What differs."""

    def zone(self, name: Name) -> Name | None:
        """The apex of the zone that is nearest to the name."""
        zones = [zone.origin for zone in self.world if below(name, zone.origin)]
        return max(zones, key=len, default=None)

    def is_glue(self, name: Name) -> bool:
        apexes = {lower(zone.origin) for zone in self.world}
        return any(
            record.type == NS and below(name, record.owner) and lower(record.owner) not in apexes
            for zone in self.world
            for record in zone.records
        )

    def owns(self, name: Name) -> bool:
        return any(lower(record.owner) == lower(name) for zone in self.world for record in zone.records)


@dataclass(frozen=True)
class Known:
    """A difference that is no fault of ours."""

    servers: tuple[str, ...]
    reason: str
    clause: str
    holds: Callable[[Case], bool]


def _any(case: Case) -> bool:
    return case.type == ANY and not {"rcode", "authoritative", "truncated"} & set(case.found)


def _star_redirects(case: Case) -> bool:
    return any(type == DNAME and owner[0] == b"*" for owner, type, _, _ in case.ours.answer)


def _star_delegates(case: Case) -> bool:
    return any(type == NS and owner[0] == b"*" for owner, type, _, _ in case.ours.authority)


def _services(case: Case) -> bool:
    only = set(case.found) <= {"more additional", "less additional"}
    return only and any(type in (SVCB, HTTPS) for _, type, _, _ in case.ours.answer)


def _too_long(case: Case) -> bool:
    return case.ours.rcode == YXDOMAIN and set(_lines(case.ours.answer)) <= set(_lines(case.theirs.answer))


def _grows(case: Case) -> bool:
    """A DNAME whose target is at or below itself leads back to itself; how often that is tried is open."""
    redirects = [owner for owner, type, _, _ in case.ours.answer if type == DNAME]
    again = [from_wire(rdata) for _, type, _, rdata in case.ours.answer if type == CNAME]
    repeated = any(below(name, owner) for owner in redirects for name in again)
    mine, other = ([*dict.fromkeys(map(_folded, response.answer))] for response in (case.ours, case.theirs))
    if not repeated:
        return False
    if case.ours.truncated:  # more links have no room
        return mine == other[: len(mine)] or mine[: len(other)] == other
    if "truncated" in case.found or mine[: len(other)] != other:
        return False
    return "rcode" not in case.found or case.ours.rcode == YXDOMAIN  # it grew until it was too long


def _long_chain(case: Case) -> bool:
    mine, other = ([*map(_folded, response.answer)] for response in (case.ours, case.theirs))
    return mine[: len(other)] == other and len(_chain(case.theirs.answer)) >= KNOT_LINKS


def _repeats(case: Case) -> bool:
    """They have nothing that we have not, but some of it twice."""
    return case.found == ["answer"] and set(_lines(case.ours.answer)) == set(_lines(case.theirs.answer))


def _crosses(case: Case) -> bool:
    """The chain leads into another zone that is served too."""
    aliases = [rdata for _, type, _, rdata in case.ours.answer if type == CNAME]
    if not aliases:
        return False
    last = from_wire(aliases[-1])
    # DS of an apex is the parent's
    return case.zone(last[1:] if case.type == DS else last) not in (None, case.zone(case.name))


def _glue_or_star(case: Case) -> bool:
    """All that we give more is synthesised, or stands below a cut."""
    if case.found != ["more additional"]:
        return False
    more = set(_lines(case.ours.additional)) - set(_lines(case.theirs.additional))
    return not any(case.owns(owner) and not case.is_glue(owner) for owner, _, _, _ in more)


def explained(server: str, case: Case) -> Known | None:
    return next((known for known in KNOWN if server in known.servers and known.holds(case)), None)


KNOWN: Final = (
    Known(("nsd", "knotd"), "which RRset is taken for ANY is the server's choice", "RFC 8482 §4.1", _any),
    Known(
        ("knotd",),
        "Knot writes the asked name in place of the `*` in the owner of a DNAME, which is not synthesised",
        "RFC 6672 §3.2, RFC 4592 §4.4",
        _star_redirects,
    ),
    Known(
        ("nsd",),
        "NSD takes NS records at a wildcard for data; Knot and we delegate; the RFC leaves it open",
        "RFC 4592 §4.2",
        _star_delegates,
    ),
    Known(
        ("nsd", "knotd"),
        "NSD adds nothing for SVCB and HTTPS; Knot looks for the root's addresses where `.` stands for the owner, names"
        " a wildcard as `*`, and follows an alias of a service one step",
        "RFC 9460 §2.5.2, §4.1",
        _services,
    ),
    Known(
        ("knotd",),
        "where a DNAME makes too long a name, Knot goes on with the DNAME's target as it is; YXDOMAIN ends it",
        "RFC 6672 §3.2",
        _too_long,
    ),
    Known(
        ("nsd", "knotd"),
        "how many links of a chain that grows for ever are answered is the server's choice",
        "RFC 1034 §5.2.2",
        _grows,
    ),
    Known(("knotd",), "Knot follows five aliases at most", "RFC 1034 §5.2.2", _long_chain),
    Known(
        ("nsd", "knotd"),
        "an alias at a wildcard, and a DNAME, that lead back to themselves are answered twice",
        "RFC 2181 §5",
        _repeats,
    ),
    Known(
        ("nsd",),
        "NSD follows an alias into another of its zones; Knot, BIND and we stay in the zone",
        "RFC 1034 §4.3.2 step 3a, RFC 2181 §5.4.1",
        _crosses,
    ),
    Known(
        ("nsd",),
        "NSD gives addresses from glue and from wildcards for NS records only",
        "RFC 1034 §4.3.2 step 6",
        _glue_or_star,
    ),
)
