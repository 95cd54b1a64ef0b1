"""A response from another server, read whole: what a resolver is told."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Final

from dns_server.rules import types
from dns_server.rules.query import AA, QR, TC
from dns_server.rules.rdata import RdataFault, expand, read_name
from dns_server.rules.rrset import RRset

_HEADER: Final = Struct(">HHHHHH")
_RR: Final = Struct(">HHIH")
_QUESTION: Final = Struct(">HH")
MAX_TTL: Final = 0x7FFF_FFFF


class Reply:
    """A response. The sections hold RRsets of class IN; OPT is not among them."""

    __slots__ = (
        "additional", "answer", "authoritative", "authority", "id", "injected", "name", "rcode", "truncated", "type",
    )  # fmt: skip

    def __init__(self, id: int, flags: int, name: bytes, type: int) -> None:
        self.id = id
        self.name = name
        """The name of the question, in the letter case it came back with."""
        self.type = type
        self.authoritative = bool(flags & AA)
        self.truncated = bool(flags & TC)
        self.rcode = flags & 0xF
        self.injected: tuple[tuple[str, str], ...] = ()
        """Faults that were injected into it, as (name, what it did)."""
        self.answer: list[RRset] = []
        self.authority: list[RRset] = []
        self.additional: list[RRset] = []


def parse(message: bytes) -> Reply:
    """The response in `message`. Raises RdataFault when it is none or not well-formed."""
    try:
        return _parse(message)
    except (StructError, IndexError):
        raise RdataFault("the message is cut short") from None


def _parse(message: bytes) -> Reply:
    id, flags, questions, *counts = _HEADER.unpack_from(message)
    if not flags & QR or questions != 1:
        raise RdataFault("not a response to one question")
    name, at = read_name(message, 12)
    type, cls = _QUESTION.unpack_from(message, at)
    if cls != types.IN:
        raise RdataFault("a class other than IN")
    at += 4
    reply = Reply(id, flags, name, type)
    for section, count in zip((reply.answer, reply.authority, reply.additional), counts, strict=True):
        groups: dict[tuple[bytes, int], tuple[bytes, int, list[bytes]]] = {}
        for _ in range(count):
            owner, at = read_name(message, at)
            type, cls, ttl, size = _RR.unpack_from(message, at)
            at += 10
            end = at + size
            if end > len(message):
                raise RdataFault("a record runs past the message")
            if type == types.OPT:
                reply.rcode |= ttl >> 24 << 4  # RFC 6891 §6.1.3: the upper bits
            elif cls == types.IN:
                ttl = 0 if ttl > MAX_TTL else ttl  # RFC 2181 §8: the topmost bit set means zero
                rdata = expand(type, message, at, end)
                known = groups.get((owner.lower(), type))
                if known is None:
                    groups[owner.lower(), type] = (owner, ttl, [rdata])
                else:  # RFC 2181 §5.2: TTLs that differ are the lowest
                    groups[owner.lower(), type] = (known[0], min(known[1], ttl), [*known[2], rdata])
            at = end
        section += [RRset(owner, type, ttl, rdatas) for (_, type), (owner, ttl, rdatas) in groups.items()]
    return reply


def answers(message: bytes, id: int, question: bytes) -> bool:
    """Whether `message` is the response to that question, which must come back octet for octet (RFC 5452 §9.1)."""
    return (
        len(message) >= 12 + len(question)
        and message[0] << 8 | message[1] == id
        and message[2] & 0x80 != 0
        and message[4:6] == b"\0\x01"
        and message[12 : 12 + len(question)] == question
    )


def least_ttl(message: bytes) -> int:
    """Seconds for which a response may be kept: RFC 8484 §5.1. 0 for one that says nothing or is not well-formed."""
    try:
        reply = parse(message)
    except RdataFault:
        return 0
    if reply.rcode not in (types.NOERROR, types.NXDOMAIN):
        return 0
    ttls = [rrset.ttl for rrset in reply.answer or reply.authority]
    for rrset in reply.authority:
        if rrset.type == types.SOA:  # the end of the chain has no such name or type: RFC 2308 §5
            ttls += [rrset.ttl, *(int.from_bytes(rdata[-4:], "big") for rdata in rrset.rdatas)]
    return min(ttls, default=0)
