"""One traced request, or several on one connection: resolve, connect, send, and make of it what was seen."""

from __future__ import annotations

import contextlib
import enum
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final, Literal

from stack.clock import Clock
from stack.config.listen import address
from stack.errors import ClosedEarly, ConfigError, HopError, ResponseIncomplete, ResponseMalformed
from stack.http.message import SAFE, Fields, Request, Response
from stack.http.upgrade import WEBSOCKET
from stack.net.pool import UpstreamConnection
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.net.tls import client_context
from stack.telemetry.exchange import Exchange
from stack.trace import connecting, dns, system
from stack.trace.connecting import BUFFER, Opener, Unreachable
from stack.trace.dns import Unresolved, Walk
from stack.trace.known import KnownStack
from stack.trace.model import Span, Trace
from stack.trace.target import Target
from stack.trace.waterfall import from_response, without_response

Http = Literal["auto", "1.1", "2"]
CLOSE: Final = b"\x88\x82\0\0\0\0\x03\xe8"
"""A client's Close with 1000 (RFC 6455 §5.5.1)."""
VERSIONS: Final = {b"1.0": "HTTP/1.0", b"1.1": "HTTP/1.1", b"2": "HTTP/2"}


class Failure(enum.Enum):
    """Why there is no whole response. The value is the exit status of `hopstack trace`."""

    NOTHING_RUNS = 3
    DNS = 4
    CONNECTION = 5
    TIMEOUT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to send, and how."""

    target: Target
    method: str = "GET"
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    edge: str = ""
    """An edge of the running stack, or HOST:PORT of anything; then DNS is not asked."""
    http: Http = "auto"
    cacert: Path | None = None
    """To be trusted instead of all others."""
    own_ca: Path | None = None
    """The authority of a stack that ran in this directory, or runs in containers: trusted besides the system's."""
    seconds: float = 30.0
    """For one request, from its name to its last byte."""
    repeat: int = 1


@dataclass(slots=True)
class Outcome:
    """One request as it went. Times in milliseconds since it began; `began` is Unix time."""

    order: Order
    began: float
    trace: Trace | None = None
    failure: Failure | None = None
    request: Request | None = None
    response: Response | None = None
    sent_ms: float = 0.0
    first_ms: float = 0.0
    last_ms: float = 0.0
    size: int = 0
    place: tuple[str, int] = ("", 0)
    protocol: str = ""
    spans: list[Span] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reused: bool = False


