"""One hop that serves and one that asks it, over a real socket, each with its faults, on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from stack.clock import VirtualClock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.faults.net import FaultyNet
from stack.faults.registry import Faults
from stack.faults.spec import parse
from stack.http.message import Request, Response
from stack.net.pool import Pool, Upstream
from stack.net.server import Server
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics
from tests.support.wire import Scripted, serving

T = TypeVar("T")

CONTENT = bytes(range(256)) * 40


async def stream(data: bytes, size: int = 1000) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@dataclass
class Lab:
    """The asking hop is `edge-fra`, the serving one `lb-a`; `lb-a` trusts nobody unless told."""

    clock: VirtualClock
    net: FaultyNet
    pool: Pool
    server: Server
    service: Scripted
    serving: Faults
    metrics: Metrics
    asked: list[Request] = field(default_factory=list)
    exchange: Exchange | None = None

    @property
    def faults(self) -> Faults:
        return self.net.faults

    def add(self, text: str) -> None:
        """To the process that it is for."""
        fault = parse(text)
        placed = [faults for faults in (self.net.faults, self.serving) if faults.places(fault)]
        assert placed, text
        for faults in placed:
            faults.add(fault)

    async def passing(self, coro: Coroutine[Any, Any, T]) -> T:
        """The result; time passes by itself while somebody waits for a fault, as it does in a test of a whole stack."""
        task = asyncio.ensure_future(coro)
        try:
            async with asyncio.timeout(20):
                while not task.done():
                    await asyncio.sleep(0.001)
                    ends = [end for faults in (self.faults, self.serving) if (end := faults.waiting()) is not None]
                    if ends:
                        await self.clock.advance(max(0.0, min(ends) - self.clock.now()))
        finally:
            task.cancel()
        return await task

    def request(self, method: bytes = b"GET", target: bytes = b"/x", body: Any = b"") -> Request:
        return Request(method, target, [(b"accept", b"*/*")], authority=b"a.test", body=body)

    async def send(self, request: Request | None = None) -> Response:
        self.exchange = Exchange("edge-fra", self.clock.now, request)
        return await self.passing(self.pool.send(request or self.request(), self.exchange))

    async def read(self, response: Response) -> bytes:
        async def content() -> bytes:
            if isinstance(response.body, bytes):
                return response.body
            got = bytearray()
            try:
                async for piece in response.body:
                    got += piece
            except Exception as error:
                error.args = (*error.args, bytes(got))
                raise
            finally:
                await response.body.aclose()
            return bytes(got)

        return await self.passing(content())

    async def get(self, request: Request | None = None) -> bytes:
        return await self.read(await self.send(request))

    def counted(self) -> dict[tuple[str, ...], float]:
        return dict(self.metrics.counter("hopstack_faults_injected_total", "").values)


@contextlib.asynccontextmanager
async def lab(protocol: str = "h1", *, streamed: bool = False, trusted: Iterable[str] = ()) -> AsyncIterator[Lab]:
    clock, metrics = VirtualClock(), Metrics()
    asked: list[Request] = []

    async def handle(request: Request, exchange: Exchange) -> Response:
        asked.append(request)
        body = request.body if isinstance(request.body, bytes) else b"".join([piece async for piece in request.body])
        content = body or CONTENT
        return Response(200, [], stream(content) if streamed else content)

    async with serving(handle, clock=clock, trusted=trusted) as (service, server):
        serve = Faults(clock)
        serve.serve("lb-a", "loadbalancer", server.context, metrics=metrics)
        net = FaultyNet(clock, random.Random(1))
        async with serving(handle, clock=clock) as (_, other):
            net.faults.serve("edge-fra", "cdn_edge", other.context, metrics=metrics)
            pool = net.pool(
                Upstream("lb-a", "127.0.0.1", service.port, protocol="h2" if protocol == "h2" else "h1"),
                limits=PoolLimits(connections=4),
                timeouts=UpstreamTimeouts(),
            )
            try:
                yield Lab(clock, net, pool, server, service, serve, metrics, asked)
            finally:
                await net.close()
