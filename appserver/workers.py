"""An app's workers: the master imports no app."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appserver.config import Config
from stack.clock import Clock
from stack.hop.admin import as_json
from stack.hop.hop import AdminHandler
from stack.hop.workers import WorkersHop
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.metrics import Metrics


class AppWorkers(WorkersHop):
    def __init__(self, name: str, config: Config, *, clock: Clock, net: Net, metrics: Metrics, state_dir: Path) -> None:
        super().__init__(
            name,
            "appserver",
            config,
            count=config.workers,
            start_timeout=config.start_timeout,
            hung_after=config.worker_timeout,
            stop_timeout=2 * config.timeouts.drain,  # requests, then the app's own shutdown
            clock=clock,
            net=net,
            metrics=metrics,
            state_dir=state_dir,
        )
        self._app = config.app

    def stats(self) -> dict[str, Any]:
        return {**super().stats(), "app": self._app}

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        return {**super().routes(), (b"GET", b"/-/stats"): self._stats_page}

    async def _stats_page(self, _: Request) -> Response:
        stats = self.stats()
        answers = await self._asked("stats")
        for worker in stats["workers"]:
            told = answers.get(worker["name"]) or {}
            worker.update({key: value for key, value in told.items() if key not in worker and key not in stats})
        served = [worker["server"] for worker in stats["workers"] if "server" in worker]
        stats["requests"] = sum(worker.get("requests", 0) for worker in stats["workers"])
        stats["in_flight"] = sum(server["in_flight"] for server in served)
        stats["connections"] = sum(server["connections"] for server in served)
        return as_json(stats)
