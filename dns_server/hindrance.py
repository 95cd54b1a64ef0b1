"""Faults on what a DNS server answers: they stand in the handler's way while there are any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING

from dns_server.rules import alter, edns, types
from dns_server.rules.edns import ExtendedError
from dns_server.rules.names import to_text
from dns_server.rules.query import Query, parse
from dns_server.rules.rrset import Answer
from dns_server.ways import UNHINDERED, Unhindered
from stack.errors import CutOff
from stack.faults.active import Active, Question
from stack.net.dns_streams import ConnectionCut, Trickle

if TYPE_CHECKING:
    from dns_server.handler import Handler
    from dns_server.query_log import QueryLog
    from stack.faults.registry import Faults
    from stack.telemetry.exchange import Exchange

Response = bytes | None


def question(query: Query, client: str = "", proto: str = "") -> Question:
    """What a fault looks at."""
    return Question(asked_name(query.key), types.type_name(query.type), client, proto)


def asked_name(key: bytes) -> str:
    text = to_text(key)
    return text if text == "." else text[:-1]


class Hindrance:
    """An `Asked` of the registry."""

    def __init__(self, faults: Faults, handler: Handler, log: QueryLog) -> None:
        self.faults, self.handler, self.log = faults, handler, log
        self._actives: Sequence[Active] = ()

    def use(self, actives: Sequence[Active]) -> None:
        self._actives = actives
        self.handler.hindered = self.answer if actives else None

    def answer(
        self, message: bytes, client: str, protocol: str, exchange: Exchange | None
    ) -> Response | Awaitable[Response] | AsyncIterator[bytes] | Unhindered:
        """As `Handler.answer`. What is not understood, refused anyway or no query is not touched."""
        query, allows = parse(message), self.handler.role.allows
        if query is None or query.rcode or (allows is not None and not allows(client)):
            return UNHINDERED
        is_transfer = query.type in (types.AXFR, types.IXFR)
        if query.tsig is not None and self.handler.signed is not None and not is_transfer:
            return UNHINDERED  # it comes again, without its signature
        hits = self.faults.met(self._actives, question(query, client, protocol))
        if not hits:
            return UNHINDERED
        transfer = self.handler.transfer if is_transfer else None
        met = _Met(self, query, hits, client, protocol, self.faults.clock.now(), exchange)
        silent = met.silent()
        if silent is not None and protocol == "udp" and silent.fault.latency is None:
            met.tell_of_silence(silent)
            return None
        if transfer is not None and silent is None and not met.replaces:
            return met.transferred(transfer(query, message, client, protocol))
        if silent is None and not any(active.fault.latency for active in hits) and met.rate() is None:
            found = met.found()
            return met.written(found) if isinstance(found, Answer) else met.later(found)
        return met.slowly()


class _Met:
    """One query and the faults that it met."""

    __slots__ = (
        "_began",
        "_client",
        "_exchange",
        "_faults",
        "_handler",
        "_hits",
        "_log",
        "_marks",
        "_protocol",
        "_query",
    )

    def __init__(
        self,
        hindrance: Hindrance,
        query: Query,
        hits: Sequence[Active],
        client: str,
        protocol: str,
        began: float,
        exchange: Exchange | None,
    ) -> None:
        self._faults, self._handler, self._log = hindrance.faults, hindrance.handler, hindrance.log
        self._query, self._hits = query, hits
        self._client, self._protocol, self._began, self._exchange = client, protocol, began, exchange
        self._marks: list[tuple[str, str]] = []
        """(name of the fault, what it did)"""

    def note(self, active: Active, kind: str) -> None:
        self._faults.note(active, self._exchange, kind)  # here and now; the log has it from the answer
        self._marks.append((active.fault.name, kind))

    def silent(self) -> Active | None:
        return next((active for active in self._hits if active.fault.drop or active.fault.refused), None)

    def rate(self) -> tuple[Active, int] | None:
        """The narrowest, of a stream."""
        if self._protocol not in ("tcp", "tls"):
            return None
        rates = [(active, active.fault.down or active.fault.bandwidth) for active in self._hits]
        return min(((active, rate) for active, rate in rates if rate), key=lambda found: found[1], default=None)

    def tell_of_silence(self, active: Active) -> None:
        self.note(active, "drop" if active.fault.drop or self._protocol == "udp" else "refused")
        answer = self._marked(Answer("dropped", types.NO_RCODE))
        self._log.finished(self._query, answer, self._client, self._protocol, self._began, 0, self._exchange)

    def found(self) -> Answer | Awaitable[Answer]:
        """What is to be written: of the fault's making, or what the server would have said."""
        for active in self._hits:
            fault = active.fault
            if fault.rcode:
                self.note(active, "rcode")
                return alter.with_rcode(
                    types.RCODE_NUMBERS[fault.rcode], authoritative=not self._handler.role.recursion
                )
            if fault.lame:
                self.note(active, "lame")
                return alter.lame()
            if fault.truncate is not None:
                self.note(active, "truncate")
                return alter.truncated(authoritative=not self._handler.role.recursion)
        found = self._handler.find(self._query, self._protocol, allowed=True)
        if not isinstance(found, Answer) and self._exchange is not None:
            self._exchange.mark("cache", "miss")  # what follows is the walk's time
        return found

    @property
    def replaces(self) -> bool:
        """Whether the answer is of a fault's making."""
        faults = [active.fault for active in self._hits]
        return any(fault.rcode or fault.lame or fault.truncate is not None for fault in faults)

    async def transferred(self, messages: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A zone transfer, that only a delay can be put on."""
        await self._wait()
        if isinstance(messages, bytes):
            yield messages
            return
        async for message in messages:
            yield message

    async def _wait(self) -> None:
        for active in self._hits:
            if active.fault.latency is not None:
                await self._faults.wait(active.delay())
                self.note(active, "latency")

    async def later(self, found: Awaitable[Answer]) -> Response:
        return self.written(await found)

    def written(self, answer: Answer) -> Response:
        for active in self._hits:
            if active.fault.wrong_address:
                changed = alter.with_addresses(answer, active.fault.wrong_address)
                if changed is not None:
                    answer = changed
                    self.note(active, "wrong-address")
        answer = self._marked(answer)
        return self._handler.respond(self._query, answer, self._client, self._protocol, self._began, self._exchange)

    async def slowly(self) -> Response:
        await self._wait()
        if (silent := self.silent()) is not None:
            await self._nothing(silent)
            return None
        narrow = self.rate()
        if narrow is not None:
            self.note(narrow[0], "bandwidth")
        found = self.found()
        response = self.written(found if isinstance(found, Answer) else await found)
        if narrow is None or response is None:
            return response
        slow = Trickle(response)
        slow.rate, slow.wait = narrow[1], self._faults.wait
        return slow

    async def _nothing(self, active: Active) -> None:
        """A datagram is lost, a connection says nothing or is reset; a request of HTTP waits as for a black hole."""
        self.tell_of_silence(active)
        if self._protocol == "udp":
            return
        if self._protocol == "https":
            if active.fault.drop:
                await self._faults.swallow(active, None)
            raise self._faults.error(CutOff, active, self._faults.name, "never answered")
        if active.fault.refused:
            raise ConnectionCut

    def _marked(self, answer: Answer) -> Answer:
        """Its own, for what a role gives may be anybody's."""
        if not self._marks:
            return answer
        answer = alter.copied(answer)
        answer.marks = (*(("fault", kind) for _, kind in self._marks), *answer.marks)
        answer.faults = tuple(dict.fromkeys((*(name for name, _ in self._marks), *answer.faults)))
        answer.explained = ExtendedError(edns.OTHER, f"injected: {', '.join(answer.faults)}")
        return answer
