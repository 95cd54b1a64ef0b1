"""One name of a zone as bytes: a million of them cost the garbage collector nothing and go to disk as they are.

    octet    flags: CUT, DNAME, WILDCARD, CHILDREN
    octet    length of the key of what answers in its place (its *veil*), which is an ending of its own key; 0: nothing
    4 octets number of its children, with CHILDREN only
    RRsets   the SOA, then by type: type (2), number of records (2), octets of records (4), octets of owner (1), owner,
             records

The owner is written only when its letter case is not that of the key. Records stand as they do in a response whose
question is for this name: a pointer to the question, type, class, TTL, length, rdata with its names written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from dns_server.rules import types
from dns_server.rules.rrset import RRset

CUT: Final = 1
"""NS records below the apex: the zone ends here (RFC 1034 §4.2)."""
DNAME: Final = 2
WILDCARD: Final = 4
"""It has a child named `*`."""
CHILDREN: Final = 8

MOST_RECORDS: Final = 0xFFFF
"""Of one RRset; no message has room for as many."""

Set = tuple[int, bytes, int, Iterable[bytes]]
"""Type, owner, TTL and rdatas of an RRset."""

_COUNT: Final = Struct(">I")
_SET: Final = Struct(">HHIB")
_RECORD: Final = Struct(">HHHIH")
_POINTER: Final = 0xC00C
_OVERHEAD: Final = 12
"""Octets of a record before its rdata."""


def pack(key: bytes, sets: Iterable[Set], *, flags: int = 0, veil: int = 0, children: int = 0) -> bytes:
    """`flags`: WILDCARD or not; the others come from what is packed."""
    body = b""
    for type, owner, ttl, rdatas in sorted(sets, key=_by_type):
        records = [_RECORD.pack(_POINTER, type, types.IN, ttl, len(rdata)) + rdata for rdata in rdatas]
        joined = b"".join(records)
        if owner == key:
            owner = b""
        body += _SET.pack(type, len(records), len(joined), len(owner)) + owner + joined
        if type == types.DNAME:
            flags |= DNAME
    return head(flags, veil, children) + body


def head(flags: int, veil: int, children: int) -> bytes:
    if not children:
        return bytes((flags & ~CHILDREN, veil))
    return bytes((flags | CHILDREN, veil)) + _COUNT.pack(children)


def split(node: bytes) -> tuple[int, int, int, bytes]:
    """Flags, length of the veil's key, number of children, and the RRsets as they are."""
    if node[0] & CHILDREN:
        return node[0], node[1], _COUNT.unpack_from(node, 2)[0], node[6:]
    return node[0], node[1], 0, node[2:]


def records(node: bytes, type: int) -> tuple[bytes, int] | None:
    """The records of that type, ready for an answer to a question for this name, and how many they are."""
    at = 6 if node[0] & CHILDREN else 2
    end = len(node)
    while at < end:
        known, count, size, owner = _SET.unpack_from(node, at)
        at += 9 + owner
        if known == type:
            return node[at : at + size], count
        at += size
    return None


def type_numbers(node: bytes) -> Iterator[int]:
    at = 6 if node[0] & CHILDREN else 2
    end = len(node)
    while at < end:
        type, _, size, owner = _SET.unpack_from(node, at)
        at += 9 + owner + size
        yield type


def rrset(key: bytes, node: bytes, type: int) -> RRset | None:
    at = 6 if node[0] & CHILDREN else 2
    end = len(node)
    while at < end:
        known, _, size, owner = _SET.unpack_from(node, at)
        start = at + 9 + owner
        if known == type:
            return _rrset(node[at + 9 : start] or key, type, node, start, start + size)
        at = start + size
    return None


def rrsets(key: bytes, node: bytes) -> Iterator[RRset]:
    at = 6 if node[0] & CHILDREN else 2
    end = len(node)
    while at < end:
        type, _, size, owner = _SET.unpack_from(node, at)
        start = at + 9 + owner
        yield _rrset(node[at + 9 : start] or key, type, node, start, start + size)
        at = start + size


def _rrset(owner: bytes, type: int, node: bytes, at: int, end: int) -> RRset:
    ttl = int.from_bytes(node[at + 6 : at + 10], "big")
    rdatas = []
    while at < end:
        start = at + _OVERHEAD
        at = start + (node[start - 2] << 8 | node[start - 1])
        rdatas.append(node[start:at])
    return RRset(owner, type, ttl, rdatas)


def _by_type(item: Set) -> int:
    # ANY is answered with the first, and of an apex the SOA says most
    return item[0] if item[0] != types.SOA else 0
