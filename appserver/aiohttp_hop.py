"""A hop around aiohttp's runner: the log, the metrics, the certificates and the statistics of any other hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from appserver.aiohttp_app import AiohttpRunner
from appserver.config import Config
from appserver.rules.names import said
from stack.errors import ConfigError
from stack.hop.hop import Bound
from stack.hop.http_hop import HttpHop
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange


class AiohttpHop(HttpHop):
    """The runner stands where the engine's server and context stand in other hops."""

    alpn = ("http/1.1",)  # aiohttp speaks no HTTP/2

    def __init__(self, name: str, config: Config, app: web.Application, **parts: Any) -> None:
        super().__init__(name, "appserver", config, _NoService(), **parts)
        self._runner = AiohttpRunner(
            app,
            name=said(name),
            clock=self.clock,
            random=self.random,
            limits=config.limits,
            timeouts=config.timeouts,
            trust=self.context.trust,
            finished=self.context.finished,
            sample=self.context.sample,
        )
        self.server = self._runner  # type: ignore[assignment]
        self.context = self._runner  # type: ignore[assignment]
        self._start_timeout = config.start_timeout

    async def start(self, sockets: Sequence[Bound]) -> None:
        if any(bound.scheme == "h2c" for bound in sockets):
            raise ConfigError("--listen h2c://: aiohttp speaks HTTP/1.1; use http:// or https://")
        await super().start(sockets)

    async def on_start(self) -> None:
        try:
            async with self.clock.timeout(self._start_timeout):
                await self._runner.setup()
        except TimeoutError:
            raise ConfigError(f"the app's startup did not complete within {self._start_timeout:g} s") from None

    def stats(self) -> dict[str, Any]:
        return {**super().stats(), "engine": "aiohttp"}


class _NoService:
    def handle(self, request: Request, exchange: Exchange) -> Response:
        raise AssertionError("aiohttp answers")
