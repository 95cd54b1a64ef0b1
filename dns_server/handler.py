"""A query's way through the server: read, look for a finished response, answer, write, count and log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from dns_server.book import Book
from dns_server.edns import Edns
from dns_server.query_log import Cell, QueryLog
from dns_server.responses import Finished, Responses
from dns_server.roles import Authority as Authority
from dns_server.roles import Role as Role
from dns_server.rrl import Limiter, Verdict
from dns_server.rules import errors, types
from dns_server.rules.chaos import Chaos
from dns_server.rules.direct import Direct, Directly
from dns_server.rules.query import Query, parse
from dns_server.rules.response import limit, with_options, write
from dns_server.rules.rrset import Answer
from dns_server.signed import SignedQueries
from dns_server.ways import Hindered, Operation, Response, Transfer, Unhindered
from stack.telemetry.exchange import Exchange

TRUNCATED: Final = 0x02
"""TC in a message's third octet."""
STREAMS = frozenset({"tcp", "tls", "https"})
_TRANSFERS = frozenset({types.AXFR, types.IXFR})


class Handler:
    """One server. `answer` is called for every message, whatever it came over."""

    def __init__(
        self,
        role: Role,
        *,
        payload: int,
        responses: int,
        response_bytes: int = 96 << 20,
        now: Callable[[], float],
        log: QueryLog,
        edns: Edns | None = None,
        chaos: Chaos | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self.role = role
        self._recursion = role.recursion
        self._allows = role.allows
        self._payload = payload
        self._now = now
        self._log = log
        self._finished = log.finished
        self.told = log.burst
        self._edns = edns
        self._repeated = edns.repeated if edns is not None and limiter is None and not edns.require else None
        self._chaos = chaos
        self._limiter = limiter
        self._wants_cookie = edns is not None and edns.require  # then the same question has two answers
        self._datagrams = Responses(0 if self._wants_cookie else responses, response_bytes // 2)
        self._streams = Responses(responses, response_bytes // 2)
        self._directly = Directly(payload) if isinstance(role, Authority) and limiter is None else None
        self._book = role.book if isinstance(role, Authority) else Book()
        self.hindered: Hindered | None = None
        """Set while there are faults: it answers in place of this, or gives UNHINDERED."""
        self.operations: dict[int, Operation] = {}
        """By opcode; all others are NOTIMP."""
        self.transfer: Transfer | None = None
        self.signed: SignedQueries | None = None

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
            if self._limiter is not None:
                response = message[:2] + tail
                return self._give(response, known.query, known.answer, client, protocol, began, exchange, known.cell)
            self._log.again(known, client, protocol, began, len(tail) + 2, exchange)
            return message[:2] + tail
        if allowed and self._repeated is not None and (again_for := self._repeated(message, client, responses.get)):
            response, known, vouched = again_for
            self._log.again(known, client, protocol, began, len(response), exchange, vouched=vouched)
            return response
        if self._directly is not None and (made := self._direct(message, protocol)) is not None:
            tail, type, rcode, word, zone, labels = made
            cell = self._log.cell_of(type, rcode, protocol, word, zone)
            again = responses.again(key)
            if (again or exchange is not None) and (query := parse(message)) is not None:
                known = Finished(tail, query, Answer(word, rcode, authoritative=True), cell)
                if again:
                    responses.keep(key, known)
            if exchange is not None and known is not None:
                self._log.again(known, client, protocol, began, len(tail) + 2, exchange)
            else:
                self._log.bare(message, labels, client, protocol, began, len(tail) + 2, cell, rcode)
            return message[:2] + tail
        query = parse(message)
        if query is None:
            self._log.ignored += 1
            return None
        if query.rcode == types.NOTIMP and (operation := self.operations.get(message[2] >> 3 & 0xF)) is not None:
            return operation(message, client, protocol)
        if query.type in _TRANSFERS and self.transfer is not None and not query.rcode:
            return self.transfer(query, message, client, protocol)
        if query.tsig is not None and self.signed is not None and not query.rcode:
            return self.signed(query, message, client, protocol, began, exchange)
        options = b""
        if query.options:
            if self._edns is not None and query.rcode != types.BADVERS:
                options = self._edns.options(query, client, protocol)
            if query.bare and allowed and not query.rcode and not query.empty:
                # the options are in no finished response: those of the client's cookie are its own
                key = message[2 : query.bare] + b"\0\0"
                if (known := responses.get(key)) is not None:
                    response, cell = message[:2] + known.tail, known.cell
                    return self._give(response, query, known.answer, client, protocol, began, exchange, cell, options)
            else:
                key = b""
        found = self.find(query, protocol, allowed=allowed)
        if not isinstance(found, Answer):
            if exchange is not None:
                exchange.mark("cache", "miss")  # here and now: what follows is the walk's time
            return self._later(query, found, client, protocol, began, exchange, options)
        response = self.write(query, found, protocol)
        cell = self._log.cell(query, found, protocol, truncated=bool(response[2] & TRUNCATED))
        if allowed and key and query.tsig is None:
            # what the options said, as that a cookie is right, is true of this client alone
            asked = parse(message[:2] + key) if query.options else query
            responses.keep(key, Finished(response[2:], asked or query, found, cell))
        return self._give(response, query, found, client, protocol, began, exchange, cell, options)

    def _direct(self, message: bytes, protocol: str) -> Direct | None:
        assert self._directly is not None
        book, stream = self._book, protocol in STREAMS
        if book.absent or (self._wants_cookie and not stream):
            return None
        return self._directly.answer(message, book.zones, stream=stream)

    def find(self, query: Query, protocol: str, *, allowed: bool) -> Answer | Awaitable[Answer]:
        if query.rcode:
            return errors.answer(query.rcode)
        if not allowed:
            return errors.answer(types.REFUSED, errors.NOT_ALLOWED)
        if query.empty:
            return Answer("answered")
        if self._wants_cookie and protocol == "udp" and not query.vouched:
            return errors.over_tcp()
        if query.cls == types.CH and self._chaos is not None:
            return self._chaos.answer(query)
        return self.role.answer(query)

    async def _later(
        self,
        query: Query,
        found: Awaitable[Answer],
        client: str,
        protocol: str,
        began: float,
        exchange: Exchange | None,
        options: bytes,
    ) -> bytes | None:
        answer = await found
        response = self.write(query, answer, protocol)
        return self._give(response, query, answer, client, protocol, began, exchange, None, options)

    def _give(
        self, response: bytes, query: Query, answer: Answer, client: str, protocol: str, began: float,
        exchange: Exchange | None, cell: Cell | None, options: bytes = b"",
    ) -> bytes | None:  # fmt: skip
        """The response with the options that are this client's, if it may have it, and tell of it."""
        id = response[:2]
        response = self._complete(response, query, answer, protocol, options)
        if cell is None:
            cell = self._log.cell(query, answer, protocol, truncated=bool(response[2] & TRUNCATED))
        if self._limiter is not None and protocol == "udp" and not query.vouched:
            verdict = self._limiter.judge(client, query.key, answer)
            if verdict is not Verdict.SENT:
                answer, response = errors.limited(answer), b""
                if verdict is Verdict.TRUNCATED:
                    written = self.write(query, answer, protocol)
                    response = id + self._complete(written, query, answer, protocol, options)[2:]
                cell = self._log.cell(query, answer, protocol, truncated=bool(response), made=False)
        self._finished(query, answer, client, protocol, began, len(response), exchange, cell)
        return response or None

    def write(self, query: Query, answer: Answer, protocol: str, without: int = 0) -> bytes:
        size = limit(query, stream=protocol in STREAMS, payload=self._payload) - without
        return write(query, answer, size=size, recursion=self._recursion, payload=self._payload)

    def _complete(self, response: bytes, query: Query, answer: Answer, protocol: str, options: bytes) -> bytes:
        """With the options that are for this client alone."""
        if not options and not query.padded:
            return response
        if len(response) + len(options) > limit(query, stream=protocol in STREAMS, payload=self._payload):
            response = self.write(query, answer, protocol, len(options))
        return with_options(response, query, answer, options)

    def respond(
        self, query: Query, answer: Answer, client: str, protocol: str, began: float, exchange: Exchange | None
    ) -> bytes | None:
        """With an answer that somebody else made."""
        options = self._edns.options(query, client, protocol) if self._edns is not None and query.options else b""
        response = self.write(query, answer, protocol)
        return self._give(response, query, answer, client, protocol, began, exchange, None, options)

    def tell(
        self, query: Query, answer: Answer, client: str, protocol: str, began: float, size: int,
        exchange: Exchange | None,
    ) -> None:  # fmt: skip
        """Of a response that somebody else gave."""
        self._finished(query, answer, client, protocol, began, size, exchange)

    # Bursts of datagrams (stack.net.dns_datagrams).

    def look(self) -> Callable[[bytes], Finished | None] | None:
        """Where finished responses stand that a burst of datagrams may give without a call for each; None while each
        query has to be answered for itself: because of a fault, or for who asks."""
        if self.hindered or self._allows or self._limiter:
            return None
        responses, epoch = self._datagrams, self.role.epoch()
        if epoch is not responses.epoch:
            responses.flush(epoch)
        return responses.look

    def wants_clients(self) -> bool:
        return self._log.lines.enabled

    def flush(self) -> None:
        self._datagrams.flush(None)
        self._streams.flush(None)

    def statistics(self) -> dict[str, object]:
        return {"responses": {"datagrams": len(self._datagrams), "streams": len(self._streams)}}
