"""What every HTTP hop is made of: a service on the engine, with log, metrics, certificates, draining and statistics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Final

from stack.clock import Clock, settle
from stack.config.base import HttpOptions
from stack.config.listen import address
from stack.errors import ConfigError
from stack.faults.net import FaultyNet
from stack.hop.certificates import Certificates
from stack.hop.hop import AdminHandler, Bound, Readiness
from stack.http.trust import peers
from stack.http.upgrade import allowed
from stack.net import Net
from stack.net.context import Context
from stack.net.server import Server
from stack.net.service import Service
from stack.net.short import Short, offers_short
from stack.telemetry.access_log import AccessLog
from stack.telemetry.ended import Ended
from stack.telemetry.exchange import Exchange
from stack.telemetry.line_log import INTERVAL
from stack.telemetry.metrics import Metrics
from stack.telemetry.requests import RequestMetrics

if TYPE_CHECKING:
    from stack.telemetry.exporter import Exporter
    from stack.telemetry.otlp import Sampler

_CLEAR: Final = ("http", "h2c")


class HttpHop:
    """A hop around one `Service`. Subclass it for what the hop owns besides: `on_start`, `on_stop`, `readiness` ..."""

    alpn: ClassVar[tuple[str, ...]] = ("h2", "http/1.1")
    """What the server speaks over TLS."""

    def __init__(
        self,
        name: str,
        kind: str,
        config: HttpOptions,
        service: Service,
        *,
        clock: Clock,
        random: Random,
        net: Net,
        metrics: Metrics,
        state_dir: Path,
    ) -> None:
        self.name, self.kind, self.config = name, kind, config
        self.clock, self.random, self.net, self.metrics, self.state_dir = clock, random, net, metrics, state_dir
        self.draining = False
        self.listening: list[str] = []
        self._began = clock.now()
        self._stopped = False
        self._looks: asyncio.Task[None] | None = None
        """Looks whether files of certificates have changed."""
        self.access_log = AccessLog(
            config.access_log, hop=name, clock=clock, skip=[path for path in config.access_log_skip if path != "none"]
        )
        self.exporter: Exporter | None = None
        sample: Sampler | None = None
        if config.otlp:
            from stack.hop import collector  # not for hops that export nothing: they start sooner

            parts: dict[str, Any] = {"clock": clock, "random": random, "net": net, "metrics": metrics}
            self.exporter = collector.exporter(config, name=name, kind=kind, **parts)
            sample = collector.sampler(config)
        logged = self.access_log.lines.enabled
        readers = [RequestMetrics(metrics, name).count, *((self.access_log.write,) if logged else ())]
        self.ended = Ended(clock, readers, within=INTERVAL if logged else None)
        metrics.refreshes.insert(0, self.ended.tell)
        finished: list[Callable[[Exchange], object]] = [self.ended, *net.observers]
        if self.exporter is not None:
            finished.append(self.exporter)
        self.context = Context(
            service,
            name=name,
            clock=clock,
            random=random,
            tasks=net.tasks,
            limits=config.limits,
            timeouts=config.timeouts,
            trust=peers(config.trusted),
            finished=finished,
            sample=sample,
            upgrades=allowed(config.upgrade),
        )
        if offers_short(service) and finished == [self.ended] and sample is None:  # nobody wants whole exchanges
            self.context.short = Short(service, self.ended, name, random, config.limits)
        self.server = Server(self.context)
        self.certificates = Certificates(
            config,
            name=name,
            clock=clock,
            state_dir=state_dir,
            metrics=metrics,
            contexts=net.client_contexts,
            alpn=self.alpn,
        )
        self.faults = net.faults if isinstance(net, FaultyNet) else None
        if self.faults is not None:
            self.faults.serve(name, kind, self.context, metrics=metrics, configured=config.fault)
        elif config.fault:
            raise ConfigError("--fault: this hop was given a network that injects none")
        metrics.gauge(
            "hopstack_requests_in_flight", "Requests being answered.", ("hop",),
            lambda: [((name,), self.context.in_flight)],
        )  # fmt: skip
        metrics.gauge(
            "hopstack_tunnels", "Open tunnels: WebSocket, and what else --upgrade allows.", ("hop",),
            lambda: [((name,), self.context.tunnels)],
        )  # fmt: skip
        metrics.gauge(
            "hopstack_connections", "Open client connections.", ("hop",),
            lambda: [((name,), len(self.context.connections))],
        )  # fmt: skip

    # What a hop overrides.

    async def on_start(self) -> None:
        """Before the first connection is accepted."""

    async def on_stop(self) -> None:
        """After the last connection is closed."""

    def readiness(self) -> Readiness:
        return Readiness(False, "draining") if self.draining else Readiness(True)

    def stats(self) -> dict[str, Any]:
        """Extend it: `{**super().stats(), "cache": ...}`."""
        self.ended.tell()
        return {
            "name": self.name,
            "kind": self.kind,
            "uptime_s": round(self.clock.now() - self._began, 3),
            "listen": self.listening,
            "server": asdict(self.server.statistics()),
            "access_log": self.access_log.statistics(),
            **({"tls": self.certificates.describe()} if self.certificates.used else {}),
            **({"otlp": self.exporter.statistics()} if self.exporter is not None else {}),
        }

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        return {}

    # What the process calls.

    async def start(self, sockets: Sequence[Bound]) -> None:
        for bound in sockets:
            if bound.scheme != "https" and bound.scheme not in _CLEAR:
                raise ConfigError(f"--listen {bound.scheme}://: {self.kind} serves http, https and h2c")
        tls = iter(self.certificates.listeners([bound for bound in sockets if bound.scheme == "https"]))
        await self.on_start()
        if self.certificates.used:
            self._looks = self.net.tasks.spawn(self.certificates.run(), name=f"{self.name}.certificates")
        if self.exporter is not None:
            self.net.tasks.spawn(self.exporter.run(), name=f"{self.name}.otlp")
        for bound in sockets:
            await self.server.listen(bound.socket, next(tls) if bound.scheme == "https" else None)
            self.listening.append(f"{bound.scheme}://{address(*bound.address)}")

    async def drain(self) -> None:
        self.draining = True
        if self.faults is not None:
            self.faults.let_go()
        await self.server.drain()

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self.draining = True
        if self._looks is not None:
            self._looks.cancel()
        await self.server.close()
        await settle(2)  # aborted connections end their exchanges
        try:
            await self.on_stop()
        finally:
            if self.exporter is not None:
                await self.exporter.close()
            self.ended.close()
            self.access_log.close()

    def reload(self) -> Any:
        """Certificates anew (SIGHUP). ConfigError: those in use stay. A hop with more to reload does that besides."""
        self.certificates.reload()

    def reopen_logs(self) -> None:
        """After the log file was renamed (SIGUSR1)."""
        self.ended.tell()
        self.access_log.reopen()
