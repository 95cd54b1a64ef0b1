"""What may lie below the store in memory, as the store sees it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from cdn_edge.stored import Stored


class Tier(Protocol):
    """What lies below the memory, and must know what changes in it. None of it waits for anything."""

    def put(self, stored: Stored) -> None: ...

    def drop(self, stored: Stored) -> None:
        """It must not be used any more."""

    def invalidate(self, key: bytes) -> None:
        """Nor may anything under this key."""

    def left(self, stored: Stored) -> None:
        """It made room for others."""

    def behind(self) -> Awaitable[None] | None:
        """What large content on its way in should wait for."""
