"""A query taken from its bytes: header, question and OPT, in one pass; nothing else of a message is of use here."""

from __future__ import annotations

from struct import Struct
from typing import Final

from dns_server.rules import types

_HEADER: Final = Struct(">HHHHHH")
_OPTION: Final = Struct(">HH")
_RR: Final = Struct(">HHIH")
QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
AD: Final = 0x0020
CD: Final = 0x0010
OPCODE: Final = 0x7800

PLAIN_UDP: Final = 512
"""Octets of a response over UDP to a client without EDNS (RFC 1035 §4.2.1)."""


class Query:
    """A query. `rcode` other than 0 says that it is answered with that and nothing else."""

    __slots__ = (
        "bare",
        "cls",
        "dnssec_ok",
        "edns",
        "empty",
        "flags",
        "id",
        "keeps_alive",
        "key",
        "name",
        "options",
        "padded",
        "payload",
        "question",
        "rcode",
        "tsig",
        "type",
        "vouched",
    )

    def __init__(self, id: int, flags: int, rcode: int = 0) -> None:
        self.id = id
        self.flags = flags
        self.rcode = rcode
        self.name = b""
        """The name asked, as written."""
        self.key = b""
        self.type = 0
        self.cls = 0
        self.question = b""
        """To be echoed octet for octet; empty when it could not be read."""
        self.edns = False
        self.dnssec_ok = False
        self.payload = PLAIN_UDP
        self.options: tuple[tuple[int, bytes], ...] = ()
        self.bare = 0
        """Where the options' length stands, when nothing follows the OPT: up to here, and then two zeros, the query
        is the same without its options."""
        self.tsig: int | None = None
        """Where the TSIG record begins, the last of the message (RFC 8945 §5.1)."""
        self.empty = False
        """It has no question at all. That is FORMERR, but for a question about a cookie (RFC 7873 §5.4)."""
        self.vouched = False
        """A cookie says that the client is where it says it is (RFC 7873 §5.2.3)."""
        self.padded = False
        """The client hides how long its messages are (RFC 7830)."""
        self.keeps_alive = False
        """The client asks how long its connection may be idle (RFC 7828)."""

    @property
    def recursion_desired(self) -> bool:
        return bool(self.flags & RD)


def parse(message: bytes) -> Query | None:
    """The query in `message`; None for what gets no answer at all. Never raises.

    Less than a header cannot be answered, and an answer to a response would start a loop (RFC 8906 §3.1.4). Another
    opcode than QUERY is NOTIMP, whatever follows: an operation that is known reads it itself.
    """
    if len(message) < 12:
        return None
    id, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    if flags & QR:
        return None
    query = Query(id, flags)
    end = 12
    if questions == 1:
        at = 12
        try:
            while length := message[at]:
                if length > 63:  # the first name of a message has nothing to point back to
                    return _broken(query)
                at += length + 1
        except IndexError:
            return _broken(query)
        at += 1
        end = at + 4
        if at > 12 + 255 or end > len(message):
            return _broken(query)
        query.name = name = message[12:at]
        query.key = name.lower()
        query.type = message[at] << 8 | message[at + 1]
        query.cls = message[at + 2] << 8 | message[at + 3]
        query.question = message[12:end]
    elif questions:  # RFC 9619 §4
        return _broken(query)
    if answers or authorities or additionals:
        query.rcode = _records(query, message, end, answers + authorities, additionals)
    elif end != len(message):
        query.rcode = types.FORMERR
    if flags & OPCODE:
        query.rcode = types.NOTIMP
        query.question = b""  # what stands there is the operation's to know
    elif not query.rcode:
        if not questions:
            query.empty = True
            query.rcode = types.FORMERR
        elif query.type in (types.OPT, types.NXNAME):  # no data that could be asked for: RFC 6891 §6.1.1, 9824 §3.5
            query.rcode = types.FORMERR
    return query


def _broken(query: Query) -> Query:
    query.rcode = types.NOTIMP if query.flags & OPCODE else types.FORMERR
    return query


def _records(query: Query, message: bytes, at: int, before: int, additionals: int) -> int:
    """Read OPT, find TSIG, pass over the rest: a query may carry records. Gives the rcode."""
    size = len(message)
    count = before + additionals
    opt: tuple[int, int, int, int] | None = None
    for index in range(count):
        start = at
        try:
            while length := message[at]:
                if length >= 0xC0:
                    at += 1
                    break
                if length > 63:
                    return types.FORMERR
                at += length + 1
        except IndexError:
            return types.FORMERR
        at += 1
        if at + 10 > size:
            return types.FORMERR
        type, cls, ttl, rdlength = _RR.unpack_from(message, at)
        at += 10 + rdlength
        if at > size:
            return types.FORMERR
        if type == types.OPT:
            # RFC 6891 §6.1.1: one OPT, in the additional section, owned by the root
            if opt is not None or index < before or message[start]:
                return types.FORMERR
            opt = (cls, ttl, at - rdlength, at)
        elif type == types.TSIG:
            if index + 1 < count or index < before:  # RFC 8945 §5.1: the last of the additional section
                return types.FORMERR
            query.tsig = start
    if at != size:
        return types.FORMERR
    return _edns(query, message, *opt) if opt is not None else types.NOERROR


def _edns(query: Query, message: bytes, payload: int, ttl: int, at: int, end: int) -> int:
    if end == len(message):
        query.bare = at - 2
    if at < end:
        options = []
        while at < end:
            if at + 4 > end:
                return types.FORMERR
            code, length = _OPTION.unpack_from(message, at)
            at += 4 + length
            if at > end:
                return types.FORMERR
            options.append((code, message[at - length : at]))
        query.options = tuple(options)
    query.edns = True
    query.payload = max(payload, PLAIN_UDP)  # RFC 6891 §6.2.3
    query.dnssec_ok = bool(ttl & 0x8000)  # every other flag is ignored (§6.1.4)
    return types.BADVERS if ttl >> 16 & 0xFF else types.NOERROR  # §6.1.3