class Tracer:
    """Keeps its connection from one request to the next. `sink` takes the content; `stack` is what runs here."""

    def __init__(
        self,
        order: Order,
        stack: KnownStack | None,
        *,
        clock: Clock,
        random: Random,
        tasks: Tasks,
        nothing_runs: str = "no stack runs here",
        sink: Callable[[bytes], object] | None = None,
    ) -> None:
        self._order, self._stack = order, stack
        self._clock, self._random, self._tasks = clock, random, tasks
        self._nothing_runs, self._sink = nothing_runs, sink
        self._place = place_of(order.edge)
        self._asks_dns = self._place is None
        if order.edge and self._place is None:
            if stack is None:
                raise ConfigError(f"--edge {order.edge}: {nothing_runs}; `hopstack up` starts one")
            _, self._place = stack.edge(order.edge, order.target.scheme)
        self._tls = self._context() if order.target.scheme == "https" else None
        dns.warm()
        if order.http == "2" or (self._tls is not None and order.http == "auto" and not order.target.websocket):
            connecting.warm()
        self._connection: UpstreamConnection | None = None
        self._peer = ("", 0)
        self._began = 0.0
        self._phase = ""

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """One for each request; those after a failure are not sent."""
        try:
            for _ in range(self._order.repeat):
                outcome = await self._one()
                yield outcome
                if outcome.failure is not None:
                    return
        finally:
            if self._connection is not None and not self._connection.closed:
                self._connection.close()

    async def _one(self) -> Outcome:
        self._began = self._clock.now()
        outcome = Outcome(self._order, self._clock.time())
        self._phase = "looking up the name"
        error = ""
        try:
            async with self._clock.timeout(self._order.seconds):
                await self._request(outcome)
        except TimeoutError:
            outcome.failure, error = Failure.TIMEOUT, f"{self._phase} took more than {self._order.seconds:g} s"
        except Unresolved as problem:
            outcome.failure, error = outcome.failure or Failure.DNS, str(problem)
        except Unreachable as problem:
            outcome.failure, error = Failure.CONNECTION, str(problem)
        except HopError as problem:
            outcome.failure, error = Failure.CONNECTION, _said(problem)
            if isinstance(problem, ResponseMalformed) and self._order.http == "2" and self._tls is None:
                error += "; does the server speak HTTP/2 without TLS?"
        outcome.last_ms = self._ms()
        outcome.trace = self._trace(outcome, error)
        if error and self._connection is not None and not self._connection.closed:
            self._connection.abort()
        return outcome

    async def _request(self, outcome: Outcome) -> None:
        outcome.reused = self._connection is not None and self._connection.capacity > 0
        if not outcome.reused:
            await self._connect(outcome)
        try:
            await self._send(outcome)
        except ClosedEarly:
            # RFC 9112 §9.3.1: a connection that was kept may have died before the request came
            if not outcome.reused or self._order.method.encode() not in SAFE:
                raise
            outcome.reused = False
            outcome.notes.append("the server had closed the connection that was kept; sent again on a new one")
            await self._connect(outcome)
            await self._send(outcome)

    # Where to.

    async def _connect(self, outcome: Outcome) -> None:
        target = self._order.target
        addresses = await self._addresses(outcome) if self._asks_dns else []
        places = [(one, target.port) for one in addresses]
        if self._place is not None:
            if self._order.edge and self._asks_dns and self._place not in places:
                outcome.notes.append(f"{self._order.edge} was asked for; DNS names {', '.join(addresses) or 'nobody'}")
            places = [self._place]
        self._phase = f"connecting to {target.host}"
        opener = Opener(clock=self._clock, tasks=self._tasks, began=self._began)
        try:
            for last, place in ((place is places[-1], place) for place in places):
                try:
                    self._connection = await opener.open(
                        *place, tls=self._tls, server_name=target.host, h2=self._order.http == "2"
                    )
                except Unreachable:
                    if last or opener.spans[-1].kind == "tls":  # another address has the same name, and certificate
                        raise
                else:
                    self._peer = place
                    return
        finally:
            outcome.spans += opener.spans

    async def _addresses(self, outcome: Outcome) -> list[str]:
        target, stack = self._order.target, self._stack
        if target.is_address:
            return [target.host]
        if target.host == "localhost" or target.host.endswith(".localhost"):
            return ["127.0.0.1", "::1"]  # RFC 6761 §6.3
        if stack is not None and stack.owns(target.host):
            if not stack.roots and stack.resolver is None:
                place = stack.usual(target.scheme)
                if place is None:
                    raise Unresolved(f"{stack.name} has neither DNS nor an edge for {target.scheme}")
                outcome.notes.append(f"the stack has no DNS of its own: {stack.who(place)} was connected to")
                self._place = place
                return [place[0]]
            servers = stack.roots or (stack.resolver or ("", 0),)
            walk = Walk(
                servers,
                port=servers[0][1],
                recurse=not stack.roots,
                clock=self._clock,
                random=self._random,
                began=self._began,
                names=stack.servers,
            )
            try:
                return await walk.addresses(target.host)
            finally:
                outcome.spans += walk.spans
        found = await self._by_system(outcome)
        why = self._nothing_runs if stack is None else f"{target.host} is no name of {stack.name}"
        outcome.notes.append(f"{why}, so the system's resolver was asked")
        return found

    async def _by_system(self, outcome: Outcome) -> list[str]:
        host = self._order.target.host
        start = self._ms()
        found: list[str] = []
        try:
            found = await system.resolve(host, self._order.target.port)
            came = found[0] + (f" +{len(found) - 1}" if len(found) > 1 else "")
        except socket.gaierror as error:
            came = (error.strerror or str(error)).lower()
            if self._stack is None:
                outcome.failure = Failure.NOTHING_RUNS
                raise Unresolved(
                    f"{self._nothing_runs}, and the system's resolver does not know {host} ({came}); "
                    "`hopstack up` starts a stack"
                ) from None
            raise Unresolved(f"the system's resolver does not know {host} ({came})") from None
        except OSError as error:
            came = str(error)
            raise Unresolved(f"the system's resolver failed: {came}") from None
        finally:
            took = self._ms() - start
            outcome.spans.append(
                Span("resolver", "dns", start, took, took, f"{host}: {came}", busy=((start, took),), error=not found)
            )
        return found

    def _context(self) -> ssl.SSLContext:
        """Trusts `--cacert` alone if given; else the system's authorities, and the running stack's for what is its."""
        order = self._order
        if order.target.websocket and order.http == "auto":
            return self._trusting(("http/1.1",))  # as any client does that has no page open there yet
        return self._trusting({"auto": ("h2", "http/1.1"), "1.1": ("http/1.1",), "2": ("h2",)}[order.http])

    def _trusting(self, alpn: Sequence[str]) -> ssl.SSLContext:
        order = self._order
        if order.cacert is not None:
            return client_context(order.cacert, alpn=alpn)
        stack, target = self._stack, order.target
        if stack is not None and stack.ca and stack.owns(target.host):
            return client_context(stack.ca, alpn=alpn)
        context = client_context(None, alpn=alpn)
        local = target.host.startswith("127.") or target.host in ("::1", "localhost")
        if stack is not None and stack.ca and local:
            context.load_verify_locations(stack.ca)
        elif stack is None and order.own_ca is not None:
            with contextlib.suppress(OSError):  # not there, or none
                context.load_verify_locations(order.own_ca)
        return context

    # The request itself.

    async def _send(self, outcome: Outcome) -> None:
        connection = self._connection
        assert connection is not None
        order, target = self._order, self._order.target
        self._phase = "waiting for the response"
        outcome.place = self._peer
        fields = [(name, value) for name, value in order.fields if name != b"host"]
        given = next((value for name, value in order.fields if name == b"host"), None)
        trace_id, span_id = self._random.randbytes(16).hex(), self._random.randbytes(8).hex()
        if all(name != b"traceparent" for name, _ in fields):
            fields.append((b"traceparent", f"00-{trace_id}-{span_id}-01".encode()))
        outcome.request = request = Request(
            order.method.encode(),
            target.target.encode(),
            fields,
            authority=given or target.authority.encode(),
            scheme=target.scheme.encode(),
            body=order.body,
            interim=lambda status, _: outcome.notes.append(f"interim response {status} after {self._ms():.1f} ms"),
        )
        if target.websocket:
            request.upgrade, request.body = WEBSOCKET, Incoming(BUFFER)
            request.fields.append((b"sec-websocket-version", b"13"))
            if not await connection.takes_tunnels():
                raise Unreachable("the server takes no WebSocket over HTTP/2 (RFC 8441)")
        outcome.sent_ms = self._ms()
        response = await connection.send(request, Exchange("trace", self._clock.now, request))
        outcome.first_ms = self._ms()
        outcome.response = response
        outcome.protocol = VERSIONS.get(response.version, "HTTP/1.1")
        self._phase = "reading the content"
        if response.status == 101 and isinstance(request.body, Incoming):
            outcome.notes.append("the WebSocket was opened, and closed again")
            request.body.feed(CLOSE)
        try:
            await self._read(outcome, response)
        finally:
            if isinstance(request.body, Incoming):
                request.body.end()

    async def _read(self, outcome: Outcome, response: Response) -> None:
        body = response.body
        if isinstance(body, bytes):
            self._take(outcome, body)
            return
        try:
            async for piece in body:
                self._take(outcome, piece)
        finally:
            await body.aclose()

    def _take(self, outcome: Outcome, piece: bytes) -> None:
        outcome.size += len(piece)
        if self._sink is not None and piece:
            self._sink(piece)

    def _trace(self, outcome: Outcome, error: str) -> Trace:
        order, response = self._order, outcome.response
        place = address(*outcome.place) if outcome.place[0] else ""
        if response is None:
            spans = list(outcome.spans)
            if outcome.request is not None:
                took = outcome.last_ms - outcome.sent_ms
                waited = ((outcome.sent_ms, took),)
                spans.append(
                    Span("http", "http", outcome.sent_ms, took, took, "sent; no response", busy=waited, error=True)
                )
            return without_response(
                method=order.method,
                url=str(order.target),
                spans=spans,
                total_ms=outcome.last_ms,
                error=error,
                address=place,
                notes=outcome.notes,
            )
        return from_response(
            method=order.method,
            url=str(order.target),
            status=response.status,
            fields=response.fields,
            sent_ms=outcome.sent_ms,
            first_ms=outcome.first_ms,
            last_ms=outcome.last_ms,
            before=outcome.spans,
            protocol=outcome.protocol,
            address=place,
            size=outcome.size,
            reused=outcome.reused,
            notes=outcome.notes,
            error=error,
        )

    def _ms(self) -> float:
        return (self._clock.now() - self._began) * 1000


