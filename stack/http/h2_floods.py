"""How much of what costs the sender nothing one HTTP/2 connection may send (RFC 9113 §10.5)."""

from __future__ import annotations

import enum
from typing import Final


class Flood(enum.Enum):
    """What came too often. The value is the reason in GOAWAY."""

    RESET = "too many streams reset"
    PING = "too many PING frames"
    SETTINGS = "too many SETTINGS frames"
    EMPTY = "too many empty DATA frames"
    WINDOW = "too many WINDOW_UPDATE frames"
    LARGE = "too many field sections that unfold"
    LATE = "too many frames on streams that are closed"
    OTHER = "too many frames without use"


BUDGETS: Final = {  # burst, and what comes back per second
    Flood.RESET: (100, 0),
    Flood.PING: (200, 20),
    Flood.SETTINGS: (50, 1),
    Flood.EMPTY: (200, 20),
    Flood.WINDOW: (2000, 200),
    Flood.LARGE: (100, 1),
    Flood.LATE: (2000, 200),
    Flood.OTHER: (500, 50),
}
RESETS_PER_REQUEST: Final = 1
"""A request that was answered earns its client the right to reset another one: browsers do cancel."""
WINDOWS_PER_FRAME: Final = 4
"""DATA that we send is answered by WINDOW_UPDATE, for stream and connection."""


class Floods:
    """Leaky buckets, one a kind."""

    __slots__ = ("_level", "_since")

    def __init__(self) -> None:
        self._level = dict.fromkeys(Flood, 0.0)
        self._since = dict.fromkeys(Flood, 0.0)

    def spend(self, kind: Flood, now: float) -> bool:
        """Count one; False when the budget is spent."""
        burst, rate = BUDGETS[kind]
        leaked = (now - self._since[kind]) * rate
        self._since[kind] = now
        level = self._level[kind] = max(0.0, self._level[kind] - leaked) + 1
        return level <= burst

    def answered(self) -> None:
        """A request was answered in full."""
        self._level[Flood.RESET] = max(0.0, self._level[Flood.RESET] - RESETS_PER_REQUEST)

    def sent(self) -> None:
        """A DATA frame went out."""
        self._level[Flood.WINDOW] -= WINDOWS_PER_FRAME
