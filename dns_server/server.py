"""The DNS server as a hop: its sockets, its zones or its cache, its admin routes."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final
from urllib.parse import parse_qs

from dns_server import figures
from dns_server.answering import answering, query_log
from dns_server.changes import Changes
from dns_server.config import Config
from dns_server.doh import Doh
from dns_server.grants import Grants
from dns_server.handler import Authority
from dns_server.hindered_asking import HinderedAsking, server_names
from dns_server.hindrance import Hindrance
from dns_server.records import record_pages
from dns_server.replication import Replication
from dns_server.resolver import Resolver
from dns_server.rules import notify, update
from dns_server.rules.names import NameFault, from_text, to_text
from dns_server.signed import SignedQueries
from dns_server.texts import Texts
from dns_server.tsig import Keyring
from dns_server.tsig_keys import read_keys
from dns_server.update import Updates
from dns_server.workers import Workers
from stack.clock import Clock
from stack.config.listen import address
from stack.errors import BadRequest, ConfigError, NotFound
from stack.faults.net import FaultyNet
from stack.faults.registry import Faults
from stack.hop.hop import AdminHandler, Bound
from stack.hop.http_hop import HttpHop
from stack.http.message import Peer, Request, Response
from stack.net import Net
from stack.net.ca import ca_path
from stack.net.context import Context
from stack.net.dns_listener import DnsListener
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.dns")

_DNS: Final = ("dns", "tls")
_MAX_ROWS: Final = 1000


class DnsServer(HttpHop):
    """An authoritative server or a resolver, by its role. DNS over HTTPS is served by the engine."""

    config: Config

    def __init__(
        self,
        name: str,
        config: Config,
        role: Authority | Resolver,
        texts: Texts,
        *,
        keyring: Keyring,
        grants: Grants,
        clock: Clock,
        random: Random,
        net: Net,
        metrics: Metrics,
        state_dir: Path,
    ) -> None:
        self.role = role
        self.texts = texts
        self._fault = ""
        self._state_dir = state_dir
        self.query_log = query_log(
            name, config, clock=clock, metrics=metrics, random=random,
            book=role.book if isinstance(role, Authority) else None,
        )  # fmt: skip
        self.handler, self.edns, self.limiter = answering(
            name, config, role, clock=clock, log=self.query_log, state_dir=state_dir
        )
        if isinstance(net, FaultyNet):
            self._hinder(net.faults, role, config)
        super().__init__(
            name, "dns_server", config, Doh(self.handler),
            clock=clock, random=random, net=net, metrics=metrics, state_dir=state_dir,
        )  # fmt: skip
        self._keyring = keyring
        self.handler.signed = SignedQueries(self.handler, keyring, payload=config.payload)
        self.replication: Replication | None = None
        if isinstance(role, Authority):
            # ids must not be guessed from earlier ones (RFC 5452 §9.2): not from the process's ordinary source
            self.replication = Replication(
                config, role.book, keyring,
                query_log=self.query_log, clock=clock, random=SystemRandom(), tasks=net.tasks, metrics=metrics,
                directory=state_dir / "secondary" / name, authority=ca_path(state_dir),
            )  # fmt: skip
            self.handler.transfer = self.replication.answer
            self.handler.operations[notify.OPCODE] = self.replication.hear
        self.changes: Changes | None = None
        if isinstance(role, Authority):
            self.changes = Changes(role.book, state_dir / "changes" / name, clock=clock, raises=config.raise_serial)
            self.handler.operations[update.OPCODE] = Updates(
                self.changes, keyring, grants, payload=config.payload, query_log=self.query_log, now=clock.now
            ).operation
            metrics.gauge(
                "hopstack_dns_zone_fault",
                "Zones whose file was faulty when it was last read (1) or not (0).",
                ("zone",),
                lambda: [((to_text(key),), float(bool(fault))) for key, fault in texts.faults.items()],
            )
        self.listener = DnsListener(
            self.handler,
            clock=clock,
            tasks=net.tasks,
            idle=config.tcp.idle,
            connections=config.tcp.connections,
            per_client=config.tcp.connections_per_address,
            bursts=self.handler,
        )
        figures.of_sockets(metrics, self.listener.statistics)
        if isinstance(role, Resolver):
            figures.of_resolver(metrics, role)
        else:
            figures.of_zones(metrics, role.book, clock.time)
        self.workers: Workers | None = None
        if config.workers > 1 and isinstance(role, Authority):
            self.workers = Workers(
                name, config, book=role.book, handler=self.handler, listener=self.listener, query_log=self.query_log,
                clock=clock, tasks=net.tasks, metrics=metrics, state_dir=state_dir,
            )  # fmt: skip

    def _hinder(self, faults: Faults, role: Authority | Resolver, config: Config) -> None:
        """Faults stand around what it answers, and around what a resolver asks."""
        asking = None
        if isinstance(role, Resolver):
            asking = HinderedAsking(faults, role, role.ask, server_names(config.server))
        faults.join_dns(Hindrance(faults, self.handler, self.query_log), asking)

    # What the process calls.

    async def start(self, sockets: Sequence[Bound]) -> None:
        if self.changes is not None:
            await self.texts.start(self.changes)
            if self.config.watch:
                self.net.tasks.spawn(self.texts.follow(self.changes), name=f"{self.name}.zones")
            self.net.tasks.spawn(self.changes.follow(), name=f"{self.name}.changes")
        own = [bound for bound in sockets if bound.scheme in _DNS]
        web = [bound for bound in sockets if bound.scheme not in _DNS]
        if any(bound.scheme == "tcp" for bound in web):
            raise ConfigError("--listen tcp://: the DNS server serves dns (UDP and TCP), tls, https and http")
        self.certificates.hosts = [bound.address[0] for bound in sockets if bound.scheme in ("tls", "https")]
        tls = iter(self.certificates.listeners([bound for bound in own if bound.scheme == "tls"]))
        for bound in own:
            if bound.scheme == "tls":
                await self.server.listen(bound.socket, next(tls), speak=self._speak_dns)
            else:
                await self.listener.listen(bound.socket)
            place = f"{bound.scheme}://{address(*bound.address)}"
            if place not in self.listening:
                self.listening.append(place)
        if self.workers is not None:
            await self.workers.start(own)
        if self.replication is not None:
            await self.replication.start(next((bound.address[0] for bound in own), ""))
        await super().start(web)

    def _speak_dns(self, _: Context, transport: asyncio.Transport, __: Peer) -> None:
        """DNS over TLS (RFC 7858): the door of HTTPS, with its bounds, up to the end of the handshake."""
        self.listener.adopt(transport, "tls")

    async def drain(self) -> None:
        self.draining = True
        await asyncio.gather(super().drain(), self._drain_dns())

    async def _drain_dns(self) -> None:
        timeouts = self.config.timeouts
        self.edns.stop()
        if self.workers is not None:
            await self.workers.stop(timeouts.drain)  # first: what they leave unread is read here
        # in the door of TLS are some who will ask; connections of HTTP end as fast
        await self.listener.drain(
            timeouts.drain, linger=timeouts.linger, arriving=lambda: bool(self.context.connections)
        )

    async def on_stop(self) -> None:
        if self.workers is not None:
            await self.workers.stop(0.0)
            self.workers.close()
        if self.replication is not None:
            await self.replication.close()
        await self.listener.close()
        self.query_log.lines.close()

    def reopen_logs(self) -> None:
        super().reopen_logs()
        self.query_log.lines.reopen()
        if self.workers is not None:
            self.workers.signal(signal.SIGUSR1)

    async def reload(self) -> None:
        """Read anew the keys, and the zones whose files have changed. One that is faulty stays as it was, and its fault
        is shown."""
        try:
            self.edns.reload(self.config, self._state_dir)
            self._keyring.replace(read_keys(self.config.tsig_key))
            if self.changes is not None:
                await self.texts.reload(self.changes)
        except ConfigError as error:
            self._fault = "" if self.texts.fault else str(error)
            raise
        self._fault = ""
        if self.workers is not None:
            self.workers.signal(signal.SIGHUP)
            await self.workers.settled()
        log.info("zones reloaded")
        self.certificates.reload()

    # The admin endpoint.

    def stats(self) -> dict[str, Any]:
        stats = {
            **super().stats(),
            "role": "resolver" if isinstance(self.role, Resolver) else "authoritative",
            "dns": self.query_log.statistics(),
            "sockets": self.listener.statistics(),
            **self.handler.statistics(),
        }
        if self.workers is not None:
            stats["workers"] = self.workers.statistics()
        if self.limiter is not None:
            stats["rate_limit"] = self.limiter.statistics()
        if isinstance(self.role, Resolver):
            stats |= {"cache": self.role.cache.statistics(), "walk": self.role.statistics()}
        else:
            assert self.replication is not None
            stats |= self.replication.statistics()
            stats |= {"zones": len(self.role.book.zones.by_key), "zones_fault": self.texts.fault or self._fault}
        return stats

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        routes: dict[tuple[bytes, bytes], AdminHandler] = {
            (b"GET", b"/-/zones"): self._show_zones,
            (b"POST", b"/-/flush"): self._flush,
        }
        if isinstance(self.role, Resolver):
            routes[b"GET", b"/-/cache"] = self._show_cache
        else:
            routes[b"POST", b"/-/reload"] = self._reload
            routes[b"POST", b"/-/refresh"] = self._refresh
            routes[b"POST", b"/-/notify"] = self._notify
        if self.changes is not None:
            routes |= record_pages(self.changes)
        return routes

    def _show_zones(self, request: Request) -> Response:
        """The zones that are served, or to which the resolver knows the way."""
        if isinstance(self.role, Resolver):
            return _json({"zones": list(self.role.cache.zones())})
        assert self.replication is not None
        zones = [
            {
                "zone": to_text(zone.origin),
                "serial": zone.serial,
                "names": len(zone),
                **self.texts.row(zone.key),
                **self.replication.row(zone.key),
            }
            for zone in self.role.book.zones.by_key.values()
        ]
        zones += self.replication.absent()
        return _json({"zones": zones, "fault": self.texts.fault or self._fault})

    def _refresh(self, request: Request) -> Response:
        """Look at the primaries now; with ?zone=NAME for that zone alone, with whole=1 to fetch whatever is there."""
        assert self.replication is not None
        whole = parse_qs((request.query or b"").decode("latin-1")).get("whole") == ["1"]
        try:
            return _json({"refreshing": self.replication.refresh(_zone_key(request), whole=whole)})
        except KeyError as key:
            raise NotFound(f"{to_text(key.args[0])} is no secondary zone here") from None

    def _notify(self, request: Request) -> Response:
        """Tell the secondaries now; with ?zone=NAME of that zone alone."""
        assert self.replication is not None
        try:
            return _json({"notified": self.replication.notify(_zone_key(request))})
        except KeyError as key:
            raise NotFound(f"{to_text(key.args[0])} is not served here") from None

    def _show_cache(self, request: Request) -> Response:
        assert isinstance(self.role, Resolver)
        return _json({"entries": list(self.role.cache.rows(_MAX_ROWS)), "statistics": self.role.cache.statistics()})

    def _flush(self, request: Request) -> Response:
        """Forget everything, or with ?name=NAME all at and below it."""
        names = parse_qs((request.query or b"").decode("latin-1")).get("name", [])
        try:
            key = from_text(names[0]).lower() if names else None
        except NameFault as fault:
            raise BadRequest(str(fault)) from None
        flushed = self.role.cache.flush(key) if isinstance(self.role, Resolver) else 0
        self.handler.flush()
        return _json({"flushed": flushed})

    async def _reload(self, request: Request) -> Response:
        try:
            await self.reload()
        except ConfigError as error:
            return _json({"reloaded": False, "fault": str(error)}, status=409)
        return self._show_zones(request)


def _zone_key(request: Request) -> bytes | None:
    names = parse_qs((request.query or b"").decode("latin-1")).get("zone", [])
    try:
        return from_text(names[0]).lower() if names else None
    except NameFault as fault:
        raise BadRequest(str(fault)) from None


def _json(value: object, *, status: int = 200) -> Response:
    return Response(status, [(b"content-type", b"application/json")], json.dumps(value).encode() + b"\n")
