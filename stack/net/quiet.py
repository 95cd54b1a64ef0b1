"""One line for many: a flood of events is not one of lines too."""

from __future__ import annotations

from typing import Final

QUIET: Final = 10.0
"""Seconds between two lines about the same."""


class Quiet:
    """Of one sort of event. The first is told; those of the next QUIET seconds are counted."""

    __slots__ = ("_told_at", "_untold")

    def __init__(self) -> None:
        self._told_at = -QUIET
        self._untold = 0

    def due(self, now: float) -> int:
        """How many there were since the last line, this one included, if a line is due; else 0. `now`: monotonic."""
        self._untold += 1
        if now - self._told_at < QUIET:
            return 0
        count, self._untold, self._told_at = self._untold, 0, now
        return count
