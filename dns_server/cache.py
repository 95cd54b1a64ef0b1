"""What a resolver remembers: answers by their TTL, absences by their SOA, and the way to the servers of each zone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from dns_server.config import CacheOptions
from dns_server.rules import types
from dns_server.rules.names import ancestors, to_text
from dns_server.rules.rrset import RRset
from dns_server.rules.walk import Missing, Referral
from dns_server.shelf import Shelf

ALL_TYPES: Final = -1
"""Stands for the type where a name does not exist at all: NXDOMAIN holds for every type (RFC 2308 §5). Types on the
wire are 0 to 65535, and all of them may be asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one name and type until `expires` (monotonic seconds)."""

    rcode: int
    data: RRset | None
    """None: the name or the type does not exist."""
    soa: RRset | None
    expires: float
    kept: float

    def aged(self, now: float) -> RRset | None:
        """The data, or the SOA of its absence, with the TTL that is left."""
        rrset = self.data or self.soa
        return None if rrset is None else rrset.with_ttl(max(0, int(rrset.ttl - (now - self.kept))))


@dataclass(frozen=True, slots=True)
class Delegation:
    """The servers of a zone. `glue`: addresses by the server's key; others have to be looked up."""

    zone: bytes
    servers: tuple[bytes, ...]
    glue: dict[bytes, tuple[tuple[str, int], ...]]
    expires: float


class Cache:
    """By TTL, bounded in number and bytes: what was written longest ago gives way. Glue is never answered with."""

    def __init__(self, options: CacheOptions, *, now: Callable[[], float]) -> None:
        self._options = options
        self._now = now
        self._entries: Shelf[tuple[bytes, int], Entry] = Shelf(
            entries=options.entries, bytes=options.bytes * 3 // 4, size=_entry_size
        )
        self._delegations: Shelf[bytes, Delegation] = Shelf(
            entries=options.entries, bytes=options.bytes // 4, size=_delegation_size
        )
        self.generation = 0
        """Grows with every change, so that what was made of the cache can tell that it is out of date."""

    def get(self, key: bytes, type: int) -> Entry | None:
        """What is known of the name and type, or of the name as a whole; None when nothing is, or no longer."""
        now = self._now()
        for kind in (type, ALL_TYPES):
            entry = self._entries.get((key, kind))
            if entry is not None:
                if entry.expires > now:
                    return entry
                self._entries.drop((key, kind))
        return None

    def keep(self, rrset: RRset) -> None:
        """A TTL of 0 is for the question at hand only (RFC 1035 §3.2.1)."""
        rrset = rrset.with_ttl(min(rrset.ttl, self._options.max_ttl))
        if rrset.ttl:
            now = self._now()
            entry = Entry(types.NOERROR, rrset, None, now + rrset.ttl, now)
            self._put((rrset.owner.lower(), rrset.type), entry)

    def keep_absence(self, key: bytes, type: int, missing: Missing) -> None:
        """NXDOMAIN or NODATA. Without a SOA it may not be kept (RFC 2308 §5)."""
        if missing.soa is None:
            return
        soa = missing.soa.with_ttl(min(missing.soa.ttl, self._options.max_negative_ttl))
        if soa.ttl:
            now = self._now()
            kind = ALL_TYPES if missing.rcode == types.NXDOMAIN else type
            self._put((key, kind), Entry(missing.rcode, None, soa, now + soa.ttl, now))

    def keep_failure(self, key: bytes, type: int) -> None:
        """RFC 9520 §3: a failure is remembered for a moment, so that a broken zone is not asked again and again."""
        if self._options.failure_ttl:
            now = self._now()
            self._put((key, type), Entry(types.SERVFAIL, None, None, now + self._options.failure_ttl, now))

    def keep_referral(self, referral: Referral, port: int) -> Delegation:
        glue = {server: tuple((address, port) for address in found) for server, found in referral.glue.items()}
        ttl = min(referral.ttl, self._options.max_ttl)
        delegation = Delegation(referral.zone, referral.servers, glue, self._now() + ttl)
        self._delegations.put(referral.zone, delegation)
        return delegation

    def nearest_delegation(self, key: bytes) -> Delegation | None:
        """The deepest zone at or above the name whose servers are known."""
        now = self._now()
        for above in ancestors(key):
            if (found := self._delegations.get(above)) is not None:
                if found.expires > now:
                    return found
                self._delegations.drop(above)
        return None

    def forget_delegation(self, zone: bytes) -> None:
        self._delegations.drop(zone)

    def _put(self, place: tuple[bytes, int], entry: Entry) -> None:
        self.generation += 1
        self._entries.put(place, entry)

    def flush(self, key: bytes | None = None) -> int:
        """Forget all, or all at and below a name; gives how much was forgotten."""
        self.generation += 1
        size = len(self._entries) + len(self._delegations)
        self._entries.drop_where(lambda place: key is None or key in ancestors(place[0]))
        self._delegations.drop_where(lambda zone: key is None or key in ancestors(zone))
        return size - len(self._entries) - len(self._delegations)

    def rows(self, limit: int) -> Iterator[dict[str, Any]]:
        """What is known, for the admin endpoint; the latest first."""
        now = self._now()
        for (key, type), entry in islice(self._entries.latest(), limit):
            if entry.expires > now:
                yield {
                    "name": to_text(key),
                    "type": "*" if type == ALL_TYPES else types.type_name(type),
                    "rcode": types.rcode_name(entry.rcode),
                    "ttl": int(entry.expires - now),
                    "records": len(entry.data.rdatas) if entry.data else 0,
                }

    def zones(self) -> Iterator[dict[str, Any]]:
        now = self._now()
        for found in self._delegations.values():
            if found.expires > now:
                yield {
                    "zone": to_text(found.zone),
                    "servers": [to_text(server) for server in found.servers],
                    "addresses": [f"{host}:{port}" for glue in found.glue.values() for host, port in glue],
                    "ttl": int(found.expires - now),
                }

    def statistics(self) -> dict[str, int]:
        return {
            "entries": len(self._entries),
            "delegations": len(self._delegations),
            "bytes": self._entries.bytes + self._delegations.bytes,
            "evicted": self._entries.evicted + self._delegations.evicted,
        }


def _entry_size(entry: Entry) -> int:
    """About what it takes in memory, for the bound: packed records, and Python's objects around them."""
    return 250 + _rrset_size(entry.data) + _rrset_size(entry.soa)


def _rrset_size(rrset: RRset | None) -> int:
    if rrset is None:
        return 0
    packed = sum(map(len, rrset.records)) + sum(len(part) + 40 for record in rrset.parts or () for part in record)
    return 230 + 2 * len(rrset.owner) + packed + sum(len(rdata) + 90 for rdata in rrset.rdatas)


def _delegation_size(delegation: Delegation) -> int:
    addresses = sum(map(len, delegation.glue.values()))
    return 500 + sum(len(server) + 80 for server in delegation.servers) + 150 * addresses
