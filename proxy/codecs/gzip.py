"""Gzip (RFC 1952): the only door to isal and zlib. isal, where the machine has it, is six times as fast."""

from __future__ import annotations

import zlib
from typing import Any

_ISAL_HIGHEST = 3
_GZIP = 31
"""wbits: a window of 32 KiB within gzip's header and trailer."""


class Gzip:
    """`level` 1 to 9. Up to 3 isal does it, if there; above that, and elsewhere, zlib."""

    def __init__(self, level: int, *, isal: bool = True) -> None:
        self._level = level
        self._library: Any = zlib
        if isal and level <= _ISAL_HIGHEST:
            try:
                from isal import isal_zlib
            except ImportError:  # not built for this machine
                pass
            else:
                self._library = isal_zlib

    @property
    def library(self) -> str:
        return str(self._library.__name__)

    def once(self, data: bytes) -> bytes:
        return bytes(self._library.compress(data, self._level, _GZIP))

    def stream(self, *, held: bool = False) -> _Stream:
        """70 KiB with isal, so a held stream is coded like any other."""
        return _Stream(self._library.compressobj(self._level, zlib.DEFLATED, _GZIP))


class _Stream:
    __slots__ = ("_coding", "feed", "finish")

    def __init__(self, coding: Any) -> None:
        self._coding = coding
        self.feed = coding.compress
        self.finish = coding.flush

    def flush(self) -> bytes:
        return bytes(self._coding.flush(zlib.Z_SYNC_FLUSH))
