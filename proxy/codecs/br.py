"""Brotli (RFC 7932): the only door to the library."""

from __future__ import annotations

import brotli

_WINDOW = 18
"""log2 of a stream's window: 256 KiB. At level 4 the ratio of 4 MiB, for less memory."""
_HELD_WINDOW, _HELD_LEVEL = 15, 2


class Brotli:
    """`level` 0 to 11. 4 and 5 are for answering, 11 (1 MB/s) for building."""

    def __init__(self, level: int) -> None:
        self._level = level

    def once(self, data: bytes) -> bytes:
        return bytes(brotli.compress(data, quality=self._level))

    def stream(self, *, held: bool = False) -> _Stream:
        if held:
            return _Stream(min(self._level, _HELD_LEVEL), _HELD_WINDOW)
        return _Stream(self._level, _WINDOW)


class Undoing:
    """The way back, piece by piece. ValueError for what is no brotli."""

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    def feed(self, piece: bytes) -> bytes:
        try:
            return bytes(self._decompressor.process(piece))
        except brotli.error as error:
            raise ValueError(str(error)) from None

    @property
    def done(self) -> bool:
        """Whether its end was seen."""
        return bool(self._decompressor.is_finished())


class _Stream:
    __slots__ = ("_compressor", "feed", "finish", "flush")

    def __init__(self, level: int, window: int) -> None:
        self._compressor = brotli.Compressor(quality=level, lgwin=window)
        self.feed = self._compressor.process
        self.flush = self._compressor.flush
        self.finish = self._compressor.finish