def _said(error: HopError) -> str:
    """An error of the connection, from the client's point of view."""
    private = error.private.partition(": ")[2] or error.private
    if isinstance(error, ClosedEarly):
        return "the server closed the connection before it answered"
    if isinstance(error, ResponseIncomplete):
        return f"the response broke off ({private})" if private else "the response broke off"
    if isinstance(error, ResponseMalformed):
        return f"the response is not well-formed HTTP ({private or error.detail})"
    return error.detail or private or error.title


def place_of(text: str) -> tuple[str, int] | None:
    """`HOST:PORT` with an address for a host, taken apart; None for anything else."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return (host, int(port)) if port.isascii() and port.isdigit() and 0 < int(port) < 65536 else None


def chosen(stack: KnownStack | None, target: Target) -> Target:
    """A URL of the stack's that names no port means the one that its edges listen on."""
    if target.ported or stack is None or not stack.owns(target.host):
        return target
    place = stack.usual(target.scheme)
    return target if place is None else replace(target, port=place[1], ported=True)


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """0 answered below 500; 1 a 5xx, or an error of a hop's own; else why no whole response came."""
    for outcome in outcomes:
        if outcome.failure is not None:
            return outcome.failure.value
    return int(any(one.trace is not None and (one.trace.status >= 500 or one.trace.proxy_status) for one in outcomes))
