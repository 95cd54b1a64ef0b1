"""The disk tier, put together: imported only where `--cache-disk` asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cdn_edge.config import Cache
from cdn_edge.disk_record import Times
from cdn_edge.disk_threads import FAILURES, Threads
from cdn_edge.disk_tier import DiskTier
from cdn_edge.disk_way import OnwardPastDisk
from cdn_edge.disk_worker import DiskWorker
from cdn_edge.rules.vary import Names
from cdn_edge.store import Store, largest
from stack.clock import Clock
from stack.errors import ConfigError, HopError
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics

_OF_NO_MATTER: Final = frozenset(
    {
        *("size", "max_object", "slice", "slice_from", "disk", "disk_size", "heuristic", "heuristic_max"),
        *("stale_if_unreachable", "stale_with_s_maxage", "request_directives", "status", "status_key", "negative_ttl"),
    }
)
"""Options with which what is on disk holds as it is. With any other it could answer requests that it is not for."""
_QUEUE_SHARE: Final = 16
"""Of the memory: one part in so many may wait to be written, or one object."""
_SLICES: Final = 2
"""So many may wait in any case."""
_HEAD: Final = 16_384
"""Bytes of memory for what a slice and its head have besides content."""


def fingerprint(cache: Cache, names: Names = ()) -> bytes:
    """Of the options that decide who is answered with what. `names`: what tells responses apart besides their Vary."""
    options = [(name, getattr(cache, name)) for name in cache.__struct_fields__ if name not in _OF_NO_MATTER]
    return repr([*options, *([("names", names)] if names else [])]).encode()


class NotForgotten(HopError):
    title = "It is out of the memory, but could not be taken out on disk"


class Disk:
    """ConfigError for options that do not fit."""

    onward = OnwardPastDisk

    def __init__(
        self,
        cache: Cache,
        store: Store,
        *,
        name: str,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
        names: Names = (),
    ) -> None:
        if name.startswith("."):
            raise ConfigError(
                f"--cache-disk: {name!r}, the edge's name, is to name a directory: let it begin with no dot"
            )
        # by name: edges with one `[cache]` table have one each
        self.directory = Path(cache.disk).expanduser() / name
        times = Times(clock.time() - clock.now())
        threads = Threads(self.directory, cache.disk_size, times, options=fingerprint(cache, names))
        piece = min(cache.slice, largest(cache.size))
        queue = max(cache.size // _QUEUE_SHARE, store.max_object, _SLICES * (piece + _HEAD))
        self.tier = DiskTier(store, threads, clock, metrics, queue=queue, size=piece)
        self._worker = DiskWorker(self.tier, threads, tasks, name=name)

    async def start(self) -> None:
        """ConfigError for a directory that cannot be used."""
        await self._worker.start()

    async def stop(self) -> None:
        await self._worker.stop()

    async def purge(self, key: bytes) -> tuple[int, str]:
        """How many went, and what is amiss with the disk if anything is. Raises NotForgotten."""
        try:
            count = await self.tier.purge(key)
        except FAILURES as error:
            where = self.tier.threads.directory
            raise NotForgotten(
                f"{where}: {error}. It is tried again; make room there, or remove the directory."
            ) from None
        return count, self.tier.why

    def statistics(self) -> dict[str, Any]:
        return self.tier.statistics()
