"""The proxy's part of the path: route, then serve a file or forward to the app, then compress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy.compression import Compressor
from proxy.prober import Sender
from proxy.rules.routing import Route, route
from proxy.static import StaticFiles
from stack.errors import HopError
from stack.http.forwarding import inbound
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward


class Proxy:
    """A `Service`. `date` gives the field Date for a response that lacks one."""

    def __init__(
        self,
        *,
        name: str,
        app: Sender,
        app_name: str,
        static: StaticFiles | None,
        compressor: Compressor | None,
        date: Callable[[], bytes],
    ) -> None:
        self._pseudonym = name.encode("ascii")
        self._app = app
        self._app_name = app_name
        self._static = static
        self._static_prefix = static.prefix if static is not None else None
        self._compressor = compressor
        self._date = date

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        """Files are answered at once; what the app answers is awaited."""
        chosen = route(request.target, self._static_prefix)
        exchange.mark("route", chosen.value)
        if chosen is Route.STATIC and self._static is not None:
            return self._compressed(request, self._static.answer(request, exchange), exchange, flush=False)
        return self.forward(request, exchange)

    async def forward(self, request: Request, exchange: Exchange) -> Response:
        """To the app and back. A failure becomes a problem document in the engine."""
        exchange.upstream = self._app_name
        sent = onward(request, exchange, self._pseudonym)
        exchange.attempts += 1
        try:
            response = await self._app.send(sent, exchange)
        except HopError:
            exchange.mark("forward", "failed")
            raise
        exchange.mark("forward", "answered")
        inbound(response, pseudonym=self._pseudonym, date=self._date())
        return self._compressed(request, response, exchange)

    def _compressed(self, request: Request, response: Response, exchange: Exchange, *, flush: bool = True) -> Response:
        if self._compressor is None:
            return response
        return self._compressor.apply(request, response, exchange, flush=flush)
