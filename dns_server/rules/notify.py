"""NOTIFY (RFC 1996): "your zone may have changed", and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from dns_server.rules import types
from dns_server.rules.incoming import serial_of, soa_among
from dns_server.rules.query import AA, QR, RD, Query
from dns_server.rules.query import parse as parse_query
from dns_server.rules.rdata import RdataFault
from dns_server.rules.zone import Zone

OPCODE: Final = 4
_HEADER: Final = Struct(">HHHHHH")
_FLAGS: Final = OPCODE << 11


@dataclass(frozen=True, slots=True)
class Notify:
    """A NOTIFY. `rcode` other than 0: it is answered with that and nothing else."""

    query: Query
    rcode: int
    serial: int | None
    """The sender's hint."""


def read(message: bytes) -> Notify | None:
    """None for what gets no answer."""
    # the question is read like a query's
    query = parse_query(message[:2] + bytes((message[2] & 0x87,)) + message[3:]) if len(message) >= 12 else None
    if query is None:
        return None
    if query.rcode:
        return Notify(query, query.rcode, None)
    if query.type != types.SOA or query.cls != types.IN:
        return Notify(query, types.FORMERR if query.cls == types.IN else types.NOTAUTH, None)
    try:
        soa = soa_among(message, 0)
    except RdataFault:
        return Notify(query, types.FORMERR, None)
    return Notify(query, types.NOERROR, serial_of(soa.rdata) if soa is not None else None)


def response(query: Query, rcode: int) -> bytes:
    """RFC 1996 §4.7: the header and the question come back."""
    flags = QR | _FLAGS | query.flags & RD | (AA if not rcode else 0) | rcode & 0xF
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if query.edns else b""
    return _HEADER.pack(query.id, flags, 1 if query.question else 0, 0, 0, 1 if opt else 0) + query.question + opt


def request(zone: Zone, id: int) -> bytes:
    """RFC 1996 §3.6: with the new SOA as a hint."""
    soa = zone.soa
    record = b"\xc0\x0c" + soa.head + len(soa.rdatas[0]).to_bytes(2, "big") + soa.rdatas[0]
    question = zone.origin + b"\0\x06\0\x01"
    return _HEADER.pack(id, _FLAGS | AA, 1, 1, 0, 0) + question + record


def answers(message: bytes, id: int, zone: Zone) -> bool:
    """Whether `message` answers that request. The question may be left out by old servers, no other may stand there."""
    if len(message) < 12 or not message[2] & 0x80 or message[2] >> 3 & 0xF != OPCODE:
        return False
    if int.from_bytes(message[:2], "big") != id:
        return False
    question = zone.origin + b"\0\x06\0\x01"
    return message[4:6] == b"\0\0" or message[12 : 12 + len(question)].lower() == question.lower()
