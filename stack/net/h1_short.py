"""The short way on a downstream HTTP/1.1 connection: see `stack.net.short`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from stack.errors import HopError
from stack.http.field_lines import FieldParser
from stack.http.h1 import STATUS_LINES
from stack.http.message import Fields, Peer
from stack.net.context import Context
from stack.net.h1_patience import H1Patience
from stack.net.h1_sender import JOIN
from stack.telemetry.access_log import who

if TYPE_CHECKING:
    from stack.telemetry.brief import Who

_OK: Final = STATUS_LINES[200]
_ID: Final = b"x-request-id: "


class H1Short(H1Patience):
    """The part of `H1ServerConnection` that answers what can be answered without looking at fields."""

    __slots__ = ("_host", "_parser", "_seen", "_short", "_who", "scheme")

    def __init__(self, context: Context, peer: Peer, scheme: bytes) -> None:
        super().__init__(context, peer)
        self.scheme = scheme
        self._parser = FieldParser(None if peer.trusted else scheme, context.lines)
        self._seen = 0
        """Bytes of an unfinished head that were looked at."""
        self._short = None if peer.trusted else context.short  # what a trusted peer says of its client is in fields
        self._host: bytes | None = None
        """The host that `_who` speaks of, and that may be asked for here."""
        self._who: Who

    def _answer_briefly(self, data: bytes) -> int:
        """How many bytes of `data` were a request, which is answered; 0 when it has to go the way of all others."""
        short, ctx = self._short, self._ctx
        assert short is not None
        if short.service is not ctx.service:
            return 0  # somebody stands before it
        found = short.plain(data)
        if found is None:
            return 0
        target, host = found.groups()
        end = found.end()
        if (host != self._host and not self._knows(host)) or ctx.draining or b"%00" in target:
            return 0
        limits = ctx.limits
        if limits.requests and self._served + 1 >= limits.requests:
            return 0
        if end > short.small and (
            end > limits.head or len(target) > limits.target or data.count(b"\r\n", 0, end) - 2 > limits.fields
        ):
            return 0
        now = ctx.now
        began = now()
        answer = short.find(self.scheme, host, target, began, partial(self._fields, data, end))
        if answer is None:
            return 0
        stored, made, body = answer
        at = now()
        self._served += 1
        self._seen = 0
        ids = short.ids()
        if len(body) <= JOIN:
            self.transport.write(b"".join((_OK, stored, made, _ID, ids[16:], short.timing(at - began), body)))
        else:
            self.transport.write(b"".join((_OK, stored, made, _ID, ids[16:], short.timing(at - began))))
            self.transport.write(body)
        ended = now()
        self.deadline = ended + ctx.timeouts.idle
        short.brief((self._who, ids, target, began, at, ended, 200, len(body)))
        return end

    def _fields(self, data: bytes, end: int) -> Fields:
        """Of a head that was found plain."""
        lines = data[: end - 4].split(b"\r\n")
        del lines[0]
        return [field for field in self._parser.parse(lines) if field[0] != b"host"]

    def _knows(self, host: bytes) -> bool:
        """Whether this is the host of the last request that was read in full; it is remembered then."""
        if host != self._parser.authority:
            return False
        try:
            if (own := self.peer.authorities) is not None:
                own.check(host)
        except HopError:
            return False
        self._host, self._who = host, who(self.peer.address, self.scheme, host, self.peer.tls)
        return True
