"""What every connection of one server shares: the service, the limits, the clock, the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable
from random import Random
from typing import Protocol

from stack.clock import Clock
from stack.config.base import Limits, Timeouts
from stack.errors import HopError
from stack.http import problem
from stack.http.field_lines import KnownLines
from stack.http.forwarding import CLIENT_CERT
from stack.http.message import Field, Fields, Peer, Request, Response, TlsInfo, without
from stack.http.trust import Trust
from stack.net.date import CurrentDate
from stack.net.room import Connections, Room
from stack.net.service import Service
from stack.net.short import Short
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import identify

log = logging.getLogger("hopstack.server")


class Connection(Protocol):
    """A downstream connection as its server sees it."""

    peer: Peer
    deadline: float
    """Monotonic seconds at which `expire` is due; infinity for none."""

    def expire(self) -> None: ...

    def drain(self) -> None:
        """Finish what is in flight, then close; what is idle stays for `timeouts.linger`, or says GOAWAY."""

    def abort(self) -> None: ...


class Context:
    """One server's part in every connection. `finished` is called once for every exchange, after its last byte."""

    def __init__(
        self,
        service: Service,
        *,
        name: str,
        clock: Clock,
        random: Random,
        tasks: Tasks,
        limits: Limits,
        timeouts: Timeouts,
        trust: Trust,
        finished: Iterable[Callable[[Exchange], object]] = (),
        sample: Callable[[Exchange], object] | None = None,
        upgrades: Iterable[str] = (),
    ) -> None:
        self.service = service
        self.short: Short | None = None
        """The short way of the plainest requests, where the service offers one."""
        self.name = name
        self.clock = clock
        self.now = clock.now
        self.random = random
        self.tasks = tasks
        self.limits = limits
        self.timeouts = timeouts
        self.trust = trust
        self.finished = tuple(finished)
        self.sample = sample
        """Decides whether an exchange is exported, before the next hop is told. None: nothing is."""
        self.room = Room(limits, trust, clock)
        self.connections = Connections(self.room)
        self.upgrades = frozenset(name.encode("ascii") for name in upgrades)
        """Protocols that a tunnel may be asked for."""
        self.tunnels = 0
        """Tunnels that are open."""
        self.in_flight = 0
        self.draining = False
        self.connection_counts = {"h1": 0, "h2": 0}
        """Connections ever opened, by protocol."""
        self.date = CurrentDate(clock)
        self.lines = KnownLines()
        self.error_fields: Fields = []
        """What this hop says on every response, also on those that the engine makes."""

    def begin(self, request: Request) -> Exchange:
        """The exchange of a request whose head is complete."""
        peer = request.peer
        if peer is not None and peer.tls is not None and peer.tls.client is not None and not peer.trusted:
            # RFC 9440 §2.4: its own word about it counts for nothing, here and on the next hop
            request.fields = [*without(request.fields, *CLIENT_CERT), (CLIENT_CERT[0], peer.tls.client.field)]
            request.noted = None  # as they were sent
        exchange = Exchange(self.name, self.now, request)
        identify(exchange, request, self.trust, self.random)
        if self.sample is not None:
            self.sample(exchange)
        self.in_flight += 1
        return exchange

    def end(self, exchange: Exchange) -> None:
        """The last byte of the response is written, or nobody will read it. Once for every `begin`."""
        self.in_flight -= 1
        exchange.ended = self.now()
        for callback in self.finished:
            callback(exchange)

    def error(self, error: BaseException, request: Request | None, exchange: Exchange | None) -> Response:
        """The problem document for what a service raised; anything but a HopError is our own fault and is logged."""
        if not isinstance(error, HopError):
            request_id = exchange.request_id.decode("latin-1") if exchange is not None else "-"
            log.error("the handler failed: %r, request %s", request, request_id, exc_info=error)
            error = HopError(private=repr(error))
        if exchange is not None:
            exchange.proxy_status = error.proxy_status
            exchange.detail = error.private or error.detail
        response = problem.response(
            error,
            hop=self.name,
            accept=request.get(b"accept") if request is not None else None,
            request_id=exchange.request_id if exchange is not None else b"",
        )
        response.fields += self.error_fields
        return response

    def added(self, response: Response, exchange: Exchange, given: Container[bytes] | None = None) -> Fields:
        """The fields that the engine adds to a final response: Date, X-Request-ID, this hop's Server-Timing.

        `given`: the names of the response's fields, for who has them at hand.
        """
        added: list[Field] = []
        block = response.block
        if given is None:
            given = dict(response.fields)
        if b"date" not in given and (block is None or not block.dated):
            added.append((b"date", self.date()))
        if b"x-request-id" not in given:
            added.append((b"x-request-id", exchange.request_id))
        if exchange.marks:
            added.append((b"server-timing", exchange.server_timing()))
        return added

    def peer(self, address: str, port: int, *, local: tuple[str, int] = ("", 0), tls: TlsInfo | None = None) -> Peer:
        return Peer(address, port, local=local, tls=tls, trusted=self.trust.believes(address))
