"""The process that runs the app: load it, start it, serve it, and stop without losing a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from appserver.asgi import AsgiService
from appserver.config import Config
from appserver.lifespan import Lifespan
from appserver.loader import load, made
from appserver.rules.names import said
from appserver.websockets import WebSocketOptions
from stack.clock import Clock
from stack.hop.certificates import Certificates
from stack.hop.hop import AdminHandler, Bound, Readiness
from stack.hop.http_hop import HttpHop
from stack.net import Net
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics

POLL: Final = 0.02
"""Seconds between two looks at whether connections and background work have ended."""


class AppHop:
    """Serves the app in this process. Which engine does is known once the app is loaded."""

    def __init__(
        self,
        name: str,
        config: Config,
        *,
        clock: Clock,
        random: Random,
        net: Net,
        metrics: Metrics,
        state_dir: Path,
        app: Any = None,
    ) -> None:
        """`app`: the application or a factory of it; without one, what `config.app` names is loaded."""
        self.name, self.kind = name, "appserver"
        self._config = config
        self._app = app
        self._parts: dict[str, Any] = {
            "clock": clock,
            "random": random,
            "net": net,
            "metrics": metrics,
            "state_dir": state_dir,
        }
        self._serving: HttpHop | None = None

    async def start(self, sockets: Sequence[Bound]) -> None:
        config = self._config
        if self._app is None:
            loaded = await load(
                config.app, directory=config.app_dir, factory=config.factory, interface=config.interface
            )
        else:
            loaded = await made("the app", self._app, factory=config.factory, interface=config.interface)
        if loaded.kind == "aiohttp":
            from appserver.aiohttp_hop import AiohttpHop

            self._serving = AiohttpHop(self.name, config, loaded.app, **self._parts)
        elif loaded.kind == "wsgi":
            from appserver.wsgi_hop import WsgiHop

            self._serving = WsgiHop(self.name, config, loaded.app, **self._parts)
        else:
            self._serving = AsgiHop(self.name, config, loaded.app, **self._parts)
        await self._serving.start(sockets)

    def readiness(self) -> Readiness:
        return self._serving.readiness() if self._serving is not None else Readiness(False, "the app is being loaded")

    async def drain(self) -> None:
        if self._serving is not None:
            await self._serving.drain()

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.stop()

    def stats(self) -> dict[str, Any]:
        if self._serving is None:
            return {"name": self.name, "kind": self.kind, "app": self._config.app}
        samples = self._serving.metrics.samples()
        requests = sum(value for name, value in samples.items() if name.startswith("hopstack_requests_total"))
        return {**self._serving.stats(), "app": self._config.app, "requests": int(requests)}

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        return {}

    @property
    def certificates(self) -> Certificates | None:
        return self._serving.certificates if self._serving is not None else None

    def reload(self) -> None:
        """Certificates; code is reloaded where there are workers."""
        if self._serving is not None:
            self._serving.reload()

    def reopen_logs(self) -> None:
        if self._serving is not None:
            self._serving.reopen_logs()


class AsgiHop(HttpHop):
    """An ASGI app on this project's engine."""

    def __init__(self, name: str, config: Config, app: Any, *, net: Net, clock: Clock, **parts: Any) -> None:
        # The app's tasks are its own: they may outlive their responses and are waited for.
        self._app_tasks = Tasks()
        service = AsgiService(
            name,
            tasks=self._app_tasks,
            root_path=config.root_path.rstrip("/"),
            buffer=config.limits.buffer,
            clock=clock,
            websockets=WebSocketOptions(
                max_size=config.websocket_max_size,
                ping=config.websocket_ping,
                compress=config.websocket_deflate,
                buffer=config.limits.buffer,
            ),
        )
        service.app = app
        super().__init__(name, "appserver", config, service, net=net, clock=clock, **parts)
        self.context.name = said(name)
        self._service = service
        self._options = config
        self._lifespan: Lifespan | None = None

    async def on_start(self) -> None:
        options = self._options
        if options.lifespan == "off":
            return
        self._lifespan = Lifespan(
            self._service.app, clock=self.clock, tasks=self.net.tasks, required=options.lifespan == "on"
        )
        await self._lifespan.startup(within=options.start_timeout)
        self._service.state = self._lifespan.state

    async def drain(self) -> None:
        """As every hop; then the app's background work has what is left of the drain time."""
        self.draining = True
        deadline = self.clock.now() + self.config.timeouts.drain
        self._service.go_away()
        await self.server.drain()
        while len(self._app_tasks) and self.clock.now() < deadline:
            await self.clock.sleep(POLL)

    async def on_stop(self) -> None:
        await self._app_tasks.close()
        if self._lifespan is not None:
            await self._lifespan.shutdown(within=self.config.timeouts.drain)

    def stats(self) -> dict[str, Any]:
        return {
            **super().stats(),
            "engine": "asgi",
            "app_tasks": len(self._app_tasks),
            "websockets": self._service.websockets,
        }
