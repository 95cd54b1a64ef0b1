"""A response read slowly and completely, whoever sent it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.dns_worlds import Name

Line = tuple[Name, int, int, bytes]
"""Owner, type, TTL, rdata with its names written out."""

_NAMES = {
    2: "n",
    5: "n",
    6: "nn",
    12: "n",
    15: "2n",
    33: "6n",
    39: "n",
    64: "2n",
    65: "2n",
    17: "nn",
    18: "2n",
    35: "4sssn",
}


@dataclass
class Response:
    rcode: int = 0
    authoritative: bool = False
    truncated: bool = False
    answer: list[Line] = field(default_factory=list)
    authority: list[Line] = field(default_factory=list)
    additional: list[Line] = field(default_factory=list)


def read(message: bytes) -> Response:
    """OPT is left out. Raises ValueError, IndexError for what is no response."""
    flags = int.from_bytes(message[2:4], "big")
    questions, *counts = (int.from_bytes(message[at : at + 2], "big") for at in range(4, 12, 2))
    if not flags & 0x8000:
        raise ValueError("a query")
    found = Response(flags & 15, bool(flags & 0x400), bool(flags & 0x200))
    at = 12
    for _ in range(questions):
        at = _name(message, at)[1] + 4
    for section, count in zip((found.answer, found.authority, found.additional), counts, strict=True):
        for _ in range(count):
            owner, at = _name(message, at)
            type = int.from_bytes(message[at : at + 2], "big")
            ttl = int.from_bytes(message[at + 4 : at + 8], "big")
            length = int.from_bytes(message[at + 8 : at + 10], "big")
            at += 10
            rdata = _rdata(message, at, length, _NAMES.get(type, ""))
            at += length
            if type == 41:
                found.rcode |= ttl >> 24 << 4
            else:
                section.append((owner, type, ttl, rdata))
    if at != len(message):
        raise ValueError("octets behind the message")
    return found


def _name(message: bytes, at: int) -> tuple[Name, int]:
    labels: list[bytes] = []
    behind = -1
    for _ in range(400):
        length = message[at]
        if length == 0:
            return tuple(labels), at + 1 if behind < 0 else behind
        if length >= 0xC0:
            behind = at + 2 if behind < 0 else behind
            at = (length & 63) << 8 | message[at + 1]
        else:
            labels.append(message[at + 1 : at + 1 + length])
            at += length + 1
    raise ValueError("a name without end")


def _rdata(message: bytes, at: int, length: int, layout: str) -> bytes:
    end = at + length
    out = b""
    for item in layout:
        if item == "n":
            name, at = _name(message, at)
            out += b"".join(bytes((len(label),)) + label for label in name) + b"\0"
        else:
            step = message[at] + 1 if item == "s" else int(item)
            out += message[at : at + step]
            at += step
    return out + message[at:end]
