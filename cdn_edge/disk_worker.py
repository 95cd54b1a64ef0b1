"""What the disk tier does behind the requests' backs: open, load, forget, write, make room. One thing at a time.

What was invalidated goes first: somebody waits for it. Then what is to be written, in batches that keep nobody waiting
for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from cdn_edge.disk_files import taken
from cdn_edge.disk_index import Newer, is_damaged, is_full
from cdn_edge.disk_shelf import Busy
from cdn_edge.disk_threads import FAILURES, Threads
from cdn_edge.disk_tier import DiskTier, Gone
from stack.errors import ConfigError
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.edge.disk")

_BATCH: Final = 64
_BATCH_BYTES: Final = 4 * 1024 * 1024
_LOOK: Final = 64
"""Rows that are looked at together when room is made."""
_SPARED: Final = 512
"""Of those used longest ago on disk so many may stay at a time because they are in memory: they are used there."""
RETRY: Final = 0.5
"""Seconds between two attempts at a directory that another process has."""
_PAUSE: Final = 10.0
"""Seconds without writing after the disk was full, and between two attempts at what failed."""
_LAST: Final = 3.0
"""Seconds for what is left to be written when the edge stops."""


class DiskWorker:
    def __init__(self, tier: DiskTier, threads: Threads, tasks: Tasks, *, name: str) -> None:
        self._tier, self._threads, self._tasks, self._name = tier, threads, tasks, name
        self._task: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the directory, unless another process has it: then it is waited for, and the edge does without.

        ConfigError for a directory that cannot be used.
        """
        await self._open()
        self._task = self._tasks.spawn(self._run(), name=f"{self._name}.disk")

    async def _open(self) -> None:
        tier, threads = self._tier, self._threads
        try:
            told = await threads.open()
        except Busy as error:
            if tier.state != "waiting":
                log.warning("%s; the cache does without its disk until that ends", error)
            tier.state, tier.why = "waiting", str(error)
        except Newer as error:
            self._off(f"{threads.directory}: {error}; name another directory or remove this one")
        except FAILURES as error:
            self._off(f"{threads.directory} cannot be opened: {error}")
        else:
            if told:
                log.warning("%s", told)
            if tier.state == "waiting":
                log.info("%s is free: in use from now on", threads.directory)
            tier.all_known = False
            tier.loaded.clear()
            tier.state, tier.why = "loading", ""

    def _off(self, why: str) -> None:
        log.error("%s; the cache goes on without its disk", why)
        tier = self._tier
        tier.state, tier.why, tier.all_known = "off", why, True
        tier.loaded.set()
        tier.queue.clear()
        tier.known.clear()
        tier.forgets.clear()
        self._tell_waiters()

    async def _run(self) -> None:
        try:
            while self._tier.state == "waiting":
                await self._tier.clock.sleep(RETRY)
                await self._open()
            if self._tier.state == "off":
                return
            await self._load()
            if self._tier.state == "off":
                return
            self._sweep()
            while True:
                await self._tier.wake.wait()
                self._tier.wake.clear()
                self._tier.lingered()
                await self._turn()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the disk tier")
            self._off(f"{type(error).__name__}: {error}")

    async def _load(self) -> None:
        tier, threads = self._tier, self._threads
        try:
            if tier.anew:
                await threads.begin_anew()
                tier.anew = False
            tier.known |= await threads.write(threads.shelf.load)
        except FAILURES as error:
            await self._trouble(error)
        if tier.state == "off":
            return
        tier.all_known = True
        tier.loaded.set()
        tier.state = "open"
        tier.wake.set()

    async def _turn(self) -> None:
        """All that there is to do, once."""
        tier = self._tier
        try:
            await self._forget()
            while len(tier.queue) and not self._is_full:
                await self._write()
                await self._forget()
            if tier.touched:
                touched, tier.touched = list(tier.touched), {}
                await self._threads.write(self._threads.shelf.touch, touched, tier.now)
            await self._make_room(self._threads.limit)
        except FAILURES as error:
            await self._trouble(error)
        if self._threads.damaged or tier.anew:
            await self._begin_anew("its index is damaged" if self._threads.damaged else "too much became invalid")
        tier.store.beside = tier.known_bytes

    @property
    def _is_full(self) -> bool:
        return self._tier.clock.now() < self._tier.full_until

    async def _forget(self) -> None:
        tier, threads = self._tier, self._threads
        while tier.forgets:
            tier.forgetting, tier.forgets = tier.forgets, []
            waiters, tier.waiters = tier.waiters, []
            gone: Gone = {}
            try:
                for (key, _), places in zip(
                    tier.forgetting, await threads.write(threads.shelf.forget, tier.forgetting), strict=True
                ):
                    gone.setdefault(key, []).extend(places)
            except BaseException as error:
                tier.forgets = tier.forgetting + tier.forgets
                _tell(waiters, error)
                raise
            finally:
                tier.forgetting = []
            _tell(waiters, gone)
            if (trouble := threads.shelf.trouble) is not None:
                threads.shelf.trouble = None
                threads.failed(trouble)
        self._tell_waiters()  # who came while the last of it was under way

    def _tell_waiters(self) -> None:
        waiters, self._tier.waiters = self._tier.waiters, []
        _tell(waiters, {})

    async def _write(self) -> None:
        tier, threads = self._tier, self._threads
        batch = tier.queue.oldest(_BATCH, _BATCH_BYTES)
        try:
            result = await threads.write(threads.shelf.write, batch, threads.times, tier.now)
        except FAILURES as error:
            tier.queue.written(batch)
            tier.writes.inc("full" if is_full(error) else "failed", by=len(batch))
            raise
        tier.queue.written(batch)
        tier.nothing_left(result.loose)
        tier.pieces.go_on()
        tier.writes.inc("written", by=result.written - result.same)
        if result.same:
            tier.writes.inc("same", by=result.same)
        if result.error is None:
            threads.well()
            return
        tier.writes.inc("full" if is_full(result.error) else "failed", by=len(result.refused))
        for stored in result.refused:
            tier.drop(stored)  # what lies in its place is older
        await self._trouble(result.error)

    async def _trouble(self, error: Exception) -> None:
        """Say it; stop writing for a while, and give some room back if that is what there is none of."""
        tier, threads = self._tier, self._threads
        threads.failed(error)
        if is_damaged(error):
            await self._begin_anew(str(error))
            return
        tier.full_until = tier.clock.now() + _PAUSE
        tier.clock.call_later(_PAUSE, tier.wake.set)
        for stored in tier.queue.clear():
            tier.writes.inc("full" if is_full(error) else "failed")
            tier.drop(stored)
        tier.wake.clear()
        if is_full(error):
            with contextlib.suppress(*FAILURES):
                await self._make_room(threads.bytes - max(threads.bytes // 16, _BATCH_BYTES))

    async def _begin_anew(self, why: str) -> None:
        tier = self._tier
        log.error("%s: %s; what was there is thrown away", self._threads.directory, why)
        try:
            await self._threads.begin_anew()
        except (*FAILURES, ConfigError, Busy) as error:
            self._threads.damaged = False
            self._off(f"{self._threads.directory} cannot be begun anew: {error}")
            return
        tier.anew = False
        tier.forgets.clear()
        tier.known = {hash(stored.key) for stored in tier.queue.all()}
        self._tell_waiters()
        self._sweep()

    async def _make_room(self, limit: int) -> None:
        """What was used longest ago goes, but for what is in memory, until no more is on disk than may be."""
        tier, threads = self._tier, self._threads
        shelf, spared = threads.shelf, 0
        removed = False
        while threads.bytes > limit or threads.objects > tier.most_objects:
            old = await threads.write(shelf.oldest, _LOOK)
            if not old:
                break
            excess, kept, going = threads.bytes - limit, [], []
            many = threads.objects - tier.most_objects
            for row in old:
                if excess <= 0 and many <= 0:
                    break
                if spared < _SPARED and tier.store.has(row.key):
                    spared += 1
                    kept.append(row.id)
                    continue
                going.append(row.id)
                excess -= taken(row.length)
                many -= 1
            if kept:
                await threads.write(shelf.used, kept, tier.now)
            before = threads.objects
            tier.nothing_left(await threads.write(shelf.remove, going))
            threads.evicted += before - threads.objects
            removed = True
            await threads.write(shelf.shrink)
            await self._forget()
        if removed:
            await threads.write(shelf.shrink)

    def _sweep(self) -> None:
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._tasks.spawn(self._sweeping(), name=f"{self._name}.disk.sweep")

    async def _sweeping(self) -> None:
        """Files that no row refers to: their process ended before it was written."""
        threads = self._threads
        with contextlib.suppress(*FAILURES):
            removed = 0
            for shard in await threads.write(threads.shelf.shards):
                removed += await threads.write(threads.shelf.sweep, shard)
            await threads.write(threads.shelf.sweep_old)
            if removed:
                log.info("%s: %d files were left over, and are removed", threads.directory, removed)

    async def stop(self) -> None:
        """What waits is written, if that does not take long."""
        tier = self._tier
        for task in (self._task, self._sweeper):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if tier.state in ("loading", "open"):
            with contextlib.suppress(TimeoutError):
                async with tier.clock.timeout(_LAST):
                    await self._turn()
        tier.state = "closed"
        self._tell_waiters()
        await self._threads.close()


def _tell(waiters: list[asyncio.Future[Gone]], what: Gone | BaseException) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if isinstance(what, asyncio.CancelledError):
            waiter.cancel()
        elif isinstance(what, BaseException):
            waiter.set_exception(what)
        else:
            waiter.set_result(what)
