"""The network with faults: what a process hands its hop."""

from __future__ import annotations

import ssl
from random import Random

from stack.clock import Clock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.config.listen import address
from stack.faults.link import connecting
from stack.faults.registry import Faults
from stack.net import Net
from stack.net.pool import Pool, Upstream


class FaultyNet(Net):
    """A `Net` whose links can be hindered. Without a fault its pools are untouched."""

    def __init__(self, clock: Clock, random: Random, faults: Faults | None = None) -> None:
        super().__init__(clock, random)
        self.faults = Faults(clock) if faults is None else faults  # an empty one is false

    def pool(
        self,
        upstream: Upstream,
        *,
        limits: PoolLimits | None = None,
        timeouts: UpstreamTimeouts | None = None,
        checks: bool = False,
        linked: bool = True,
    ) -> Pool:
        pool = super().pool(upstream, limits=limits, timeouts=timeouts)
        if linked:
            self.faults.join(pool, checks=checks)
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
        if len(self.faults):
            await connecting(self.faults, name or address(host, port), timeout)
        await super().connect(host, port, timeout=timeout, tls=tls, server_name=server_name, source=source, name=name)
