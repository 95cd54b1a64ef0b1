"""One request to the origin and its response, with the times that its age is computed from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

from cdn_edge.rules.freshness import age_value
from cdn_edge.rules.judging import Policy
from stack.clock import Clock
from stack.http.forwarding import inbound
from stack.http.message import Field, Request, Response, combined, without
from stack.http.structured_parsing import is_list
from stack.net.date import CurrentDate
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward

Send = Callable[[Request, Exchange], Awaitable[Response]]
"""The pool's, or a scripted origin's in a test."""


@dataclass(slots=True)  # not frozen: see Asked
class Fetched:
    response: Response
    requested: float
    """Monotonic seconds (RFC 9111 §4.2.3 request_time)."""
    received: float
    """Monotonic seconds (response_time)."""
    at: float
    """Unix seconds of `received`."""
    age: int = 0
    """Age of the response as it came (§5.1)."""
    validated: bool = False
    """A 304 that holds for what is stored."""
    note: str = ""
    """What is to be said of its being stored, besides that it is: a word of the step `store`."""

    def as_validation(self) -> Fetched:
        return replace(self, validated=True)


class Origin:
    """What stands behind the edge."""

    def __init__(self, send: Send, *, name: str, upstream: str, clock: Clock, policy: Policy) -> None:
        self._send = send
        self._pseudonym = name.encode("ascii")
        self.upstream = upstream
        self._clock = clock
        self._select = policy.select
        self._keyed = policy.keying.names
        self._date = CurrentDate(clock)

    async def fetch(
        self, request: Request, exchange: Exchange, *, drop: Collection[bytes] = (), add: Collection[Field] = ()
    ) -> Fetched:
        """`drop` are names of the client's fields that do not go on unless they are in the key, `add` is sent besides.

        Raises HopError.
        """
        sent = onward(request, exchange, self._pseudonym)
        if drop:
            sent.fields = [field for field in sent.fields if field[0] not in drop or field[0] in self._keyed]
        self._select.ask(sent.fields)
        sent.fields.extend(add)
        exchange.upstream = self.upstream
        exchange.attempts += 1
        requested = self._clock.now()
        response = await self._send(sent, exchange)
        at = self._clock.time()
        inbound(response, pseudonym=self._pseudonym, date=self._date())
        behind = combined(response.fields, b"cache-status")
        if behind is not None and not (behind and is_list(behind)):
            # RFC 9651 §4.2: else nobody could read this cache's own member either
            response.fields = without(response.fields, b"cache-status")
        return Fetched(response, requested, self._clock.now(), at, age_value(response.fields))
