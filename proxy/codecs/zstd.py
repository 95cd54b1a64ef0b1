"""Zstandard (RFC 8878): the only door to the library."""

from __future__ import annotations

import zstandard

_WINDOW = 18
"""log2 of a stream's window: 256 KiB. RFC 9659 §3 bounds what a client has to hold at 8 MiB."""
_HELD_WINDOW, _HELD_TABLES = 15, 12


class Zstd:
    """`level` 1 to 19; above that the window could grow past RFC 9659's bound."""

    def __init__(self, level: int) -> None:
        self._level = level
        # The context of 1 MB is reused: it is reset by each call, and no call is interrupted.
        self._whole = zstandard.ZstdCompressor(level=level, write_checksum=False)
        of = zstandard.ZstdCompressionParameters.from_level
        self._streamed = of(level, source_size=1 << _WINDOW)  # tables to match
        self._held = of(level, window_log=_HELD_WINDOW, hash_log=_HELD_TABLES, chain_log=_HELD_TABLES)

    def once(self, data: bytes) -> bytes:
        return self._whole.compress(data)

    def stream(self, *, held: bool = False) -> _Stream:
        return _Stream(self._held if held else self._streamed)


class Undoing:
    """The way back, piece by piece. ValueError for what is no zstd."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, piece: bytes) -> bytes:
        if self.done:
            return b""
        try:
            return self._decompressor.decompress(piece)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None

    @property
    def done(self) -> bool:
        """Whether its end was seen."""
        return self._decompressor.eof


class _Stream:
    """With a context of its own: streams interleave, and one context holds the state of one frame."""

    __slots__ = ("_coding", "feed", "finish")

    def __init__(self, parameters: zstandard.ZstdCompressionParameters) -> None:
        self._coding = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self.feed = self._coding.compress
        self.finish = self._coding.flush

    def flush(self) -> bytes:
        return self._coding.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
