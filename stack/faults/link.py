"""Faults on the way to one next hop: what they do is what the hop before sees of a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stack.errors import ClosedEarly, ConnectRefused, ConnectTimeout, HopError, ResponseIncomplete, ResponseTimeout
from stack.faults.active import Active
from stack.faults.effects import alter, slow_upload
from stack.faults.errors import Aborted
from stack.http import problem
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from stack.faults.registry import Faults
    from stack.net.pool import Pool


class Link:
    """The faults on one pool. `checks`: only health checks go through it."""

    def __init__(self, faults: Faults, pool: Pool, *, checks: bool) -> None:
        self._faults = faults
        self._pool = pool
        self._checks = checks
        self._actives: Sequence[Active] = ()
        self.target = pool.upstream.name

    def use(self, actives: Sequence[Active]) -> None:
        self._actives = actives
        self._pool.hindered = self.send if actives else None

    @property
    def _place(self) -> str:
        return f"{self._faults.name}>{self.target}"

    async def send(self, request: Request, exchange: Exchange) -> Response:
        """As `Pool.send`. Raises what a real fault would raise, so that retries and blame follow."""
        faults, hits = self._faults, self._faults.hit(self._actives, request, check=self._checks)
        if not hits:
            return await self._pool.send(request, exchange, plain=True)
        patience = self._pool.timeouts.head
        for active in hits:
            if active.fault.latency is not None:
                await self._late(active, active.delay(), exchange, patience)
        for active in hits:
            if (answer := await self._instead(active, request, exchange, patience)) is not None:
                return answer
        sent = await slow_upload(faults, hits, request, exchange)
        response = await self._pool.send(sent, exchange, plain=True)
        for active in hits:
            if active.fault.reset == 0:  # the request went through: its effects stay, as after a real reset
                if not isinstance(response.body, bytes):
                    await response.body.aclose()
                faults.note(active, exchange, "reset")
                raise faults.error(ClosedEarly, active, self._place, "reset before the response")
        return await alter(faults, hits, request, response, exchange, self._cut)

    async def _late(self, active: Active, delay: float, exchange: Exchange, patience: float) -> None:
        await self._faults.wait(min(delay, patience))
        self._faults.note(active, exchange, "latency")
        if delay >= patience:
            raise self._faults.error(ResponseTimeout, active, self._place, f"no response for {patience:g} s")

    async def _instead(self, active: Active, request: Request, exchange: Exchange, patience: float) -> Response | None:
        """What comes in place of the next hop's answer, if anything does."""
        faults, fault = self._faults, active.fault
        if fault.refused:
            faults.note(active, exchange, "refused")
            raise faults.error(ConnectRefused, active, self._place, "connection refused")
        if fault.blackhole:
            await faults.swallow(active, patience)
            faults.note(active, exchange, "blackhole")
            raise faults.error(ResponseTimeout, active, self._place, f"no response for {patience:g} s")
        if fault.status is None:
            return None
        faults.note(active, exchange, "status")
        error = faults.error(Aborted, active, self._place, f"answered {fault.status}")
        error.status = fault.status
        return problem.response(error, hop=faults.name, accept=request.get(b"accept"), request_id=exchange.request_id)

    def _cut(self, active: Active, what: str) -> HopError:
        return self._faults.error(ResponseIncomplete, active, self._place, f"{what} within the content")


async def connecting(faults: Faults, target: str, timeout: float) -> None:
    """A check that only connects: it meets what an unanswered connection is. Raises an UpstreamError."""
    place = f"{faults.name}>{target}"
    for active in faults.hit(faults.on_link_named(target), None, check=True):
        delay = active.delay()
        if active.fault.refused:
            faults.note(active, None, "refused")
            raise faults.error(ConnectRefused, active, place, "connection refused")
        if active.fault.blackhole:
            await faults.swallow(active, timeout)
            faults.note(active, None, "blackhole")
            raise faults.error(ConnectTimeout, active, place, f"not within {timeout:g} s")
        if delay:
            await faults.wait(min(delay, timeout))
            faults.note(active, None, "latency")
            if delay >= timeout:
                raise faults.error(ConnectTimeout, active, place, f"not within {timeout:g} s")
