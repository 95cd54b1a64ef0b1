"""Who has to hear of what one process of an edge makes invalid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Others(Protocol):
    """The stores of other processes that answer for the same edge."""

    async def invalidate(self, keys: Sequence[bytes], by: bytes) -> None:
        """Returns when nothing under these keys, as `Keying.exact` has them, answers there any more."""
