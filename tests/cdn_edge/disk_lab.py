"""An edge with a disk tier, its origin scripted, on a clock that stands still; ended and started again at will."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from cdn_edge.config import Cache, Key
from cdn_edge.disk import Disk
from cdn_edge.handler import Edge
from cdn_edge.store import Store
from stack.clock import VirtualClock, eventually
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics
from tests.cdn_edge.lab import Lab, Reply

MIB = 1024 * 1024
KEY = Key()


class DiskLab(Lab):
    """`size` is that of the memory."""

    disk: Disk

    def build(self, directory: Path, disk_size: int) -> None:
        """A new process: nothing in memory, tasks and metrics of its own. The clock goes on."""
        self.tasks, self.metrics = Tasks(), Metrics()
        self.store = Store(self.size, max_object=self.max_object)
        cache = Cache(size=self.size, disk=str(directory), disk_size=disk_size, key=KEY, slice=self.policy.slice)
        parts = {"name": self.name, "clock": self.clock, "tasks": self.tasks, "metrics": self.metrics}
        self.disk = Disk(cache, self.store, **parts)  # type: ignore[arg-type]
        self.edge = Edge(
            fetch=self._fetch,
            store=self.store,
            random=random.Random(7),
            policy=self.policy,
            disk=self.disk,
            clock=self.clock,
            tasks=self.tasks,
            metrics=self.metrics,
            name=self.name,
        )

    async def loaded(self) -> None:
        await eventually(lambda: self.disk.tier.state == "open")

    async def written(self) -> None:
        """Until nothing waits for the disk."""
        tier = self.disk.tier

        def idle() -> bool:
            tier.wake.set()
            return (
                not (len(tier.queue) or tier.is_forgetting or tier.touched) and tier.threads.bytes <= tier.threads.limit
            )

        await eventually(idle, every=0.002)

    def empty_memory(self) -> None:
        """As if everything had made room for others."""
        while (victim := self.store._eviction.evict()) is not None:
            self.store._forget(victim)
            self.disk.tier.left(victim)

    async def kill(self) -> None:
        """What kill -9 leaves: nothing more is written, and the lock is free."""
        await self.tasks.close()
        threads = self.disk.tier.threads
        self.disk.tier.state = "closed"
        await threads.close()

    async def twice(self, target: str = "/a", text: str = "") -> tuple[Reply, Reply]:
        """Asked for, written, out of memory, asked for again."""
        first = await self.ask(target, text)
        await self.written()
        self.empty_memory()
        return first, await self.ask(target, text)


@contextlib.asynccontextmanager
async def disk_lab(
    directory: Path,
    *,
    disk_size: int = 64 * MIB,
    clock: VirtualClock | None = None,
    origin: Lab | None = None,
    **options: int,
) -> AsyncIterator[DiskLab]:
    """Started and open; stopped in order unless it was killed. `origin`: goes on with its clock, script and log."""
    lab = DiskLab(**options)  # type: ignore[arg-type]
    if clock is not None:
        lab.clock = clock
    if origin is not None:
        lab.clock, lab.script, lab.seen = origin.clock, origin.script, origin.seen
    lab.build(directory, disk_size)
    await lab.disk.start()
    try:
        yield lab
    finally:
        if lab.disk.tier.state != "closed":
            await lab.disk.stop()
        await lab.tasks.close()


def contents(directory: Path) -> list[Path]:
    return [path for path in (directory / "edge" / "content").glob("*/*") if path.is_file()]


async def swept(lab: DiskLab) -> None:
    """Until what was left over is removed."""
    await eventually(lambda: lab.disk._worker._sweeper is not None)
    assert lab.disk._worker._sweeper is not None
    await lab.disk._worker._sweeper
