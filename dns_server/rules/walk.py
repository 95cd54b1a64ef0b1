"""What a resolver makes of a response: believed only as far as the server that gave it is in charge (bailiwick).

RFC 2181 §5.4.1 ranks data; here only what the asked zone may say is taken at all: answers and negatives from within
the zone, referrals that lead down, glue only to reach the servers of a referral and never to answer with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dns_server.rules import types
from dns_server.rules.names import is_at_or_below
from dns_server.rules.reply import Reply
from dns_server.rules.rrset import RRset


@dataclass(frozen=True, slots=True)
class Found:
    """The data, or the end of the chain of aliases as far as this zone can say."""

    links: tuple[RRset, ...]
    """CNAMEs in order."""
    data: RRset | None
    """None: `target` is to be resolved anew."""
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Missing:
    """NXDOMAIN or NODATA of the last name of `links`."""

    links: tuple[RRset, ...]
    rcode: int
    soa: RRset | None
    """With the TTL for which the answer holds (RFC 2308 §5); None: it may not be kept."""


@dataclass(frozen=True, slots=True)
class Referral:
    """The servers of a zone further down."""

    zone: bytes
    """The cut's key."""
    servers: tuple[bytes, ...]
    ttl: int
    glue: Mapping[bytes, tuple[str, ...]] = field(default_factory=dict)
    """Addresses by the server's key."""


@dataclass(frozen=True, slots=True)
class Useless:
    """A response that does not help: try another server. `reason` is the word for the log."""

    reason: str


Step = Found | Missing | Referral | Useless


def read_step(reply: Reply, *, zone: bytes, key: bytes, type: int) -> Step:
    """What `reply` from a server of `zone` (a key) says to the question."""
    if reply.rcode not in (types.NOERROR, types.NXDOMAIN):
        return Useless(types.rcode_name(reply.rcode).lower())
    believed = {
        (rrset.owner.lower(), rrset.type): rrset for rrset in reply.answer if is_at_or_below(rrset.owner.lower(), zone)
    }
    if believed and not reply.authoritative:
        return Useless("lame")  # from somebody's cache, or made up: RFC 2181 §5.4.1
    links: list[RRset] = []
    seen = {key}
    while True:
        if (data := believed.get((key, type))) is not None:
            return Found(tuple(links), data)
        alias = believed.get((key, types.CNAME))
        if alias is None:
            break
        links.append(alias)
        target = alias.rdatas[0]
        key = target.lower()
        if key in seen:
            return Useless("alias-loop")
        seen.add(key)
    if links and not is_at_or_below(key, zone):
        return Found(tuple(links), None, links[-1].rdatas[0])
    referral = _referral(reply, zone, key)
    if referral is not None:
        # after an alias the referral is left for the target's own walk
        return Found(tuple(links), None, links[-1].rdatas[0]) if links else referral
    soa = next((s for s in reply.authority if s.type == types.SOA and _speaks_for(s.owner.lower(), zone, key)), None)
    if not reply.authoritative:
        return Useless("lame")  # neither an answer nor a way down
    if soa is None and links and reply.rcode == types.NOERROR:
        return Found(tuple(links), None, links[-1].rdatas[0])
    return Missing(tuple(links), reply.rcode, _negative(soa))


def _speaks_for(owner: bytes, zone: bytes, key: bytes) -> bool:
    return is_at_or_below(owner, zone) and is_at_or_below(key, owner)


def _negative(soa: RRset | None) -> RRset | None:
    if soa is None or len(soa.rdatas[0]) < 22:
        return None
    return soa.with_ttl(min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big")))


def _referral(reply: Reply, zone: bytes, key: bytes) -> Referral | None:
    for rrset in reply.authority:
        cut = rrset.owner.lower()
        # it must lead down, and towards the name: RFC 1034 §5.3.3 step 4b
        if rrset.type == types.NS and cut != zone and is_at_or_below(cut, zone) and is_at_or_below(key, cut):
            servers = tuple(server.lower() for server in rrset.rdatas)
            return Referral(cut, servers, rrset.ttl, _glue(reply.additional, servers, zone))
    return None


def _glue(additional: Iterable[RRset], servers: tuple[bytes, ...], zone: bytes) -> dict[bytes, tuple[str, ...]]:
    glue: dict[bytes, tuple[str, ...]] = {}
    for rrset in additional:
        server = rrset.owner.lower()
        if rrset.type == types.A and server in servers and is_at_or_below(server, zone):
            glue[server] = addresses(rrset)
    return glue


def addresses(rrset: RRset) -> tuple[str, ...]:
    """The IPv4 addresses of a set of A records."""
    return tuple(".".join(map(str, rdata)) for rdata in rrset.rdatas if len(rdata) == 4)
