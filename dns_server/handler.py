"""A query's way through the server: read, look for a finished response, answer, write, count and log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from dns_server.book import Book
from dns_server.query_log import QueryLog
from dns_server.responses import Finished, Responses
from dns_server.rules import authority, types
from dns_server.rules.query import Query, parse
from dns_server.rules.response import limit, write
from dns_server.rules.rrset import Answer
from stack.telemetry.exchange import Exchange

STREAMS = frozenset({"tcp", "tls", "https"})
_TRANSFERS = frozenset({types.AXFR, types.IXFR})


Operation = Callable[[bytes, str, str], bytes | Awaitable[bytes | None] | None]
"""Answers a message of another opcode than QUERY: (message, client, protocol). Never raises."""


Transfer = Callable[[Query, bytes, str, str], bytes | AsyncIterator[bytes]]
"""Answers AXFR and IXFR: (query, message, client, protocol). Never raises."""


class Unhindered:
    """No fault is met: the query goes its usual way."""


UNHINDERED: Final = Unhindered()
Response = bytes | Awaitable[bytes | None] | AsyncIterator[bytes] | None
Hindered = Callable[[bytes, str, str, "Exchange | None"], "Response | Unhindered"]
"""Gives what `answer` gives, or UNHINDERED."""


class Role(Protocol):
    """What the server is: it gives the answer, at once or after a walk."""

    recursion: bool
    """Whether it recurses: RA in its responses."""

    allows: Callable[[str], bool] | None
    """Whether a client of that address is answered; None: everybody is."""

    def answer(self, query: Query) -> Answer | Awaitable[Answer]: ...

    def epoch(self) -> object:
        """Finished responses hold while this is the same: they are made anew when it changes."""


class Authority:
    """Answers from the zones of a book; nobody sees half of a change."""

    recursion = False
    allows: Callable[[str], bool] | None = None

    def __init__(self, book: Book) -> None:
        self.book = book

    def answer(self, query: Query) -> Answer:
        if query.cls not in (types.IN, types.CLASS_ANY):
            return Answer("refused", types.REFUSED)
        if self.book.absent and self.book.why_absent(query.key) is not None:
            return Answer("servfail", types.SERVFAIL)
        answer = authority.answer(self.book.zones, query.name, query.key, query.type)
        if query.cls == types.CLASS_ANY:
            answer.authoritative = False  # RFC 1035 §6.2: it does not cover all classes
        return answer

    def epoch(self) -> object:
        return self.book.zones


class Handler:
    """One server. `answer` is called for every message, whatever it came over."""

    def __init__(
        self,
        role: Role,
        *,
        payload: int,
        responses: int,
        now: Callable[[], float],
        log: QueryLog,
    ) -> None:
        self.role = role
        self._recursion = role.recursion
        self._allows = role.allows
        self._payload = payload
        self._now = now
        self._log = log
        self._finished = log.finished
        self._datagrams = Responses(responses)
        self._streams = Responses(responses)
        self.hindered: Hindered | None = None
        """Set while there are faults: it answers in place of this, or gives UNHINDERED."""
        self.operations: dict[int, Operation] = {}
        """By opcode; all others are NOTIMP."""
        self.transfer: Transfer | None = None

    def answer(self, message: bytes, client: str, protocol: str, exchange: Exchange | None = None) -> Response:
        """The response, or an awaitable of it when the resolver has to walk; the messages of a transfer, over streams
        alone; None when there is none. Never raises.

        `exchange` is marked where there is one: that of DNS over HTTPS.
        """
        if self.hindered is not None:
            hindered = self.hindered(message, client, protocol, exchange)
            if not isinstance(hindered, Unhindered):
                return hindered
        began = self._now()
        responses = self._streams if protocol in STREAMS else self._datagrams
        epoch = self.role.epoch()
        if epoch is not responses.epoch:
            responses.flush(epoch)
        # everything behind the id: name, letter case, flags and EDNS are all part of the key, so all echoes are right
        key = message[2:]
        allowed = self._allows is None or self._allows(client)
        known = responses.get(key) if allowed else None
        if known is not None:
            tail = known.tail
            self._finished(known.query, known.answer, client, protocol, began, len(tail) + 2, exchange, known.cell)
            return message[:2] + tail
        query = parse(message)
        if query is None:
            self._log.ignored += 1
            return None
        if query.rcode == types.NOTIMP and (operation := self.operations.get(message[2] >> 3 & 0xF)) is not None:
            return operation(message, client, protocol)
        if query.type in _TRANSFERS and self.transfer is not None and not query.rcode:
            return self.transfer(query, message, client, protocol)
        found: Answer | Awaitable[Answer]
        if query.rcode:
            found = Answer(types.rcode_name(query.rcode).lower(), query.rcode)
        elif not allowed:
            found = Answer("refused", types.REFUSED)
        else:
            found = self.role.answer(query)
        if not isinstance(found, Answer):
            if exchange is not None:
                exchange.mark("cache", "miss")  # here and now: what follows is the walk's time
            return self._later(query, found, client, protocol, began, exchange)
        response = self.write(query, found, protocol)
        cell = self._log.cell(query, found, protocol)
        self._finished(query, found, client, protocol, began, len(response), exchange, cell)
        if allowed and not query.options:  # a cookie or the like is new every time: not worth a place
            responses.keep(key, Finished(response[2:], query, found, cell))
        return response

    async def _later(
        self,
        query: Query,
        found: Awaitable[Answer],
        client: str,
        protocol: str,
        began: float,
        exchange: Exchange | None,
    ) -> bytes | None:
        answer = await found
        response = self.write(query, answer, protocol)
        self._finished(query, answer, client, protocol, began, len(response), exchange)
        return response

    def write(self, query: Query, answer: Answer, protocol: str) -> bytes:
        size = limit(query, stream=protocol in STREAMS, payload=self._payload)
        return write(query, answer, size=size, recursion=self._recursion, payload=self._payload)

    def tell(
        self, query: Query, answer: Answer, client: str, protocol: str, began: float, size: int,
        exchange: Exchange | None,
    ) -> None:  # fmt: skip
        """Of an answer that somebody else gave."""
        self._finished(query, answer, client, protocol, began, size, exchange)

    # Bursts of datagrams (stack.net.dns_datagrams).

    def look(self) -> Callable[[bytes], Finished | None] | None:
        """Where finished responses stand that a burst of datagrams may give without a call for each; None while each
        query has to be answered for itself: because of a fault, to write its line, or for who asks."""
        if self.hindered is not None or self._allows is not None or self._log.lines.enabled:
            return None
        responses, epoch = self._datagrams, self.role.epoch()
        if epoch is not responses.epoch:
            responses.flush(epoch)
        return responses.look

    def told(self, count: int, seconds: float) -> None:
        self._log.told(count, seconds)

    def flush(self) -> None:
        self._datagrams.flush(None)
        self._streams.flush(None)

    def statistics(self) -> dict[str, object]:
        return {"responses": {"datagrams": len(self._datagrams), "streams": len(self._streams)}}
