"""From options to a running reverse proxy. All that is wrong with the options is said here, in one line."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from proxy.codecs.coder import Coder
from proxy.compression import Compressor
from proxy.config import Compression, Config
from proxy.handler import Proxy
from proxy.prober import Prober
from proxy.rules.compression import Policy, Types
from proxy.rules.roots import is_prefix, roots
from proxy.static import StaticFiles
from stack.clock import Clock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.config.upstream import ALPN, check_authority, check_host, check_source, parse_upstream
from stack.errors import ConfigError
from stack.hop.hop import Readiness
from stack.hop.http_hop import HttpHop
from stack.http.statuses import Statuses
from stack.net import Net
from stack.net.pool import Pool, Upstream
from stack.net.tls import client_context
from stack.telemetry.metrics import Metrics

KIND = "proxy"
_EXAMPLE = "http://127.0.0.1:9001"


def build(config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path) -> ProxyHop:
    """Without I/O on the network; certificates and the static directory are looked at. Raises ConfigError."""
    return ProxyHop(config, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir)


class ProxyHop(HttpHop):
    """The parts of one proxy, and the process's view of them: readiness and statistics."""

    def __init__(
        self, config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path
    ) -> None:
        name = config.name or KIND
        types = listed(config.compression)
        self._pool: Pool | None = None
        self._prober: Prober | None = None
        if config.upstream:
            upstream, authority = app(config)
            self._pool = net.pool(upstream, limits=config.upstream_pool, timeouts=config.upstream_timeouts)
            self._prober = _prober(config, name, upstream, authority, clock, net) if config.health else None
        elif not config.static:
            raise ConfigError(
                f"--upstream is missing: name the app, as {_EXAMPLE}; or --static /=DIR, to serve files alone"
            )
        self._compressor = compressor = _compressor(config.compression, types) if config.compress else None
        self._probing: asyncio.Task[None] | None = None
        service = Proxy(
            name=name,
            app=self._pool,
            app_name="" if self._pool is None else self._pool.upstream.name,
            static=_static(config, name, types, clock, random),
            compressor=compressor,
            date=net.date,
        )
        super().__init__(
            name, KIND, config, service, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir
        )
        if (prober := self._prober) is not None:
            metrics.gauge(
                "hopstack_app_ready",
                "Whether the app's last answer to the health check was a good one.",
                ("hop",),
                lambda: [((name,), float(prober.readiness.ready))],
            )
        if compressor is not None:
            metrics.gauge(
                "hopstack_compression_bytes",
                "Content that was compressed so far, before and after.",
                ("hop", "coding", "side"),
                lambda: [
                    ((name, coding.decode("ascii"), side), float(getattr(tally, side)))
                    for coding, tally in compressor.tallies.items()
                    for side in ("before", "after")
                ],
            )

    async def on_start(self) -> None:
        if self._prober is not None:
            self._probing = self.net.tasks.spawn(self._prober.run(), name=f"{self.name} asks its app's health")

    async def on_stop(self) -> None:
        if self._probing is not None:
            self._probing.cancel()

    def readiness(self) -> Readiness:
        own = super().readiness()
        return own if self._prober is None or not own.ready else self._prober.readiness

    def stats(self) -> dict[str, Any]:
        return {
            **super().stats(),
            "compression": None if self._compressor is None else self._compressor.statistics(),
            "upstream": None if self._pool is None else self._upstream(self._pool),
        }

    def _upstream(self, pool: Pool) -> dict[str, Any]:
        return {
            "name": pool.upstream.name,
            "address": f"{pool.upstream.host}:{pool.upstream.port}",
            "pool": msgspec.to_builtins(pool.statistics()),
            "health": None if self._prober is None else msgspec.to_builtins(self._prober.statistics()),
        }


