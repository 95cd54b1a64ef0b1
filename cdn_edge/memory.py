"""What the process really takes, and what its allocator keeps for itself."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 256 * 1024


class ProcessMemory:
    """glibc and /proc; where there is no such thing nothing is said, and nothing done."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE")
        with contextlib.suppress(OSError):
            self._libc = ctypes.CDLL(None)
        self._settle()
        gc.collect(1)
        self._empty = self._resident()

    def _settle(self) -> None:
        """Large contents apart from the heap, so that their memory is free when they are; by default glibc stops that
        after the first of them. One heap, whichever thread asks.
        """
        with contextlib.suppress(AttributeError):
            mallopt = self._libc.mallopt
            mallopt(_M_MMAP_THRESHOLD, _LARGE)
            mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)
            mallopt(_M_ARENA_MAX, 1)

    def grown(self) -> int | None:
        """Bytes resident above those at the start; None where that cannot be known."""
        now = self._resident()
        return None if now is None or self._empty is None else now - self._empty

    def trim(self) -> None:
        """Free pages in the middle of the heap go back. Milliseconds; not for each request."""
        with contextlib.suppress(AttributeError):
            self._libc.malloc_trim(0)

    def _resident(self) -> int | None:
        try:
            return int(_STATM.read_bytes().split()[1]) * self._page
        except (OSError, ValueError, IndexError):
            return None
