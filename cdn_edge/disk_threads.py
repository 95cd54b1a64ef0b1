"""The threads that the disk tier blocks in: one that writes, a few that read. Nothing else touches its files."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from cdn_edge.disk_index import is_damaged, is_full
from cdn_edge.disk_record import Times, Torn
from cdn_edge.disk_shelf import Found, FoundPiece, Reading, Shelf
from cdn_edge.parts import Lying
from cdn_edge.rules.vary import Names, Selection
from stack.http.ranges import Range

log = logging.getLogger("hopstack.edge.disk")

_READERS: Final = 4
P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    def __init__(self, directory: Path, limit: int, times: Times, *, options: bytes = b"") -> None:
        self.directory, self.limit, self.times = directory, limit, times
        self.shelf = Shelf(directory, options)
        self.bytes = self.objects = self.evicted = 0
        self.emptied: Callable[[list[bytes]], None] = lambda keys: None
        """Told the keys of pieces that went with their head."""
        self.damaged = False
        """The index cannot be read any more: `begin_anew` is due."""
        self._reading = Reading(directory, times)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="edge.disk.write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="edge.disk.read")
        self._told = ""
        self._torn = False

    def find(self, key: bytes, select: Callable[[Names], Selection], now: float) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._readers, self._reading.find, key, select, now)

    def piece(self, lying: Lying, key: bytes, span: Range, length: int, tag: bytes) -> asyncio.Future[FoundPiece]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._readers, self._reading.piece, lying, key, span, length, tag)

    async def write(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in the thread that writes, in turn."""

        def job() -> tuple[T, int, int, list[bytes]]:
            result = work(*args, **kwargs)
            emptied, self.shelf.index.emptied = self.shelf.index.emptied, []
            return result, self.shelf.taken, self.shelf.objects, emptied

        loop = asyncio.get_running_loop()
        result, self.bytes, self.objects, emptied = await loop.run_in_executor(self._writer, job)
        if emptied:
            self.emptied(emptied)
        return result

    async def open(self) -> str:
        """See `Shelf.open`."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self.shelf.open)

    def discard(self, row: int, content: bytes, *, then: Callable[[list[bytes]], None]) -> None:
        """A row that is of no use goes; nobody waits for it."""

        def done(future: asyncio.Future[list[bytes]]) -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is None:
                then(future.result())
            elif isinstance(error, Exception):
                self.failed(error)

        asyncio.get_running_loop().run_in_executor(self._writer, self.shelf.discard, row, content).add_done_callback(
            done
        )

    def failed(self, error: Exception) -> None:
        """One line for each new kind of trouble."""
        if isinstance(error, Torn):  # of one response, and there may be thousands
            if not self._torn:
                self._torn = True
                log.error("%s: %s; what is found so is thrown away and fetched anew", self.directory, error)
            return
        self.damaged |= is_damaged(error)
        said = f"no room on the disk ({error})" if is_full(error) else str(error)
        if said != self._told:
            self._told = said
            log.error("%s: %s; tried again every few seconds, the cache does without as long", self.directory, said)

    def well(self) -> None:
        """It goes again."""
        if self._told:
            self._told = ""
            log.info("%s: writing again", self.directory)

    async def begin_anew(self) -> None:
        """All on disk is thrown away. OSError, sqlite3.Error."""
        await self.write(self.shelf.begin_anew)
        self._reading, self.damaged = Reading(self.directory, self.times), False

    async def close(self) -> None:
        """After what is being written is."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._close)
        self._writer.shutdown(wait=False)

    def _close(self) -> None:
        self._readers.shutdown(wait=True)
        self._reading.close()
        self.shelf.close()


FAILURES: Final = (OSError, sqlite3.Error)
