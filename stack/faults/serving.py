"""Faults on what a hop serves: for its clients alone, or for whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final

from stack.errors import CutOff
from stack.faults.active import Active
from stack.faults.effects import alter, slow_upload
from stack.faults.errors import Aborted
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from stack.faults.registry import Faults
    from stack.net.context import Context
    from stack.net.service import Service

CHECKERS: Final = frozenset({b"hopstack-check", b"hopstack-proxy"})
"""What this project's health checks call themselves in User-Agent."""


class Hindrance:
    """Stands in the service's place while there is a fault: a `Service` around the hop's own."""

    def __init__(self, faults: Faults, context: Context) -> None:
        self._faults = faults
        self._context = context
        self._service: Service = context.service
        self._all: Sequence[Active] = ()
        self._clients: Sequence[Active] = ()

    def use(self, everyone: Sequence[Active], clients: Sequence[Active]) -> None:
        self._all, self._clients = everyone, clients
        self._context.service = self if everyone or clients else self._service

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        """A client is a peer that is no trusted one: the hops before are trusted by configuration."""
        peer = request.peer
        actives = self._all
        if self._clients and (peer is None or not peer.trusted):
            actives = [*actives, *self._clients]
        check = request.get(b"user-agent") in CHECKERS
        hits = self._faults.hit(actives, request, check=check) if actives else ()
        if not hits:
            return self._service.handle(request, exchange)
        return self._hindered(hits, request, exchange)

    async def _hindered(self, hits: Sequence[Active], request: Request, exchange: Exchange) -> Response:
        """The engine answers an Aborted, and ends the connection for a CutOff."""
        faults, place = self._faults, self._faults.name
        for active in hits:
            if active.fault.latency is not None:
                await faults.wait(active.delay())
                faults.note(active, exchange, "latency")
        for active in hits:
            fault = active.fault
            if fault.refused:
                faults.note(active, exchange, "refused")
                raise faults.error(CutOff, active, place, "reset before the response")
            if fault.blackhole:
                faults.note(active, exchange, "blackhole")
                await faults.swallow(active, None)
                raise faults.error(CutOff, active, place, "never answered")
            if fault.status is not None:
                faults.note(active, exchange, "status")
                error = faults.error(Aborted, active, place, f"answered {fault.status}")
                error.status = fault.status
                raise error
        asked = await slow_upload(faults, hits, request, exchange)
        answer = self._service.handle(asked, exchange)
        response = answer if isinstance(answer, Response) else await answer
        for active in hits:
            if active.fault.reset == 0:
                if not isinstance(response.body, bytes):
                    await response.body.aclose()
                faults.note(active, exchange, "reset")
                raise faults.error(CutOff, active, place, "reset before the response")
        return await alter(faults, hits, request, response, exchange, self._cut)

    def _cut(self, active: Active, what: str) -> CutOff:
        error = self._faults.error(CutOff, active, self._faults.name, f"{what} within the content")
        error.orderly = what == "truncate"
        return error
