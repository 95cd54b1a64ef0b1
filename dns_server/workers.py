"""Processes that answer beside this one: each has UDP sockets of its own on our addresses (SO_REUSEPORT).

This process holds the zones and alone changes them. A worker gets them over a line of its own (feed.py) and every
change after that, and what it cannot answer itself it asks for. While it is not there, or not yet ready, this process
reads its sockets: nothing that was sent to them is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from dns_server.book import Book, Change
from dns_server.config import Config
from dns_server.feed import DOOR, Feed
from dns_server.handler import Handler
from dns_server.query_log import QueryLog
from dns_server.rules.rrset import RRset
from dns_server.rules.zone import Zone
from stack.clock import Clock
from stack.config.arguments import arguments
from stack.config.listen import Listen
from stack.errors import ConfigError
from stack.hop.child import BROKEN, Child, Event, State
from stack.hop.hop import Bound
from stack.hop.master import Master
from stack.hop.process import WORKER
from stack.net import dns_batch
from stack.net.dns_datagrams import Datagrams
from stack.net.dns_listener import DnsListener
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.workers")

PATIENCE: Final = 3.0
"""Seconds for which no worker gets on with a change; then they are replaced, so that it does not wait for ever."""
PORTION: Final = 4000
"""Names of a zone in one message."""
WHOLE: Final = 5000
"""RRsets of a change above which a zone is sent as a whole."""
LOOK: Final = 0.1
"""Seconds between two looks at what changes without telling."""
MARGIN: Final = 2.0
"""Seconds that a worker has to end, beyond its drain time."""


class Workers:
    """`config.workers` - 1 processes: this one answers too."""

    def __init__(
        self,
        name: str,
        config: Config,
        *,
        book: Book,
        handler: Handler,
        listener: DnsListener,
        query_log: QueryLog,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
        state_dir: Path,
    ) -> None:
        """ConfigError where the system cannot share an address among processes."""
        if not dns_batch.available():
            raise ConfigError("--workers: only Linux shares one UDP address among processes; leave it at 1")
        self._name = name
        self._config = config
        self._book = book
        self._handler = handler
        self._listener = listener
        self._log = query_log
        self._clock = clock
        self._tasks = tasks
        self._state_dir = state_dir
        self._master = Master(clock, tasks, events=self._happened)
        self._names = [f"{name}/{number}" for number in range(1, config.workers)]
        self._sockets: dict[str, list[tuple[socket.socket, Datagrams]]] = {}
        self._lines: dict[str, _Line] = {}
        self._door, self._door_within = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._number = 0
        self._pending: list[Change] = []
        self._told: tuple[object, bool] = (book.absent, False)
        self._flushing = False
        self._progress = asyncio.Event()
        self._stopping = False
        book.watchers.append(self._changed)
        book.followers.append(self.settled)
        metrics.gauge(
            "hopstack_workers", "Worker processes, by state.", ("hop", "state"), lambda: self._by_state().items()
        )

    async def start(self, bound: Sequence[Bound]) -> None:
        """Start them; they answer when they are ready."""
        datagrams = [one for one in bound if one.scheme == "dns" and one.socket.type == socket.SOCK_DGRAM]
        for one in datagrams:
            one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._door.setblocking(False)
        asyncio.get_running_loop().add_reader(self._door.fileno(), self._knock)
        self._tasks.spawn(self._look(), name=f"{self._name}.workers")
        for name in self._names:
            self._sockets[name] = [await self._beside(one.socket) for one in datagrams]
            await self._master.start(self._child(name))

    async def _beside(self, sock: socket.socket) -> tuple[socket.socket, Datagrams]:
        """A further socket on the same address. We read it until its worker does."""
        other = socket.socket(sock.family, socket.SOCK_DGRAM)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            other.bind(sock.getsockname())
        except OSError as error:
            other.close()
            raise ConfigError(f"--workers: {error.strerror}: another process holds the address") from None
        return other, await self._listener.listen_datagrams(other)

    def _child(self, name: str) -> Child:
        sockets = [sock for sock, _ in self._sockets[name]]
        given = arguments(
            self._config,
            name=self._name,
            workers=0,
            admin="",
            listen=tuple(str(Listen("dns", fd=sock.fileno())) for sock in sockets),
            state_dir=str(self._state_dir),
        )
        return Child(
            name,
            "dns_server",
            [sys.executable, "-P", "-m", "dns_server", *given],
            env={WORKER: "1", DOOR: f"{self._door_within.fileno()}:{name}"},
            sockets=[*sockets, self._door_within],
        )

    async def stop(self, timeout: float) -> None:
        """Let them answer what they have; from then on their sockets are read here, until the listener drains."""
        self._stopping = True
        await self._master.stop(timeout=timeout + MARGIN)

    def close(self) -> None:
        if self._door.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._door.fileno())
            self._door.close()
            self._door_within.close()
        for line in list(self._lines.values()):
            line.feed.abort()

    def signal(self, number: int) -> None:
        for name, standing in self._master.statistics().items():
            if standing.pid is not None:
                self._master.signal(name, number)

    def statistics(self) -> list[dict[str, Any]]:
        return [
            {
                "name": one.name,
                "pid": one.pid,
                "state": one.state.value,
                "restarts": one.restarts,
                "answers": (line := self._lines.get(one.name)) is not None and line.answers,
                "queries": line.queries if line is not None else 0,
            }
            for one in self._master.statistics().values()
        ]

    def _happened(self, event: Event) -> None:
        if event.new in BROKEN:
            log.error("%s: %s: %s; its share is answered by this process", event.name, event.new.value, event.reason)
        elif event.new is State.RESTARTING and not self._stopping:
            log.warning("%s: %s: %s", event.name, event.new.value, event.reason)

    def _by_state(self) -> dict[tuple[str, str], float]:
        counts: dict[tuple[str, str], float] = {}
        for one in self._master.statistics().values():
            counts[self._name, one.state.value] = counts.get((self._name, one.state.value), 0) + 1
        return counts

    # Lines.

    def _knock(self) -> None:
        """A process hands over its end of a line: a worker has begun, for the first time or again."""
        try:
            told, descriptors, _, _ = socket.recv_fds(self._door, 256, 1)
        except OSError:
            return
        name = told.decode("utf-8", "replace")
        if not descriptors or name not in self._sockets or self._stopping:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        sock = socket.socket(fileno=descriptors[0])
        sock.setblocking(False)
        self._tasks.spawn(self._begin(name, sock), name=f"{name}.line")

    async def _begin(self, name: str, sock: socket.socket) -> None:
        if (before := self._lines.get(name)) is not None:
            before.feed.abort()
        line = _Line(name)
        line.feed = Feed(lambda message: self._received(line, message), lambda: self._ended(line))
        await asyncio.get_running_loop().create_unix_connection(lambda: line.feed, sock=sock)
        self._lines[name] = line
        # all there is; what changes meanwhile comes behind it
        zones, number = self._book.zones, self._number
        line.behind = []
        for zone in zones.by_key.values():
            await _send_zone(line.feed, number, zone, self._clock)
            if not line.feed.open:
                return
        line.feed.send("commit", number, [["zone", key] for key in zones.by_key], *self._besides())
        while line.behind:
            await self._send_changes(line, *line.behind.pop(0))
        # nothing happens between these: from here on changes are not answered before it has them
        line.feed.send("serve")
        line.follows = True
        line.behind = None

    def _ended(self, line: _Line) -> None:
        if self._lines.get(line.name) is line:
            del self._lines[line.name]
            for _, datagrams in self._sockets[line.name]:
                datagrams.resume()
        self._progress.set()

    def _received(self, line: _Line, message: list[Any]) -> None:
        kind, *rest = message
        if kind == "in-force":
            line.acknowledged = rest[0]
            self._progress.set()
        elif kind == "got":
            self._progress.set()
        elif kind == "serves":
            line.answers = True
            for _, datagrams in self._sockets[line.name]:
                datagrams.pause()
        elif kind == "tally":
            tally, dropped = rest
            if tally:
                line.queries += self._log.add(tally)
            self._listener.dropped += dropped
        elif kind == "ask":
            number, query, client, protocol = rest
            response = self._handler.answer(query, client, protocol)
            if isinstance(response, AsyncIterator):
                response = None  # for streams, which are ours alone
            if response is None or isinstance(response, bytes):
                line.feed.send("answered", number, response)
            else:
                self._tasks.spawn(_answer(line.feed, number, response), name=f"{line.name}.ask")

    # Changes.

    def _changed(self, change: Change) -> None:
        self._pending.append(change)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._number += 1
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """What changed in one turn of the loop is one change to a worker too."""
        changes, self._pending = self._pending, []
        self._flushing = False
        self._told = (self._book.absent, self._handler.hindered is not None)
        for line in self._lines.values():
            if line.behind is not None:
                line.behind.append((self._number, changes))
            else:
                line.behind = []
                self._tasks.spawn(self._catch_up(line, self._number, changes), name=f"{line.name}.changes")

    async def _catch_up(self, line: _Line, number: int, changes: Sequence[Change]) -> None:
        await self._send_changes(line, number, changes)
        while line.behind:
            await self._send_changes(line, *line.behind.pop(0))
        line.behind = None

    async def _send_changes(self, line: _Line, number: int, changes: Sequence[Change]) -> None:
        items: list[list[object]] = []
        for change in changes:
            zone = change.after
            if zone is None:
                if change.before is not None:
                    items.append(["drop", change.before.key])
            elif change.before is None or len(change.removed) + len(change.added) > WHOLE:
                await _send_zone(line.feed, number, zone, self._clock)
                items.append(["zone", zone.key])
            else:
                removed, added = map(_rows, (change.removed, change.added))
                items.append(["records", zone.key, zone.serial, removed, added])
        line.feed.send("commit", number, items, *self._besides())

    def _besides(self) -> tuple[list[tuple[bytes, str]], bool]:
        """Zones that cannot be answered from, and whether all is for us to answer because of a fault."""
        return list(self._book.absent.items()), self._handler.hindered is not None

    async def settled(self) -> None:
        """Returns when what was changed is in force in every worker. One that does not follow is replaced."""
        wanted = self._number
        while late := [line for line in self._lines.values() if line.follows and line.acknowledged < wanted]:
            self._progress.clear()
            try:
                async with self._clock.timeout(PATIENCE):
                    await self._progress.wait()
            except TimeoutError:
                for line in late:
                    log.error("%s has done nothing about a change for %g s: replaced", line.name, PATIENCE)
                    self._master.signal(line.name, signal.SIGKILL)
                    line.feed.abort()
                return

    async def _look(self) -> None:
        while not self._stopping:
            await self._clock.sleep(LOOK)
            absent, hindered = self._told
            if absent is not self._book.absent or hindered is not (self._handler.hindered is not None):
                self._flush_soon()


class _Line:
    """One worker's process, from the moment that it asks for the zones."""

    feed: Feed

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged = -1
        self.queries = 0
        self.follows = False
        """Whether it may answer: then every change has to be in force there, too."""
        self.answers = False
        """Whether it reads its sockets."""
        self.behind: list[tuple[int, Sequence[Change]]] | None = None
        """Changes that wait for those before them to be sent; None when none are under way."""


async def _send_zone(feed: Feed, number: int, zone: Zone, clock: Clock) -> None:
    names = iter(zone.packed.items())
    first = True
    while portion := list(islice(names, PORTION)):
        feed.send("names", number, zone.key, zone.origin if first else b"", portion)
        first = False
        await feed.room()
        await clock.sleep(0)  # questions are answered in between
        if not feed.open:
            return


async def _answer(feed: Feed, number: int, response: Awaitable[bytes | None]) -> None:
    feed.send("answered", number, await response)


def _rows(rrsets: Sequence[RRset]) -> list[tuple[bytes, int, int, tuple[bytes, ...]]]:
    return [(rrset.owner, rrset.type, rrset.ttl, tuple(rrset.rdatas)) for rrset in rrsets]
