"""Options -> the load balancer as a hop: its backends with a pool each, its checks, its part of the admin endpoint."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from loadbalancer.backends import Backend, Backends, BalanceOptions
from loadbalancer.config import BackendSpec, CheckSpec, Config, parse_backends, parse_check
from loadbalancer.handler import LoadBalancer
from loadbalancer.prober import Prober
from loadbalancer.probes import Probe, http_probe, tcp_probe
from loadbalancer.rules.health import CheckPolicy, Health
from stack.clock import Clock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.config.upstream import ALPN, check_authority, check_host, check_source
from stack.errors import ConfigError
from stack.hop.admin import as_json
from stack.hop.hop import AdminHandler, Readiness
from stack.hop.http_hop import HttpHop
from stack.http.message import Request, Response
from stack.http.statuses import Statuses
from stack.net import Net, ca
from stack.net.pool import Pool, Upstream
from stack.net.tls import client_context
from stack.telemetry.metrics import Metrics

SYSTEM: Final = "system"


def build(
    config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path
) -> LoadBalancerHop:
    return LoadBalancerHop(config, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir)


class LoadBalancerHop(HttpHop):
    """ConfigError for options that do not fit."""

    def __init__(
        self, config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path
    ) -> None:
        name = config.name or "loadbalancer"
        specs = parse_backends(config.backend, config.weight)
        check = parse_check(config.check)
        check_source(config.source)
        if config.check_host:
            check_authority(config.check_host, "--check-host")
        secured = any(spec.scheme == "https" for spec in specs)
        tls = _client_tls(config, state_dir, ALPN[config.backend_protocol]) if secured else None
        tls_h1 = _client_tls(config, state_dir, ALPN["h1"]) if secured and config.backend_protocol != "h1" else None
        upstreams = {spec.name: _upstream(spec, config, tls, tls_h1) for spec in specs}
        self._pools: dict[str, Pool] = {
            spec.name: net.pool(upstreams[spec.name], limits=config.backend_pool, timeouts=config.backend_timeouts)
            for spec in specs
        }
        self.backends = Backends(
            [
                Backend(spec.name, spec.address, self._pools[spec.name], weight=spec.weight, now=clock.now())
                for spec in specs
            ],
            BalanceOptions(
                config.balance,
                checked=check.kind != "none",
                panic=config.panic,
                passive_fall=config.passive_fall,
                passive_hold=config.passive_hold,
            ),
            CheckPolicy(config.check_interval, config.check_fast, config.check_rise, config.check_fall),
            clock=clock,
            metrics=metrics,
        )
        self._prober = Prober(
            self.backends,
            _probes(specs, upstreams, check, config, name, net),
            timeout=config.check_timeout,
            clock=clock,
            random=random,
            tasks=net.tasks,
        )
        service = LoadBalancer(
            self.backends,
            name=name,
            retries=config.retries,
            total=config.backend_timeouts.total,
            clock=clock,
            metrics=metrics,
            date=net.date,
        )
        super().__init__(
            name, "loadbalancer", config, service,
            clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir,
        )  # fmt: skip

    async def on_start(self) -> None:
        self._prober.start()

    async def on_stop(self) -> None:
        await self._prober.stop()
        self.backends.close()
        for pool in self._pools.values():
            await pool.close()

    def readiness(self) -> Readiness:
        """Ready while some backend is known to serve, or nothing is known because nothing is checked."""
        draining = super().readiness()
        if not draining.ready:
            return draining
        members = self.backends.members
        if any(one.takes and (one.seen_up or not self.backends.options.checked) for one in members):
            return Readiness(True)
        if any(one.health is Health.UNKNOWN for one in members):
            return Readiness(False, "no backend has been checked yet")
        states = ", ".join(f"{one.name} is {one.health.value} ({one.reason})" for one in members)
        return Readiness(False, f"no backend takes requests: {states}")

    def stats(self) -> dict[str, Any]:
        return {**super().stats(), "balance": self.backends.options.balance, "backends": self._states()}

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        routes: dict[tuple[bytes, bytes], AdminHandler] = {
            (b"GET", b"/-/backends"): lambda _: as_json({"backends": self._states()})
        }
        for backend in self.backends.members:
            path = f"/-/backends/{backend.name}".encode("ascii")
            routes[b"GET", path] = partial(self._state, backend)
            routes[b"POST", path + b"/drain"] = partial(self._drain, backend)
            routes[b"POST", path + b"/ready"] = partial(self._ready, backend)
        return routes

    def _state(self, backend: Backend, _: Request) -> Response:
        return as_json(self.backends.state_of(backend))

    def _drain(self, backend: Backend, request: Request) -> Response:
        self.backends.drain(backend)
        return self._state(backend, request)

    def _ready(self, backend: Backend, request: Request) -> Response:
        self.backends.ready(backend)
        return self._state(backend, request)

    def _states(self) -> list[dict[str, Any]]:
        states = self.backends.statistics()
        for state in states:
            pool = self._pools[state["name"]].statistics()
            state["connections"] = {"open": pool.open, "idle": pool.idle, "waiting": pool.waiting}
        return states


def _upstream(spec: BackendSpec, config: Config, tls: ssl.SSLContext | None, tls_h1: ssl.SSLContext | None) -> Upstream:
    """The certificate is verified for the host as it is written, a name or an address, unless a name is given."""
    return Upstream(
        spec.name,
        spec.host,
        spec.port,
        tls=tls if spec.scheme == "https" else None,
        tls_h1=tls_h1 if spec.scheme == "https" else None,
        server_name=config.backend_server_name or None,
        protocol=spec.protocol(config.backend_protocol),
        source=config.source or None,
    )


def _probes(
    specs: tuple[BackendSpec, ...],
    upstreams: Mapping[str, Upstream],
    check: CheckSpec,
    config: Config,
    name: str,
    net: Net,
) -> dict[str, Probe]:
    probes: dict[str, Probe] = {}
    try:
        passing = Statuses(config.check_status)
    except ValueError as error:
        raise ConfigError(f"--check-status {error}") from None
    seconds = config.check_timeout
    # A connection of its own for each look: that it still accepts is part of what is asked.
    limits = PoolLimits(connections=2, idle=0, waiting=2)
    timeouts = UpstreamTimeouts(connect=seconds, send=seconds, head=seconds, body=seconds, acquire=seconds)
    for spec in specs:
        upstream = upstreams[spec.name]
        if check.kind == "tcp":
            probes[spec.name] = tcp_probe(
                net,
                spec.host,
                spec.port,
                timeout=seconds,
                tls=upstream.tls,
                server_name=upstream.server_name,
                source=upstream.source,
                name=spec.name,
            )
        elif check.kind == "http":
            probes[spec.name] = http_probe(
                net.pool(upstream, limits=limits, timeouts=timeouts, checks=True),
                check.path,
                host=config.check_host or spec.authority,
                scheme="https" if spec.scheme == "https" else "http",
                passing=passing,
                name=name,
                now=net.clock.now,
            )
    return probes


def _client_tls(config: Config, state_dir: Path, alpn: Sequence[str]) -> ssl.SSLContext:
    authority: Path | None
    if config.backend_ca == SYSTEM:
        authority = None
    elif config.backend_ca:
        authority = Path(config.backend_ca)
    else:
        authority = ca.ca_path(state_dir)
        if not authority.exists():
            # backends that start later will be issued certificates by it: the order does not matter
            authority = ca.ensure(state_dir)
    if config.backend_server_name:
        check_host(config.backend_server_name, f"--backend-server-name {config.backend_server_name!r}")
    return client_context(authority, alpn=alpn, cert=config.backend_cert, key=config.backend_key, option="backend")
