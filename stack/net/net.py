"""What a hop is handed of the network. A test hands in another one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from random import Random
from typing import Any

from stack.clock import Clock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.config.listen import address
from stack.net.date import CurrentDate
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.net.tls import ClientContext
from stack.net.unreachable import unreachable
from stack.telemetry.exchange import Exchange


class Net:
    """Opens connections and owns tasks. `close` ends all of them."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self.clock = clock
        self.random = random
        self.tasks = Tasks()
        self.date = CurrentDate(clock)
        self.observers: list[Callable[[Exchange], object]] = []
        """Called with every exchange that a hop has finished: the eyes of a test."""
        self._pools: list[Pool] = []

    def pool(
        self,
        upstream: Upstream,
        *,
        limits: PoolLimits | None = None,
        timeouts: UpstreamTimeouts | None = None,
        checks: bool = False,
        linked: bool = True,
    ) -> Pool:
        """`checks`: for health checks alone, which an injected fault may leave alone.

        `linked`: a link of the path. What is none, as to a collector of spans, meets no fault.
        """
        pool = Pool(
            upstream,
            limits=limits or PoolLimits(),
            timeouts=timeouts or UpstreamTimeouts(),
            clock=self.clock,
            tasks=self.tasks,
        )
        self._pools.append(pool)
        return pool

    async def connect(
        self,
        host: str,
        port: int,
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        source: str | None = None,
        name: str = "",
    ) -> None:
        """Connect, shake hands if `tls`, and close. Raises an UpstreamError that calls the next hop `name`."""
        try:
            async with self.clock.timeout(timeout):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol,
                    host,
                    port,
                    ssl=tls,
                    server_hostname=(server_name or host) if tls is not None else None,
                    local_addr=(source, 0) if source else None,
                )
        except OSError as error:
            raise unreachable(error, name or address(host, port), source=source, within=timeout) from None
        transport.close()

    def client_contexts(self) -> list[ClientContext]:
        """Of the pools that speak TLS."""
        found = (context for pool in self._pools for context in (pool.upstream.tls, pool.upstream.tls_h1))
        return list(dict.fromkeys(context for context in found if isinstance(context, ClientContext)))

    async def close(self) -> None:
        for pool in self._pools:
            await pool.close()
        await self.tasks.close()

    def statistics(self) -> dict[str, Any]:
        return {"tasks": len(self.tasks), "pools": len(self._pools)}
