"""Content without its codings (RFC 9110 §8.4.1), as a browser gives it to a page."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Protocol

from stack.hop import registry


class Undoing(Protocol):
    def feed(self, piece: bytes) -> bytes: ...

    @property
    def done(self) -> bool: ...


class _Zlib:
    """gzip and deflate."""

    def __init__(self, bits: int) -> None:
        self._decompressor = zlib.decompressobj(bits)

    def feed(self, piece: bytes) -> bytes:
        try:
            return self._decompressor.decompress(piece)
        except zlib.error as error:
            raise ValueError(str(error)) from None

    @property
    def done(self) -> bool:
        return self._decompressor.eof


class Uncoded:
    """Takes content as received, piece by piece, and gives what it means. ValueError for what cannot be undone."""

    def __init__(self, content_encoding: str) -> None:
        codings = [coding for part in content_encoding.split(",") if (coding := part.strip().lower())]
        self._steps: Sequence[tuple[str, Undoing]] = [
            (coding, _undoing(coding)) for coding in reversed(codings) if coding != "identity"
        ]

    def feed(self, piece: bytes) -> bytes:
        for coding, step in self._steps:
            try:
                piece = step.feed(piece)
            except ValueError as error:
                raise ValueError(
                    f"content-encoding: {coding}, and the content is none: {error}; r.raw has it"
                ) from None
        return piece

    def end(self) -> None:
        """ValueError when the content ends before its coding does."""
        for coding, step in self._steps:
            if not step.done:
                raise ValueError(f"content-encoding: {coding}, and the content is not whole; r.raw has what there is")


def uncoded(content: bytes, content_encoding: str) -> bytes:
    """A whole content. None at all, as that of a HEAD, is whole."""
    if not content:
        return b""
    undoing = Uncoded(content_encoding)
    plain = undoing.feed(content)
    undoing.end()
    return plain


def _undoing(coding: str) -> Undoing:
    if coding in ("gzip", "x-gzip"):
        return _Zlib(31)
    if coding == "deflate":
        return _Zlib(zlib.MAX_WBITS)
    if coding in ("br", "zstd"):
        undoing: Undoing = registry.part("proxy", f"codecs.{coding}").Undoing()
        return undoing
    raise ValueError(f"content-encoding: {coding}: gzip, deflate, br and zstd are undone; r.raw has it as it came")
