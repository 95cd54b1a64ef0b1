"""A hop around a WSGI application: the engine in the loop, the app in threads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from appserver.config import Config
from appserver.rules.names import said
from appserver.threads import Threads
from appserver.wsgi import App, WsgiService
from stack.hop.http_hop import HttpHop
from stack.net import Net
from stack.net.tasks import Tasks

POLL: Final = 0.02
"""Seconds between two looks at whether the threads are free."""


class WsgiHop(HttpHop):
    """A WSGI app on this project's engine."""

    def __init__(self, name: str, config: Config, app: App, *, net: Net, **parts: Any) -> None:
        self._threads = Threads(config.threads, name=name)
        self._reading = Tasks()
        service = WsgiService(
            app,
            threads=self._threads,
            tasks=self._reading,
            root_path=config.root_path.rstrip("/"),
            buffer=config.limits.buffer,
            spool=config.spool,
        )
        super().__init__(name, "appserver", config, service, net=net, **parts)
        self.context.name = said(name)
        self.metrics.gauge(
            "hopstack_app_threads",
            "Threads that run the app, and requests that wait for one.",
            ("hop", "state"),
            lambda: [
                ((name, state), float(getattr(self._threads.statistics(), state))) for state in ("busy", "waiting")
            ],
        )

    async def drain(self) -> None:
        """As every hop; then what the app does after its responses (`close()`) has what is left of the drain time."""
        self.draining = True
        deadline = self.clock.now() + self.config.timeouts.drain
        await self.server.drain()
        while self._threads.unfinished and self.clock.now() < deadline:
            await self.clock.sleep(POLL)

    async def on_stop(self) -> None:
        self._threads.close()
        await self._reading.close()

    def stats(self) -> dict[str, Any]:
        return {**super().stats(), "engine": "wsgi", "threads": asdict(self._threads.statistics())}
