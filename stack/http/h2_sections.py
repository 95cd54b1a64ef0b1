"""Field sections as they come in: HEADERS and its CONTINUATION frames, joined and decoded (RFC 9113 §4.3, §6.10)."""

from __future__ import annotations

from typing import Final

from stack.http import h2_frames as read
from stack.http import h2_wire as wire
from stack.http.h2_decoder import BadSection, Decoder, LargeSection
from stack.http.h2_fault import ConnectionFault
from stack.http.hpack_tables import STATIC_TABLE, huffman
from stack.http.message import Fields

CONTINUATIONS: Final = 16
"""Frames of one field section."""


class Sections:
    """One connection's. All methods raise ConnectionFault."""

    __slots__ = ("_decoder", "_ended", "_largest", "_pieces", "stream")

    def __init__(self, max_head: int) -> None:
        # above what is refused with a status: a bomb is not worth decoding to its end (RFC 9113 §10.5.1)
        self._largest = 2 * max_head
        self._decoder = Decoder(STATIC_TABLE, huffman, max_size=self._largest)
        self._pieces: list[bytes] = []
        self._ended = False
        self.stream = 0
        """Whose section has begun and not ended; 0 for none."""

    def begin(self, stream: int, flags: int, payload: bytes) -> tuple[Fields, bool] | None:
        """HEADERS: the fields and whether the stream ends, if that was all of them."""
        if stream == 0:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "HEADERS on stream 0")  # §6.2
        if flags & (wire.PADDED | wire.HAS_PRIORITY):
            payload = read.unpadded(flags, payload)
        ended = bool(flags & wire.END_STREAM)
        if flags & wire.END_HEADERS:
            return self._decoded(payload), ended
        self.stream, self._ended, self._pieces = stream, ended, [payload]
        return None

    def go_on(self, flags: int, payload: bytes) -> tuple[Fields, bool] | None:
        """CONTINUATION, the same."""
        if not self.stream:
            raise ConnectionFault(wire.PROTOCOL_ERROR, "CONTINUATION without HEADERS")  # §6.10
        self._pieces.append(payload)
        if len(self._pieces) > CONTINUATIONS or sum(map(len, self._pieces)) > self._largest:
            raise ConnectionFault(wire.ENHANCE_YOUR_CALM, "a field section does not end")  # CVE-2024-27316
        if not flags & wire.END_HEADERS:
            return None
        block, self._pieces, self.stream = b"".join(self._pieces), [], 0
        return self._decoded(block), self._ended

    def _decoded(self, block: bytes) -> Fields:
        try:
            return self._decoder.decode(block)
        except LargeSection:
            raise ConnectionFault(wire.ENHANCE_YOUR_CALM, "a field section is far too large") from None
        except BadSection as error:
            raise ConnectionFault(wire.COMPRESSION_ERROR, f"a field section cannot be decoded: {error}") from None
