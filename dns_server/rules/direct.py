"""The commonest questions answered by slices: a bare query for records that a zone has ready, or has not at all.

Everything else (aliases, cuts, wildcards, names to compress, options, errors) is left to `query`, `authority` and
`response`; where this answers, it answers as they do, octet for octet.
"""

from __future__ import annotations

from typing import Final

from dns_server.rules import types
from dns_server.rules.names import MAX_NAME
from dns_server.rules.packed import CHILDREN, records
from dns_server.rules.query import PLAIN_UDP
from dns_server.rules.response import TCP_SIZE
from dns_server.rules.zone import Zones

Direct = tuple[bytes, int, int, str, bytes, int]
"""The response behind its id, the type that was asked, the rcode; the word, the zone and how many labels were asked for
log and metrics."""

_NO_NAMES: Final = frozenset((types.A, 13, types.TXT, types.AAAA, 29, 37, 44, 52, 53, 61, 99, 108, 109, 256, 257))
"""Types without a name to compress or an address to add, and without a rule of their own at a cut."""
_ASKED: Final = {type.to_bytes(2, "big") + b"\0\1": type for type in _NO_NAMES}
"""Type and class IN."""
_ONE_QUESTION: Final = b"\0\1\0\0\0\0\0"
"""The counts, but the last octet of the additional records'."""


class Directly:
    """Answers so, from the zones that are handed in."""

    __slots__ = ("_opts", "_payload")

    def __init__(self, payload: int) -> None:
        self._payload = payload
        head = b"\0\0\x29" + payload.to_bytes(2, "big") + b"\0\0"
        self._opts = (head + b"\0\0\0\0", head + b"\x80\0\0\0")  # RFC 3225 §3: DO is copied

    def answer(self, message: bytes, zones: Zones, *, stream: bool) -> Direct | None:
        """None: it is not for here. Never raises."""
        size = len(message)
        # a query with opcode QUERY, and nothing in it but the question and perhaps OPT
        if size < 17 or message[2] & 0xF8 or message[4:11] != _ONE_QUESTION:
            return None
        starts: list[int] = []
        at = 12
        try:
            while length := message[at]:
                if length > 63:
                    return None
                starts.append(at - 12)
                at += length + 1
        except IndexError:
            return None
        at += 1
        end = at + 4
        type = _ASKED.get(message[at:end])
        if type is None or at > 12 + MAX_NAME:
            return None
        if not message[11] and end == size:
            opt, limit = b"", TCP_SIZE if stream else PLAIN_UDP
        elif message[11] == 1 and end + 11 == size and message[end : end + 3] == b"\0\0\x29":
            if message[end + 5] or message[end + 6] or message[end + 9] or message[end + 10]:
                return None  # an extended rcode, a version or options
            opt = self._opts[message[end + 7] >> 7]
            limit = TCP_SIZE if stream else min(max(message[end + 3] << 8 | message[end + 4], PLAIN_UDP), self._payload)
        else:
            return None
        key = message[12:at].lower()
        by_key = zones.by_key
        for start in starts:
            if (zone := by_key.get(key[start:])) is not None:
                break
        else:
            return None
        names = zone.packed
        node = names.get(key)
        if node is not None:
            if node[1]:
                return None  # at or below a cut or DNAME
            if (found := records(node, type)) is not None:
                body, count = found
                if end + len(body) + len(opt) > limit:
                    return None
                head = b"%c\0\0\1%c%c\0\0\0%c" % (0x84 | message[2] & 1, count >> 8, count & 0xFF, message[11])
                return head + message[12:end] + body + opt, type, types.NOERROR, "answered", zone.key, len(starts)
            if records(node, types.CNAME) is not None:
                return None
            rcode, word = types.NOERROR, "nodata"
        else:
            above = b""
            for start in starts:
                if above := names.get(key[start:], b""):
                    break
            if not above or above[1] or above[0] & ~CHILDREN:
                return None  # the closest encloser has a wildcard or DNAME, or there is a cut above
            rcode, word = types.NXDOMAIN, "nxdomain"
        hinged = zone.negative[1].hinged
        if hinged is None:
            return None
        pointer = 0xC00C + len(key) - len(zone.key)
        body = pointer.to_bytes(2, "big").join(hinged)
        if end + len(body) + len(opt) > limit:
            return None
        head = b"%c%c\0\1\0\0\0\1\0%c" % (0x84 | message[2] & 1, rcode, message[11])
        return head + message[12:end] + body + opt, type, rcode, word, zone.key, len(starts)
