"""The proxy's part of the path: route, then serve a file or forward to the app, then compress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from proxy.compression import Compressor
from proxy.prober import Sender
from proxy.rules.routing import Route, route
from proxy.static import FileNotFound, StaticFiles
from stack.errors import HopError
from stack.http.forwarding import inbound
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward


class Proxy:
    """A `Service`. `static`: the longest prefix first; without an `app` they are all there is.

    `date` gives the field Date for a response that lacks one.
    """

    def __init__(
        self,
        *,
        name: str,
        app: Sender | None,
        app_name: str,
        static: Sequence[StaticFiles],
        compressor: Compressor | None,
        date: Callable[[], bytes],
    ) -> None:
        self._pseudonym = name.encode("ascii")
        self._app = app
        self._app_name = app_name
        self._static = {files.prefix: files for files in static}
        self._prefixes = tuple(self._static)
        self._compressor = compressor
        self._date = date

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        """Files are answered at once; what the app answers is awaited."""
        app = self._app
        chosen, prefix = route(request.target, self._prefixes, app=app is not None)
        exchange.mark("route", chosen.value)
        if chosen is Route.STATIC:
            return self._compressed(request, self._static[prefix].answer(request, exchange), exchange, flush=False)
        if app is None:
            raise FileNotFound
        return self.forward(app, request, exchange)

    async def forward(self, app: Sender, request: Request, exchange: Exchange) -> Response:
        """To the app and back. A failure becomes a problem document in the engine."""
        exchange.upstream = self._app_name
        sent = onward(request, exchange, self._pseudonym)
        exchange.attempts += 1
        try:
            response = await app.send(sent, exchange)
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
