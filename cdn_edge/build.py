"""From options to a running edge. All that is wrong with the options is said here, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from cdn_edge import checks
from cdn_edge.believing import BelievingEdge
from cdn_edge.config import KIND, Config, parse_origin, parse_targets
from cdn_edge.explain import Explain
from cdn_edge.handler import Edge
from cdn_edge.memory import ProcessMemory
from cdn_edge.profiles import profiled
from cdn_edge.purge import Purge
from cdn_edge.rules import cache_status
from cdn_edge.rules.freshness import Heuristic
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.key import Keying
from cdn_edge.rules.search import Learned
from cdn_edge.rules.vary import Selector
from cdn_edge.shown import Shown
from cdn_edge.store import Store, largest
from stack.clock import Clock
from stack.config.upstream import ALPN, check_host, check_source
from stack.hop.hop import AdminHandler, Hop
from stack.hop.http_hop import HttpHop
from stack.net import Net
from stack.net.pool import Upstream
from stack.net.service import Service
from stack.net.tls import client_context
from stack.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from cdn_edge.disk import Disk
    from cdn_edge.together import Together
    from stack.hop.control import Control


def build(config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path) -> Hop:
    if config.workers > 1:
        from cdn_edge.workers import EdgeWorkers

        check(config)
        return EdgeWorkers(config, keying(config), clock=clock, net=net, metrics=metrics, state_dir=state_dir)
    return EdgeHop(config, clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir)


class EdgeHop(HttpHop):
    """ConfigError for options that do not fit."""

    def __init__(
        self, config: Config, *, clock: Clock, random: Random, net: Net, metrics: Metrics, state_dir: Path
    ) -> None:
        config = profiled(config)
        name = config.name or KIND
        origin = upstream(config)
        cache = config.cache
        checks.check(cache)
        policy = Policy(
            max_object=min(cache.max_object, largest(cache.size)),
            slice=min(cache.slice, largest(cache.size)),
            slice_from=min(cache.slice_from, largest(cache.size)),
            heuristic=Heuristic(cache.heuristic, cache.heuristic_max, cache.negative_ttl),
            set_cookie=cache.set_cookie or "explicit",
            guess_for_cookies=bool(cache.guess_for_cookies),
            stale_if_unreachable=cache.stale_if_unreachable,
            request_errors=cache.request_errors or "never",
            # numbers that no process before this one used: what it has left on disk may be out of date
            keying=keying(config, Learned(first=int(clock.time() * 1000)) if cache.no_vary_search else None),
            select=Selector(encodings=cache.vary_encodings, language_order=cache.vary_languages != "unordered"),
            targets=parse_targets(cache.targets),
            directed=cache.request_directives == "obey",
            stale_with_s_maxage=cache.stale_with_s_maxage,
        )
        self.store = Store(
            cache.size,
            max_object=policy.max_object,
            select=policy.select,
            most_variants=cache.vary_most,
            memory=ProcessMemory(),
        )
        self._disk: Disk | None = None
        if cache.disk:
            from cdn_edge.disk import Disk  # only who has one pays for SQLite

            names = policy.keying.names  # with --trusted one more
            self._disk = Disk(cache, self.store, name=name, clock=clock, tasks=net.tasks, metrics=metrics, names=names)
        self._purge = Purge(self.store, policy.keying, self._disk)
        self._together: Together | None = None
        self._pool = net.pool(origin, limits=config.origin_pool, timeouts=config.origin_timeouts)
        self._lookups = metrics.counter("hopstack_cache_lookups_total", "Requests by what lookup came to.", ("result",))
        self._edge = (BelievingEdge if config.trusted else Edge)(
            fetch=self._pool.send,
            store=self.store,
            clock=clock,
            tasks=net.tasks,
            random=random,
            metrics=metrics,
            policy=policy,
            name=name,
            upstream=origin.name,
            disk=self._disk,
        )
        service: Service = self._edge
        if cache.status != "all" or cache.status_key:
            key = (lambda *parts: policy.keying.of(*parts)) if cache.status_key else None
            service = Shown(service, to=cache.status, key=key)
        super().__init__(
            name, "cdn_edge", config, service,
            clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir,
        )  # fmt: skip
        refused = cache_status.unanswered(cache_status.member(name), "refused")
        if cache.status == "all":
            self.context.error_fields = [(b"cache-status", refused)]
        metrics.gauge(
            "hopstack_cache_bytes", "Bytes of the cache in use.", (), lambda: [((), self.store.statistics().bytes)]
        )
        metrics.gauge(
            "hopstack_cache_objects", "Stored responses.", (), lambda: [((), self.store.statistics().objects)]
        )

    def joined(self, control: Control) -> Mapping[str, Callable[..., Any]]:
        from cdn_edge.together import Together

        self._together = Together(control, self._purge, self.clock, self._disk)
        self._edge.tell(self._together)
        return {"invalidate": self._together.invalidated}

    async def on_start(self) -> None:
        if self._together is not None:
            await self._together.begin()
        if self._disk is not None:
            await self._disk.start()
        if self._together is not None:
            await self._together.follow()

    async def on_stop(self) -> None:
        await self._pool.close()
        if self._disk is not None:
            await self._disk.stop()

    def stats(self) -> dict[str, Any]:
        looked_up = {labels[0]: int(count) for labels, count in self._lookups.values.items()}
        hits = sum(looked_up.get(word, 0) for word in ("hit", "max-stale", "stale-while-revalidate"))
        return {
            **super().stats(),
            "cache": {
                **asdict(self.store.statistics()),
                "hits": hits,
                "misses": sum(looked_up.values()) - hits,
                "lookups": looked_up,
                **({} if self._disk is None else {"disk": self._disk.statistics()}),
            },
            "origin": {
                "name": self._pool.upstream.name,
                "pool": asdict(self._pool.statistics()),
            },
        }

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        explain = Explain(self._edge.explaining)
        return {
            (b"POST", b"/-/purge"): self._purge,
            (b"GET", b"/-/explain"): explain,
            (b"POST", b"/-/explain"): explain,
        }


def check(config: Config) -> None:
    """ConfigError for what no worker could start with: said once, and not by each of them."""
    upstream(config)
    checks.check(config.cache)


def keying(config: Config, learned: Learned | None = None) -> Keying:
    key = config.cache.key
    return Keying(
        sort_query=key.sort_query,
        ignore_query=key.ignore_query,
        only_query=key.only_query,
        headers=key.headers,
        cookies=key.cookies,
        proxies=bool(config.trusted),
        learned=learned,
    )


def upstream(config: Config) -> Upstream:
    """The origin as the pool knows it."""
    origin = parse_origin(config.origin)
    check_source(config.source)
    if config.origin_server_name:
        check_host(config.origin_server_name, f"--origin-server-name {config.origin_server_name!r}")
    context = partial(
        client_context, config.origin_ca or None, cert=config.origin_cert, key=config.origin_key, option="origin"
    )
    return Upstream(
        origin.name or origin.address,
        origin.host,
        origin.port,
        tls=context(alpn=ALPN[config.origin_protocol]) if origin.scheme == "https" else None,
        tls_h1=context() if origin.scheme == "https" and config.origin_protocol != "h1" else None,
        server_name=config.origin_server_name or None,
        protocol=origin.protocol(config.origin_protocol),
        source=config.source or None,
    )