def app(config: Config) -> tuple[Upstream, bytes]:
    """The app's place, and its authority."""
    given = parse_upstream(config.upstream, option="--upstream", example=_EXAMPLE)
    check_source(config.source)
    alpn = ALPN[config.upstream_protocol]
    context = partial(
        client_context,
        config.upstream_ca or None,
        cert=config.upstream_cert,
        key=config.upstream_key,
        option="upstream",
    )
    tls = context(alpn=alpn) if given.scheme == "https" else None
    if config.upstream_server_name:
        check_host(config.upstream_server_name, f"--upstream-server-name {config.upstream_server_name!r}")
    name = given.name or given.authority
    upstream = Upstream(
        name,
        given.host,
        given.port,
        tls=tls,
        tls_h1=context() if tls and config.upstream_protocol != "h1" else None,
        server_name=config.upstream_server_name or None,
        protocol=given.protocol(config.upstream_protocol),
        source=config.source or None,
    )
    return upstream, given.authority.encode("ascii")


def listed(options: Compression) -> Types:
    try:
        return Types(options.types)
    except ValueError as error:
        raise ConfigError(f"--compression-types {error} is no media type; write text/html, text/* or *+json") from None


def _compressor(options: Compression, types: Types) -> Compressor:
    coders = {coding: _coder(coding, options) for coding in options.codings}
    policy = Policy(tuple(coding.encode("ascii") for coding in coders), options.minimum, types)
    return Compressor(policy, {coding.encode("ascii"): coder for coding, coder in coders.items()})


def _coder(coding: str, options: Compression) -> Coder:
    """Each library is loaded only where it is used."""
    if coding == "br":
        from proxy.codecs.br import Brotli

        return Brotli(options.br_level)
    if coding == "zstd":
        from proxy.codecs.zstd import Zstd

        return Zstd(options.zstd_level)
    if coding == "gzip":
        from proxy.codecs.gzip import Gzip

        return Gzip(options.gzip_level)
    raise ConfigError(f"--compression-codings {coding!r}: it is not offered; choose among zstd, br and gzip")


def _static(config: Config, name: str, types: Types, clock: Clock, random: Random) -> list[StaticFiles]:
    """The longest prefix first."""
    try:
        found = roots(config.static, config.static_prefix)
    except ValueError as error:
        place = "--static" if is_prefix(config.static_prefix) else "--static-prefix"
        raise ConfigError(f"{place} {error}") from None
    for prefix, directory in found.items():
        if prefix == "/" and config.upstream:
            raise ConfigError(
                f"--static /={directory}: no request would reach the app; leave --upstream out, or give a prefix, as "
                f"/static/={directory}"
            )
        if not Path(directory).is_dir():
            hint = "; a prefix begins and ends with a slash, as /assets/=built" if "=" in directory else ""
            raise ConfigError(
                f"--static {directory!r}: it is no directory; give the one that holds the built files{hint}"
            )
    return [
        StaticFiles(
            str(Path(directory).absolute()),
            prefix=prefix.encode("ascii"),
            max_age=config.static_max_age,
            compressible=types,
            hop=name,
            time=clock.time,
            random=random,
        )
        for prefix, directory in found.items()
    ]


def _prober(config: Config, name: str, upstream: Upstream, authority: bytes, clock: Clock, net: Net) -> Prober:
    if not config.health.startswith("/") or not config.health.isascii() or not config.health.isprintable():
        raise ConfigError(f"--health {config.health!r}: it is a path of the app, as /health")
    if config.health_host:
        check_authority(config.health_host, "--health-host")
    try:
        passing = Statuses(config.health_status)
    except ValueError as error:
        raise ConfigError(f"--health-status {error}") from None
    timeout = config.health_timeout
    return Prober(
        net.pool(  # its own: a pool that is full of slow requests says nothing of the app's health
            upstream,
            limits=PoolLimits(connections=1, idle=1, waiting=1),
            timeouts=UpstreamTimeouts(connect=timeout, head=timeout, body=timeout),
            checks=True,
        ),
        name=name,
        app_name=upstream.name,
        authority=config.health_host.encode("ascii") or authority,
        path=config.health,
        passing=passing,
        interval=config.health_interval,
        timeout=timeout,
        clock=clock,
    )
