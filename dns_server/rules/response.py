"""A response written as bytes: compression, whole-RRset truncation, OPT."""

from __future__ import annotations

from struct import Struct
from typing import Final

from dns_server.rules.edns import PAD_TO, extend, padding
from dns_server.rules.query import AA, CD, OPCODE, QR, RA, RD, TC, Query
from dns_server.rules.rrset import Answer, RRset

_HEADER: Final = Struct(">HHHHHH")
_POINTER: Final = Struct(">H")
_QUESTION: Final = b"\xc0\x0c"
"""A pointer to the name in the question, which stands right behind the header."""
_OPT_SIZE: Final = 11

PAYLOAD: Final = 1232
"""Octets that we send and accept over UDP: fits an IPv6 packet of 1280 octets, so it is never fragmented."""
TCP_SIZE: Final = 65535


def limit(query: Query, *, stream: bool, payload: int = PAYLOAD) -> int:
    """How long the response may be: all of 65535 octets on a stream (RFC 7766), what both sides take over UDP."""
    return TCP_SIZE if stream else min(query.payload, payload)


def write(query: Query, answer: Answer, *, size: int, recursion: bool = False, payload: int = PAYLOAD) -> bytes:
    """The response to `query`, at most `size` octets.

    `recursion`: this server recurses, so RA is set and CD copied (RFC 4035 §3.2.2); else both are clear. RD and the
    opcode are copied, AD is clear. RRsets go in whole or not at all, and TC says that one of the answer, the authority
    or the glue is missing (RFC 2181 §9, RFC 9471 §3.1).
    """
    explained = answer.explained.packed() if answer.explained is not None and query.edns else b""
    out = _Writer(query, size - (_OPT_SIZE + len(explained) if query.edns else 0))
    fits = out.section(answer.answer)
    answers = out.count
    fits = fits and out.section(answer.authority)
    authorities = out.count - answers
    if fits and (answer.glue or answer.additional):
        fits = out.section(answer.glue)
        if fits:
            out.section(answer.additional)
    additionals = out.count - answers - authorities
    flags = QR | query.flags & (OPCODE | RD) | answer.rcode & 0xF
    if answer.authoritative:
        flags |= AA
    if not fits or answer.truncated:
        flags |= TC
    if recursion:
        flags |= RA | query.flags & CD
    chunks = out.chunks
    if query.edns:
        additionals += 1
        chunks.append(_opt(answer.rcode, payload, dnssec_ok=query.dnssec_ok))
        if explained:
            chunks[-1] = extend(chunks[-1], explained)
    chunks[0] = _HEADER.pack(query.id, flags, 1 if query.question else 0, answers, authorities, additionals)
    return b"".join(chunks)


def with_options(response: bytes, query: Query, answer: Answer, options: bytes) -> bytes:
    """`response`, which `write` wrote, with what is for one client alone; padded if the client's query was."""
    present = len(answer.explained.packed()) if answer.explained is not None else 0
    response = extend(response, options, present)
    if query.padded and len(response) + PAD_TO < TCP_SIZE:
        response = extend(response, padding(len(response)), present + len(options))
    return response


def _opt(rcode: int, payload: int, *, dnssec_ok: bool) -> bytes:
    """RFC 6891 §6.1.3: the upper bits of the rcode, version 0 always; RFC 3225 §3: DO is copied."""
    return b"\0\0\x29%b%b\0%b\0\0\0" % (
        payload.to_bytes(2, "big"),
        (rcode >> 4).to_bytes(1, "big"),
        b"\x80" if dnssec_ok else b"\0",
    )


class _Writer:
    """Appends RRsets while there is room. The first that has none ends it: everything after it would mislead."""

    __slots__ = ("chunks", "count", "key", "names", "room", "size")

    def __init__(self, query: Query, room: int) -> None:
        self.chunks = [b"", query.question]
        self.size = 12 + len(query.question)
        self.room = room
        self.count = 0
        self.key = query.key
        self.names: dict[bytes, int] | None = None
        """Where each name and each ending of it stands; made when a first name has to be written."""

    def section(self, rrsets: list[tuple[bytes, RRset]]) -> bool:
        for owner, rrset in rrsets:  # noqa: SIM110 - all() costs a generator for every section
            if not self._rrset(owner, rrset):
                return False
        return True

    def _rrset(self, owner: bytes, rrset: RRset) -> bool:
        chunks, mark, start = self.chunks, len(self.chunks), self.size
        if rrset.hinged is not None and (key := self.key).endswith(owner.lower()):
            # every name below is the question's own ending, or written out
            chunks.append(_POINTER.pack(0xC00C + len(key) - len(owner)).join(rrset.hinged))
            self.size = start + len(chunks[-1])
            if self.size <= self.room:
                self.count += len(rrset.rdatas)
                return True
            del chunks[mark:]
            self.size = start
            return False
        if owner.lower() == self.key:
            first = pointer = _QUESTION
        else:
            first = self._name(owner, start)
            # an owner that is only a pointer is repeated; one with labels of its own is pointed to
            pointer = first if first[0] >= 0xC0 or first == b"\0" or start > 0x3FFF else _POINTER.pack(0xC000 | start)
        if rrset.parts is None:
            packed = first + pointer.join(rrset.records)
            chunks.append(packed)
            self.size = start + len(packed)
        else:
            head = rrset.head
            for parts in rrset.parts:
                at = self.size + len(first) + 10
                rdata = self._rdata(parts, at)
                chunks.append(b"%b%b%b%b" % (first, head, _POINTER.pack(len(rdata)), rdata))
                self.size = at + len(rdata)
                first = pointer
        if self.size > self.room:
            del chunks[mark:]
            self.size = start
            return False
        self.count += len(rrset.rdatas)
        return True

    def _rdata(self, parts: tuple[bytes, ...], at: int) -> bytes:
        out = b""
        for index, part in enumerate(parts):
            out += self._name(part, at + len(out)) if index & 1 else part
        return out

    def _name(self, name: bytes, at: int) -> bytes:
        """The name as it is written at offset `at`: as far as needed, then a pointer (RFC 1035 §4.1.4)."""
        names = self.names
        if names is None:
            names = self.names = {}
            self._remember(self.key, 12)
        key = name.lower()
        index = 0
        end = len(key) - 1
        while index < end:
            rest = key[index:]
            if (known := names.get(rest)) is not None:
                return name[:index] + _POINTER.pack(0xC000 | known)
            if at + index < 0x4000:  # a pointer has 14 bits
                names[rest] = at + index
            index += key[index] + 1
        return name

    def _remember(self, key: bytes, at: int) -> None:
        names = self.names
        assert names is not None
        index = 0
        end = len(key) - 1
        while index < end:
            names[key[index:]] = at + index
            index += key[index] + 1
