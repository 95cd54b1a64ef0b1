"""One of several workers of an edge: what it changes is told to the others, and what they change is done here."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from cdn_edge.purge import Purge
from stack.clock import Clock
from stack.errors import HopError

if TYPE_CHECKING:
    from cdn_edge.disk import Disk
    from stack.hop.control import Control

log = logging.getLogger("hopstack.edge.workers")

LONGEST: Final = 20.0
"""Seconds that the master may take to have it done, or to end who does not do it; then the origin's answer goes on."""


class Together:
    """`Others`, by way of the master. Keys travel as latin-1."""

    def __init__(self, control: Control, purge: Purge, clock: Clock, disk: Disk | None) -> None:
        self._control, self._purge, self._clock, self._disk = control, purge, clock, disk

    async def begin(self) -> None:
        """Before the disk is opened. What was invalidated while nobody was here to do it, would still be on it."""
        if await self._control.ask("begin") and self._disk is not None:
            log.warning("%s is emptied: what it has may have been invalidated meanwhile", self._disk.directory)
            await asyncio.to_thread(shutil.rmtree, self._disk.directory, ignore_errors=True)

    async def follow(self) -> None:
        """From now on everything is heard of. RuntimeError where something was missed since `begin`."""
        if not await self._control.ask("follow"):
            raise RuntimeError("something was invalidated while the disk was opened")

    async def invalidate(self, keys: Sequence[bytes], by: bytes) -> None:
        try:
            async with self._clock.timeout(LONGEST):
                await self._control.ask("invalidate", [key.decode("latin-1") for key in keys], by.decode("latin-1"))
        except TimeoutError:
            log.error("what %s changed at %r may still be stored by other workers", by.decode("latin-1"), keys[0])

    async def invalidated(self, keys: Sequence[str], by: str) -> dict[str, Any]:
        """What another has changed, or an operator. Counts, and what is amiss, as `Purged` has them."""
        count, amiss, others, error = 0, "", list[str](), ""
        for key in keys:
            try:
                purged = await self._purge.purge(key.encode("latin-1"), by.encode("latin-1"))
            except HopError as failure:  # out of the memory it is, and of the disk as soon as it can be
                error = f"{failure.title}: {failure.detail}"
                log.error("%r: %s", key, error)
                continue
            count += purged.gone
            amiss = amiss or purged.disk
            others += [other.decode("latin-1") for other in purged.others]
        return {"gone": count, "disk": amiss, "others": others, "error": error}
