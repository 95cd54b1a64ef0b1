"""Backends that answer by script, without sockets: what a handler test is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from loadbalancer.backends import Backend, Backends, BalanceOptions
from loadbalancer.handler import LoadBalancer
from loadbalancer.rules.health import CheckPolicy
from stack.clock import VirtualClock
from stack.errors import HopError
from stack.http.message import Body, Peer, Request, Response
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

Step = int | Response | HopError | asyncio.Event
"""A status, a whole response, an error, or an event to wait for before answering 200."""


class ScriptedPool:
    """Answers with one step after the other, the last one for ever."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script) or [200]
        self.sent: list[Request] = []

    async def send(self, request: Request, exchange: Exchange) -> Response:
        self.sent.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, HopError):
            raise step
        if isinstance(step, Response):
            return step
        if isinstance(step, asyncio.Event):
            await step.wait()
            step = 200
        return Response(step, [], b"%d" % step)


class ScriptedBody:
    """A body stream of given pieces that may end in an error, and knows whether it was closed."""

    def __init__(self, *pieces: bytes, error: HopError | None = None) -> None:
        self._pieces = list(pieces)
        self._error = error
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class Bench:
    """A load balancer over scripted pools, on a virtual clock. Backends are named a, b, c ..."""

    def __init__(
        self,
        *pools: ScriptedPool,
        balance: str = "round-robin",
        weights: Sequence[int] = (),
        checked: bool = True,
        panic: bool = True,
        passive_fall: int = 3,
        passive_hold: float = 10.0,
        retries: int = 2,
    ) -> None:
        self.clock = VirtualClock()
        self.metrics = Metrics()
        self.pools = pools
        members = [
            Backend(name, f"http://{name}", pool, weight=weight, now=self.clock.now())
            for name, pool, weight in zip("abcdefgh", pools, weights or [1] * len(pools), strict=False)
        ]
        self.backends = Backends(
            members,
            BalanceOptions(balance, checked, panic, passive_fall, passive_hold),
            CheckPolicy(),
            clock=self.clock,
            metrics=self.metrics,
        )
        self.hurried: list[str] = []
        self.backends.suspected = lambda backend: self.hurried.append(backend.name)
        self.service = LoadBalancer(
            self.backends,
            name="lb-a",
            retries=retries,
            total=90,
            clock=self.clock,
            metrics=self.metrics,
            date=lambda: b"Tue, 14 Nov 2023 22:13:20 GMT",
        )
        self.exchange = self._exchange()

    def __getitem__(self, name: str) -> Backend:
        found = self.backends.named(name)
        assert found is not None
        return found

    def _exchange(self) -> Exchange:
        exchange = Exchange("lb-a", self.clock.now)
        exchange.client, exchange.request_id = "192.0.2.1", b"r1"
        exchange.trace_id, exchange.span_id = b"1" * 32, b"2" * 16
        return exchange

    def check(self, name: str, results: str) -> None:
        """Checks that passed (+) or failed (-), one after the other."""
        for result in results:
            self.backends.checked(self[name], result == "+", "200" if result == "+" else "refused")

    async def send(
        self, method: bytes = b"GET", body: Body = b"", fields: list[tuple[bytes, bytes]] | None = None
    ) -> Response:
        self.exchange = self._exchange()
        request = Request(
            method, b"/", fields or [], authority=b"shop.test", body=body, peer=Peer("192.0.2.1", 1, trusted=True)
        )
        return await self.service.handle(request, self.exchange)

    @property
    def words(self) -> list[tuple[str, str]]:
        return [(step, word) for step, word, _ in self.exchange.marks]

    @property
    def tried(self) -> str:
        """Which backends were sent to, and how often: `a` or `aab`."""
        return "".join(name * len(pool.sent) for name, pool in zip("abcdefgh", self.pools, strict=False))

    def in_flight(self) -> dict[str, int]:
        return {backend.name: backend.in_flight for backend in self.backends.members}

    def metric(self, line: str) -> float:
        return self.metrics.samples()[line]
