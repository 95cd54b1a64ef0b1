"""The disk tier as the store and the handler see it: on the loop's thread, and never waiting for the disk there.

What is stored is written behind (`Queue`), what leaves the memory stays on disk, and what is asked for and not in
memory comes back. A key that is not on disk costs one look into a set.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cdn_edge.disk_pieces import DiskPieces
from cdn_edge.disk_queue import At, Queue
from cdn_edge.disk_record import place
from cdn_edge.disk_shelf import Found, Place, Wanted
from cdn_edge.disk_threads import Threads
from cdn_edge.parts import Piece
from cdn_edge.rules.vary import Names, Selection
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from stack.clock import Clock
from stack.http.message import Fields
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.edge.disk")

_HASH: Final = 48
"""Bytes of one number in the set of keys, as the allocator has it."""
_KNOWN_COST: Final = 104
"""Bytes of memory for each key that is on disk, at most where they are many: a number and its places in the set."""
_KNOWN_SHARE: Final = 4
"""At most this part of the memory (a quarter) is for keys on disk: it bounds how many objects lie there."""
PATIENCE: Final = 2.0
"""Seconds that a request waits for the disk; then the origin is asked."""
_READING: Final = 64
"""Requests that wait for the disk at a time; beyond it the origin is asked."""
_TOUCHED: Final = 4096
_FORGETS: Final = 20_000
"""Invalidations that wait for the directory; beyond it all that lies there is thrown away instead."""
_LINGER: Final = 0.05
"""Seconds that what is stored waits for more to be written with it, or to be replaced."""


T = TypeVar("T")
Gone = dict[bytes, list[Place]]
"""What was taken out: places by key."""


@dataclass(slots=True)
class Brought:
    """What came back from disk, if anything did: into memory, unless that does not let it in."""

    stored: Stored | None
    at_once_until: float = float("-inf")
    """What `Stored.at_once_until` will be, once this request is answered."""


class _Flight:
    """One look at the disk. `changed`: what it finds is out of date."""

    __slots__ = ("changed", "done")

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done
        self.changed = False


class DiskTier:
    """`worker` (disk_worker.py) does what is asked for here."""

    def __init__(
        self, store: Store, threads: Threads, clock: Clock, metrics: Metrics, *, queue: int, size: int
    ) -> None:
        """Bytes: what may wait to be written, and a slice of what is large."""
        self.store, self.threads, self.clock = store, threads, clock
        self.pieces = DiskPieces(self, size)
        threads.emptied = self.nothing_left
        self.queue = Queue(queue)
        self.state = "closed"
        """`waiting` for another process to end, `loading` the keys, `open`; `off` for good."""
        self.why = ""
        """What is wrong, if anything is."""
        self.full_until = float("-inf")
        """Monotonic seconds: the disk was full, and nothing is written."""
        self.forgets: list[Wanted] = []
        self.forgetting: list[Wanted] = []
        """What is being taken out just now."""
        self.waiters: list[asyncio.Future[Gone]] = []
        """Of those who want to be told when it is."""
        self.touched: dict[tuple[bytes, Names, Selection], None] = {}
        self.anew = False
        """All on disk is out of date."""
        self.known: set[int] = set()
        self.all_known = True
        """False while the keys are being loaded: any may be there."""
        self.loaded = asyncio.Event()
        self.wake = asyncio.Event()
        self._lingers = False
        self._flights: dict[bytes, list[_Flight]] = {}
        self._asked = 0
        self.reads = metrics.counter("hopstack_cache_disk_reads_total", "Looks at the disk by result.", ("result",))
        self.writes = metrics.counter(
            "hopstack_cache_disk_writes_total", "Responses for the disk by what came of it.", ("result",)
        )
        metrics.gauge(
            "hopstack_cache_disk_bytes", "Bytes of the disk in use: content and index.", (),
            lambda: [((), self.threads.bytes)],
        )  # fmt: skip
        metrics.gauge("hopstack_cache_disk_objects", "Responses on disk.", (), lambda: [((), self.threads.objects)])
        store.disk = self

    @property
    def now(self) -> float:
        """Unix seconds as this process counts them, whatever is done to the wall clock meanwhile."""
        return self.threads.times.unix(self.clock.now())

    @property
    def most_objects(self) -> int:
        return self.store.limit // _KNOWN_SHARE // _KNOWN_COST

    @property
    def known_bytes(self) -> int:
        """Of memory, to know which keys are on disk."""
        return sys.getsizeof(self.known) + len(self.known) * _HASH

    def knows(self, key: bytes) -> bool:
        """Whether anything under the key may be on disk. Asked for every miss."""
        return hash(key) in self.known or not self.all_known

    # From the store: what changes there.

    def put(self, stored: Stored) -> None:
        """It is stored, and replaces what was in its place."""
        key = stored.key
        parts = stored.parts
        if parts is not None:
            if isinstance(stored, Piece):
                if not self.pieces.wanted(stored):
                    return
            elif not self.pieces.head(stored, parts):  # parts of what is small: they stay in memory
                self.drop(stored)
                return
        for flight in self._flights.get(key, ()):
            flight.changed = True
        if self.state == "off":
            return
        word = "full" if self.clock.now() < self.full_until else "" if self.queue.add(stored) else "dropped"
        if word:
            if isinstance(stored, Piece) and word == "dropped":
                self.pieces.postpone(stored)
                return
            self.writes.inc(word)
            if not isinstance(stored, Piece):
                self.drop(stored)  # what lies in its place is older
            return
        self.known.add(hash(key))
        if not self._lingers:
            self._lingers = True
            self.clock.call_later(_LINGER, self.wake.set)

    def lingered(self) -> None:
        self._lingers = False

    def drop(self, stored: Stored) -> None:
        """It must not be used any more."""
        if stored.parts is not None and not isinstance(stored, Piece):
            stored.parts.lying = None
        self._forget(stored.key, (stored.names, stored.selection))

    def invalidate(self, key: bytes, *, surely: bool = False) -> None:
        """Nor may anything under this key. `surely`: the disk is asked whether or not it is known to have any."""
        self._forget(key, None, surely=surely)

    def _forget(self, key: bytes, at: At | None, *, surely: bool = False) -> None:
        for flight in self._flights.get(key, ()):
            flight.changed = True
        self.queue.remove(key, at)
        if self.state == "off" or not (surely or self.knows(key) or self.state in ("closed", "waiting")):
            return
        if at is None:
            self.known.discard(hash(key))
        if len(self.forgets) >= _FORGETS:
            self.anew = True
            self.forgets.clear()
        self.forgets.append((key, at))
        self.wake.set()

    def left(self, stored: Stored) -> None:
        """It made room in memory. On disk it is as good as used just now, and written if it is not there."""
        if self.state == "off" or (stored.parts is not None and stored.parts.lying is None):
            return
        if not self.knows(stored.key):
            self.put(stored)
        else:
            self.touch(stored.identity)

    def behind(self) -> Awaitable[None] | None:
        """What large content on its way in should wait for."""
        return self.pieces.behind()

    def touch(self, identity: tuple[bytes, Names, Selection]) -> None:
        """It is in use."""
        if len(self.touched) < _TOUCHED:
            self.touched[identity] = None

    async def forgotten(self) -> Gone:
        """Until all that was to be taken out is out, and stays so over any end of this process: what it was, by key.

        OSError or sqlite3.Error when it could not be; it is tried again later.
        """
        if self.state not in ("loading", "open") or not self.is_forgetting:
            return {}
        done: asyncio.Future[Gone] = asyncio.get_running_loop().create_future()
        self.waiters.append(done)
        self.wake.set()
        return await done

    async def purge(self, key: bytes) -> int:
        """Everything under a key goes, in memory and on disk. How many went; raises as `forgotten`."""
        here = {place(each.names, each.selection) for each in (*self.store.variants(key), *self.queue.under(key))}
        self.store.invalidate(key)
        self.invalidate(key, surely=True)
        return len(here.union((await self.forgotten()).get(key, [])))

    @property
    def is_forgetting(self) -> bool:
        return bool(self.forgets or self.forgetting)

    # From the handler: what is not in memory.

    async def bring(self, key: bytes, fields: Fields, exchange: Exchange) -> Brought:
        """What the request selects of what is on disk, back in memory if there is room for it. Never raises."""
        flights = self._flights.get(key)
        if flights:
            await asyncio.wait([flights[0].done])  # the same one, most likely
        if self.store.find(key, fields)[0] is not None:  # since it was looked for
            return self._came(exchange, "read")
        if (stored := self._coming(key, fields)) is not None:
            self.store.put(stored, on_disk=True)
            return self._came(exchange, "read", Brought(stored, stored.at_once_until))
        if not self.may_ask or self.forgets_of(key):
            return self._came(exchange, "busy")
        flight = _Flight(asyncio.get_running_loop().create_future())
        self._flights.setdefault(key, []).append(flight)
        try:
            async with self.clock.timeout(PATIENCE):
                found = await self._find(key, self._selecting(fields))
                if found.stored is not None and found.stored.parts is not None and not self.all_known:
                    await self.loaded.wait()  # which of its pieces are there
        except TimeoutError:
            return self._came(exchange, "slow")
        finally:
            flights = self._flights[key]
            flights.remove(flight)
            if not flights:
                del self._flights[key]
            flight.done.set_result(None)
        return self._landed(key, fields, exchange, found, flight)

    async def look(self, key: bytes, fields: Fields) -> Stored | None:
        """What `bring` would bring, for who only wants to know: it stays on disk, and nothing is counted."""
        if (stored := self._coming(key, fields)) is not None:
            return stored
        if self.state not in ("loading", "open") or self.forgets_of(key):
            return None
        try:
            async with self.clock.timeout(PATIENCE):
                found = await self._find(key, self._selecting(fields))
        except TimeoutError:
            return None
        return found.stored

    def _landed(self, key: bytes, fields: Fields, exchange: Exchange, found: Found, flight: _Flight) -> Brought:
        if flight.changed:
            stored = self._coming(key, fields)
            if stored is None:
                return self._came(exchange, "none")
            return self._came(exchange, "read", Brought(stored, stored.at_once_until))
        if found.broken is not None:
            self.threads.discard(*found.broken, then=self.nothing_left)
        elif not found.known and key not in self.queue and self.all_known:
            self.known.discard(hash(key))
        stored = found.stored
        if stored is None:
            if found.error is not None:
                self.threads.failed(found.error)
            return self._came(exchange, found.word)
        if self.store.at(stored) is not None:
            return self._came(exchange, "read")  # it is in memory by now, and not older
        at_once, stored.at_once_until = stored.at_once_until, float("-inf")
        self.store.put(stored, on_disk=True)
        self.touch(stored.identity)
        return self._came(exchange, "read", Brought(stored, at_once))

    def _came(self, exchange: Exchange, word: str, brought: Brought | None = None) -> Brought:
        exchange.mark("disk", word)
        self.reads.inc(word)
        return brought or Brought(None)

    def _find(self, key: bytes, select: Callable[[Names], Selection]) -> asyncio.Future[Found]:
        return self.asked(self.threads.find(key, select, self.now))

    patience: Final = PATIENCE

    @property
    def may_ask(self) -> bool:
        """Whether the disk is there to be read, and not too many wait for it."""
        return self.state in ("loading", "open") and self._asked < _READING

    def asked(self, looking: asyncio.Future[T]) -> asyncio.Future[T]:
        """Counted until it is answered."""
        self._asked += 1
        looking.add_done_callback(self._answered)
        return looking

    def _answered(self, _: object) -> None:
        self._asked -= 1

    def _selecting(self, fields: Fields) -> Callable[[Names], Selection]:
        return lambda names: self.store.selection(names, fields)

    def _coming(self, key: bytes, fields: Fields) -> Stored | None:
        """Of what waits to be written."""
        found: Stored | None = None
        for stored in self.queue.under(key):
            matches = not stored.names or self.store.selection(stored.names, fields) == stored.selection
            if matches and (found is None or stored.date >= found.date):
                found = stored
        return found

    def forgets_of(self, key: bytes) -> bool:
        """Whether something under this key is yet to be taken out."""
        return self.anew or (self.is_forgetting and any(key == other for other, _ in (*self.forgets, *self.forgetting)))

    def nothing_left(self, keys: list[bytes]) -> None:
        """There is nothing under these keys on disk any more."""
        for key in keys:
            if key not in self.queue:
                self.known.discard(hash(key))

    def statistics(self) -> dict[str, Any]:
        """For `/-/stats`."""
        return {
            "state": self.state,
            **({"why": self.why} if self.why else {}),
            "directory": str(self.threads.directory),
            "objects": self.threads.objects,
            "bytes": self.threads.bytes,
            "limit": self.threads.limit,
            "keys": len(self.known),
            "queued": self.queue.bytes,
            "reads": {labels[0]: int(count) for labels, count in self.reads.values.items()},
            "writes": {labels[0]: int(count) for labels, count in self.writes.values.items()},
            "evicted": self.threads.evicted,
        }
