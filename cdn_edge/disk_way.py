"""The way to the origin where there is a disk: nobody is answered before what the answer takes out is out there too."""

from __future__ import annotations

import logging
from typing import Final

from cdn_edge.asked import Asked
from cdn_edge.disk_threads import FAILURES
from cdn_edge.disk_tier import DiskTier
from cdn_edge.onward import Onward
from cdn_edge.rules.storing import NotStored
from stack.http.message import Response

_QUIET: Final = 10.0
"""Seconds between two lines about the same: a disk that is full is so for each request."""

log = logging.getLogger("hopstack.edge.disk")


class OnwardPastDisk(Onward):
    _quiet_until = float("-inf")
    _unsaid = 0

    @property
    def _disk(self) -> DiskTier:
        assert isinstance(self._store.disk, DiskTier)
        return self._store.disk

    async def send(self, asked: Asked) -> Response:
        response = await super().send(asked)
        if self._disk.is_forgetting and self._disk.forgets_of(asked.key):
            await self._forgotten(asked)
        return response

    async def passing(self, asked: Asked, refused: NotStored) -> Response:
        response = await super().passing(asked, refused)
        if self._disk.is_forgetting:
            await self._forgotten(asked)
        return response

    async def _forgotten(self, asked: Asked) -> None:
        """The origin has acted, and its answer is passed on whatever the disk does."""
        try:
            await self._disk.forgotten()
        except FAILURES as error:
            self._say(asked.key, error)

    def _say(self, key: bytes, error: Exception) -> None:
        now = self._clock.now()
        if now < self._quiet_until:
            self._unsaid += 1
            return
        before = f" ({self._unsaid} more since the last line about it)" if self._unsaid else ""
        log.error("%r could not be taken out on disk: %s; tried again%s", key, error, before)
        self._quiet_until, self._unsaid = now + _QUIET, 0
