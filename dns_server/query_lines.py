"""What a line of the query log says. The part that is the same every time is written once."""

from __future__ import annotations

import datetime
from typing import Any, Final

import msgspec

from dns_server.rules import types
from dns_server.rules.names import to_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer
from stack.clock import Clock

_OPCODES: Final = {4: "notify", 5: "update"}


class Beginnings:
    """How lines begin, up to the client: time (RFC 3339, UTC) and hop, the same for all of one millisecond."""

    __slots__ = ("_clock", "_hop", "_text", "_until")

    def __init__(self, hop: str, clock: Clock) -> None:
        self._hop = msgspec.json.encode(hop).decode()
        self._clock = clock
        self._until = float("-inf")
        self._text = ""

    def at(self, now: float) -> str:
        """`now`: monotonic seconds."""
        if now >= self._until:
            wall = self._clock.time()
            self._until = now + 0.001 - wall % 0.001
            time = datetime.datetime.fromtimestamp(wall, datetime.UTC)
            self._text = (
                f'{{"time":"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z","hop":{self._hop},"client":"'
            )
        return self._text


def said(query: Query, answer: Answer, *, zone: str, truncated: bool) -> str:
    """From the name up to the size."""
    if not answer.said:
        answer.said = f'"name":{name(query.name)},{behind_name(query, answer, zone=zone, truncated=truncated)}'
    return answer.said


def name(wire: bytes) -> str:
    """As JSON, in the letter case of the question; empty where there was none."""
    if not wire:
        return '""'
    text = to_text(wire)
    # what is not escaped as master files do has nothing that JSON would escape
    return f'"{text}"' if "\\" not in text else msgspec.json.encode(text).decode()


def behind_name(query: Query, answer: Answer, *, zone: str, truncated: bool) -> str:
    record: dict[str, Any] = {
        "type": types.type_name(query.type) if query.question else "",
        **({"zone": zone} if zone else {}),
        "rcode": types.rcode_name(answer.rcode),
        "flags": _flags(query, answer, truncated=truncated),
        "marks": [*answer.marks, ("answer", answer.word)],
    }
    if query.edns:
        record["edns"] = query.payload
    if answer.explained is not None and query.edns:
        record["ede"] = answer.explained
    if answer.faults:
        record["fault"] = answer.faults
    if answer.walk:
        record["walk"] = answer.walk
    return msgspec.json.encode(record).decode()[1:-1]


def _flags(query: Query, answer: Answer, *, truncated: bool) -> list[str]:
    flags = ["aa"] if answer.authoritative else []
    if truncated:
        flags.append("tc")
    if (opcode := query.flags >> 11 & 0xF) in _OPCODES:
        flags.append(_OPCODES[opcode])
    if query.recursion_desired:
        flags.append("rd")
    if query.edns:
        flags.append("edns")
    if query.dnssec_ok:
        flags.append("do")
    if query.tsig is not None:
        flags.append("tsig")
    return flags
