"""A worker: answers over UDP from the zones that it is given, and asks for what is not its own to answer."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from dns_server.answering import answering, query_log
from dns_server.book import Book
from dns_server.config import Config
from dns_server.feed import DOOR, Feed
from dns_server.handler import Authority
from dns_server.rules import notify, update
from dns_server.rules.query import Query
from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Zone, Zones
from stack.clock import Clock
from stack.errors import ConfigError
from stack.hop.hop import AdminHandler, Bound, Readiness
from stack.net import Net
from stack.net.dns_listener import DnsListener
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.dns")

TALLY: Final = 0.1
"""Seconds after which what was counted is told."""
PATIENCE: Final = 5.0
"""Seconds that an answer that was asked for may take."""


class Follower:
    """A hop without doors but its UDP sockets. It serves when it has the zones."""

    def __init__(self, name: str, config: Config, *, clock: Clock, net: Net, metrics: Metrics, state_dir: Path) -> None:
        self.name, self.kind = name, "dns_server"
        self._config = config
        self._clock = clock
        self._tasks = net.tasks
        self._state_dir = state_dir
        self._book = Book()
        self._log = query_log(name, config, clock=clock, metrics=metrics, random=net.random, book=self._book)
        self.handler, self._edns, self._limiter = answering(
            name, config, Authority(self._book), clock=clock, log=self._log, state_dir=state_dir
        )
        for opcode in (notify.OPCODE, update.OPCODE):
            self.handler.operations[opcode] = self._ask
        self.handler.transfer = cast(Any, lambda query, message, client, protocol: self._ask(message, client, protocol))
        self.handler.signed = cast(Any, self._ask_signed)
        self._listener = DnsListener(
            self.handler, clock=clock, tasks=net.tasks, idle=config.tcp.idle, connections=0, bursts=self.handler
        )
        self._feed = Feed(self._received, self._ended)
        self._sockets: Sequence[Bound] = ()
        self._names: dict[bytes, tuple[bytes, dict[bytes, bytes]]] = {}
        self._asked: dict[int, asyncio.Future[bytes | None]] = {}
        self._number = 0
        self._served = asyncio.Event()
        self._draining = False
        self._dropped = 0

    # Life.

    async def start(self, sockets: Sequence[Bound]) -> None:
        door, _, self.name = os.environ.get(DOOR, "").partition(":")
        if not door.isdigit() or not self.name:
            raise ConfigError("--workers 0 is how a DNS server starts its workers; give 1 or more")
        self._sockets = sockets
        ours, theirs = socket.socketpair()
        with socket.socket(fileno=int(door)) as knocked:
            socket.send_fds(knocked, [self.name.encode()], [theirs.fileno()])
        theirs.close()
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self._feed, sock=ours)
        self._tasks.spawn(self._tell(), name=f"{self.name}.tally")
        await self._served.wait()

    def readiness(self) -> Readiness:
        if self._draining:
            return Readiness(False, "draining")
        return Readiness(True)

    async def drain(self) -> None:
        self._draining = True
        await self._listener.drain(self._config.timeouts.drain)

    async def stop(self) -> None:
        await self._listener.close()
        self._log.lines.close()
        self._send_tally()
        await self._feed.finish(self._clock)

    async def reload(self) -> None:
        self._edns.reload(self._config, self._state_dir)

    def reopen_logs(self) -> None:
        self._log.lines.reopen()

    def stats(self) -> dict[str, Any]:
        return {"dns": self._log.statistics(), "sockets": self._listener.statistics(), **self.handler.statistics()}

    def routes(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        return {}

    # What comes over the line.

    def _received(self, message: list[Any]) -> None:
        kind, *rest = message
        if kind == "names":
            _, key, origin, portion = rest
            if origin:
                self._names[key] = (origin, {})
            self._names[key][1].update(portion)
            self._feed.send("got")
        elif kind == "commit":
            self._commit(*rest)
        elif kind == "serve":
            self._tasks.spawn(self._serve(), name=f"{self.name}.serve")
        elif kind == "answered":
            number, response = rest
            if (waiting := self._asked.get(number)) is not None and not waiting.done():
                waiting.set_result(response)

    def _commit(self, number: int, items: Sequence[Sequence[Any]], absent: Sequence[Any], forward: bool) -> None:
        zones: dict[bytes, Zone] = dict(self._book.zones.by_key)
        for kind, key, *rest in items:
            if kind == "zone":
                origin, names = self._names.pop(key)
                zones[key] = Zone(origin, names)
            elif kind == "drop":
                zones.pop(key, None)
            else:
                serial, removed, added = rest
                zone, faults = zones[key].changed(_rrsets(removed), _rrsets(added))
                if zone is None or zone.serial != serial:
                    # never, if both processes run the same code; a process that starts anew gets the zones as a whole
                    log.error("a change did not give the same zone: %s", faults)
                    self._feed.abort()
                    return
                zones[key] = zone
        self._book.absent = dict(absent)
        self._book.zones = Zones(zones.values())
        self.handler.hindered = self._ask_hindered if forward else None
        self._feed.send("in-force", number)

    async def _serve(self) -> None:
        for bound in self._sockets:
            await self._listener.listen(bound.socket)
        self._served.set()
        self._feed.send("serves")

    def _ended(self) -> None:
        """Without the line no change arrives: better no worker than one that answers from old zones."""
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_result(None)
        if not self._draining:
            log.error("%s: the line to the server is gone", self.name)
            os._exit(1)

    # What goes over it.

    async def _ask(self, message: bytes, client: str, protocol: str) -> bytes | None:
        # whoever wants the answer may drop this before it begins: nothing is asked or held until here
        self._number = number = self._number + 1
        waiting: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        self._feed.send("ask", number, message, client, protocol)
        try:
            async with self._clock.timeout(PATIENCE):
                return await waiting
        except TimeoutError:
            return None
        finally:
            del self._asked[number]

    def _ask_hindered(
        self, message: bytes, client: str, protocol: str, exchange: Exchange | None
    ) -> Awaitable[bytes | None]:
        return self._ask(message, client, protocol)

    def _ask_signed(self, query: Query, message: bytes, client: str, protocol: str, *_: object) -> Awaitable[Any]:
        return self._ask(message, client, protocol)

    async def _tell(self) -> None:
        while True:
            await self._clock.sleep(TALLY)
            self._send_tally()

    def _send_tally(self) -> None:
        tally = self._log.taken()
        dropped, self._dropped = self._listener.dropped - self._dropped, self._listener.dropped
        if tally or dropped:
            self._feed.send("tally", tally, dropped)


def _rrsets(rows: Sequence[Sequence[Any]]) -> list[RRset]:
    return [RRset(owner, type, ttl, rdatas) for owner, type, ttl, rdatas in rows]
