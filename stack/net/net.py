"""What a hop is handed of the network. A test hands in another one."""

from __future__ import annotations

import asyncio
import ssl
from random import Random
from typing import Any

from stack.clock import Clock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import ConnectRefused, ConnectTimeout
from stack.net.date import CurrentDate
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks


class Net:
    """Opens connections and owns tasks. `close` ends all of them."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self.clock = clock
        self.random = random
        self.tasks = Tasks()
        self.date = CurrentDate(clock)
        self._pools: list[Pool] = []

    def pool(
        self,
        upstream: Upstream,
        *,
        limits: PoolLimits | None = None,
        timeouts: UpstreamTimeouts | None = None,
    ) -> Pool:
        pool = Pool(
            upstream,
            limits=limits or PoolLimits(),
            timeouts=timeouts or UpstreamTimeouts(),
            clock=self.clock,
            tasks=self.tasks,
        )
        self._pools.append(pool)
        return pool

    async def probe_tcp(self, host: str, port: int, *, timeout: float, source: str | None = None) -> None:
        """Connect and close. Raises ConnectRefused or ConnectTimeout."""
        await self.connect(host, port, timeout=timeout, source=source)

    async def connect(
        self,
        host: str,
        port: int,
        *,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        source: str | None = None,
    ) -> None:
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
        except TimeoutError:
            raise ConnectTimeout(private=f"{host}:{port}: not within {timeout:g} s") from None
        except OSError as error:
            raise ConnectRefused(private=f"{host}:{port}: {error}") from None
        transport.close()

    async def close(self) -> None:
        for pool in self._pools:
            await pool.close()
        await self.tasks.close()

    def statistics(self) -> dict[str, Any]:
        return {"tasks": len(self.tasks), "pools": len(self._pools)}
