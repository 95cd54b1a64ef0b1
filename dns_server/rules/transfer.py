"""A zone transfer as messages (AXFR: RFC 5936, IXFR: RFC 1995), packed as they are sent and never held as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from dns_server.rules import types
from dns_server.rules.query import AA, OPCODE, QR, RD, Query
from dns_server.rules.rdata import parts
from dns_server.rules.rrset import RRset
from dns_server.rules.serial import newer as newer
from dns_server.rules.zone import Zone

_HEADER: Final = Struct(">HHHHHH")
_RR: Final = Struct(">HHIH")
_POINTER: Final = Struct(">H")

SIZE: Final = 16384
"""Octets of a message: as far as a compression pointer reaches. A larger record has a larger message to itself."""
LARGEST: Final = 65535 - 512
"""The largest message; what is left is for a TSIG record."""


class TooLarge(ValueError):
    """A record that fits no message."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one version of a zone to the next. `removed` and `added` have the SOA of either version among them."""

    before: int
    after: int
    removed: Sequence[RRset]
    added: Sequence[RRset]
    records: int
    octets: int

    @classmethod
    def of(cls, before: int, after: int, removed: Sequence[RRset], added: Sequence[RRset]) -> Step:
        both = [*removed, *added]
        return cls(
            before,
            after,
            removed,
            added,
            sum(len(rrset.rdatas) for rrset in both),
            sum(weight(rrset) for rrset in both),
        )


def weight(rrset: RRset) -> int:
    """Octets of the set's records, uncompressed."""
    return len(rrset.rdatas) * (len(rrset.owner) + 10) + sum(map(len, rrset.rdatas))


def whole(zone: Zone) -> Iterator[RRset]:
    """Every record once, between two copies of the SOA (RFC 5936 §2.2): glue and occluded names too (§3.5)."""
    yield zone.soa
    for rrset in zone.rrsets():
        if rrset.type != types.SOA:
            yield rrset
    yield zone.soa


def steps(zone: Zone, chain: Iterable[Step]) -> Iterator[RRset]:
    """RFC 1995 §4: the newest SOA; for each step the old SOA, what goes, the new SOA, what comes; the newest SOA."""
    yield zone.soa
    for step in chain:
        for side in (step.removed, step.added):
            yield from (rrset for rrset in side if rrset.type == types.SOA)
            yield from (rrset for rrset in side if rrset.type != types.SOA)
    yield zone.soa


def messages(query: Query, rrsets: Iterable[RRset], *, payload: int = 0, size: int = SIZE) -> Iterator[bytes]:
    """The messages that carry these records in this order, each packed full.

    The question stands in the first alone, as does OPT with `payload` when the client sent one (RFC 5936 §2.2.1,
    §2.2.5). Raises TooLarge at a record that fits no message.
    """
    opt = b"\0\0\x29" + payload.to_bytes(2, "big") + bytes(6) if query.edns and payload else b""
    message = _Message(query, query.question, opt, size)
    for rrset in rrsets:
        for rdata in rrset.rdatas:
            if message.add(rrset, rdata):
                continue
            if message.count:
                yield message.finish()
                message = _Message(query, b"", b"", size)
                if message.add(rrset, rdata):
                    continue
            message.size_limit = LARGEST
            if not message.add(rrset, rdata):
                raise TooLarge(f"{rrset!r} fits no message")
            yield message.finish()
            message = _Message(query, b"", b"", size)
    if message.count:
        yield message.finish()


class _Message:
    __slots__ = ("_at", "_chunks", "_names", "_opt", "_query", "_question", "count", "size_limit")

    def __init__(self, query: Query, question: bytes, opt: bytes, size: int) -> None:
        self._query = query
        self._question = question
        self._opt = opt
        self._chunks = [b"", question]
        self._at = 12 + len(question)
        self._names: dict[bytes, int] = {}
        self.size_limit = size
        self.count = 0
        if question:
            self._name(question[:-4], 12)

    def add(self, rrset: RRset, rdata: bytes) -> bool:
        """Append a record; False, and nothing is changed, when it does not fit."""
        at = self._at
        # names written for a record that does not fit would be pointed to: so no name is noted unless it surely fits
        if at + len(rrset.owner) + 10 + len(rdata) + len(self._opt) > self.size_limit:
            return False
        owner = self._name(rrset.owner, at)
        split = parts(rrset.type, rdata)
        if split is not None:
            start = at + len(owner) + 10
            out = b""
            for index, part in enumerate(split):
                out += self._name(part, start + len(out)) if index & 1 else part
            rdata = out
        self._chunks.append(owner + _RR.pack(rrset.type, types.IN, rrset.ttl, len(rdata)) + rdata)
        self._at = at + len(self._chunks[-1])
        self.count += 1
        return True

    def finish(self) -> bytes:
        query = self._query
        flags = QR | AA | query.flags & (OPCODE | RD)
        self._chunks[0] = _HEADER.pack(
            query.id, flags, 1 if self._question else 0, self.count, 0, 1 if self._opt else 0
        )
        return b"".join(self._chunks) + self._opt

    def _name(self, name: bytes, at: int) -> bytes:
        """The name as it is written at offset `at`. Letter case is the name's own: only the same octets are shared
        (RFC 5936 §3.4)."""
        names = self._names
        index = 0
        end = len(name) - 1
        while index < end:
            rest = name[index:]
            known = names.get(rest)
            if known is not None:
                return name[:index] + _POINTER.pack(0xC000 | known)
            if at + index < 0x4000:  # a pointer has 14 bits
                names[rest] = at + index
            index += name[index] + 1
        return name
