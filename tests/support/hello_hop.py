"""The smallest hop, run by tests as a process of its own: `python -m tests.support.hello_hop --listen ...`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

from msgspec import Meta

from stack.clock import Clock
from stack.config.base import HttpOptions
from stack.errors import ConfigError
from stack.hop.hop import Bound, Readiness
from stack.hop.http_hop import HttpHop
from stack.hop.process import main
from stack.hop.registry import Parts
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics


class Config(HttpOptions, frozen=True, kw_only=True):
    """Answers with a greeting."""

    greeting: Annotated[str, Meta(description="What it says.")] = "hello"
    password: Annotated[str, Meta(description="A secret.")] = ""
    failing: Annotated[str, Meta(description="How it fails to start: config, crash, build, slow.")] = ""
    unready: Annotated[bool, Meta(description="Never becomes ready.")] = False


class Hello:
    def __init__(self, config: Config) -> None:
        self.greeting = config.greeting
        self.stuck = False

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        exchange.mark("app", "answered")
        if request.path == b"/stuck-when-stopping":
            self.stuck = True
        if request.path == b"/stuck":
            time.sleep(60)
        if request.path in (b"/slow", b"/endless"):
            assert request.interim is not None
            request.interim(103, [])  # tells a test that the request is in flight
            return self._slow(0.5 if request.path == b"/slow" else 3600)
        return Response(200, [(b"content-type", b"text/plain")], self.greeting.encode())

    async def _slow(self, seconds: float) -> Response:
        await asyncio.sleep(seconds)
        return Response(200, [], b"slow " + self.greeting.encode())


class HelloHop(HttpHop):
    config: Config

    def __init__(self, name: str, config: Config, service: Hello, **parts: Any) -> None:
        super().__init__(name, "hello", config, service, **parts)
        self.service = service

    async def start(self, sockets: Sequence[Bound]) -> None:
        if self.config.failing == "config":
            raise ConfigError("--failing config: choose another one")
        if self.config.failing == "crash":
            raise RuntimeError("no such luck")
        if self.config.failing == "slow":
            sys.stderr.write("starting slowly\n")
            await asyncio.sleep(60)
        await super().start(sockets)

    def readiness(self) -> Readiness:
        return Readiness(False, "never will be") if self.config.unready else super().readiness()

    async def on_stop(self) -> None:
        if self.service.stuck:
            time.sleep(60)

    def reload(self) -> None:
        self.service.greeting = "reloaded"


def build(config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path) -> HelloHop:
    if config.failing == "build":
        raise ConfigError("--failing build: choose another one")
    parts = {"clock": clock, "random": random, "net": net, "metrics": metrics, "state_dir": state_dir}
    return HelloHop(config.name or "hello", config, Hello(config), **parts)


if __name__ == "__main__":
    sys.exit(main("hello", parts=Parts(Config, build)))
