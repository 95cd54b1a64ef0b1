"""What single frames of HTTP/2 say, and whether they may (RFC 9113 §6, RFC 9218). All raise LibraryFault."""

from __future__ import annotations

from stack.http import h2_wire as wire
from stack.http.h2_library import LibraryFault


def unpadded(flags: int, payload: bytes) -> bytes:
    """The field section in HEADERS, without padding and the priority of RFC 7540 (RFC 9113 §6.2)."""
    start = (1 if flags & wire.PADDED else 0) + (5 if flags & wire.HAS_PRIORITY else 0)
    if len(payload) < start:
        raise LibraryFault(wire.FRAME_SIZE_ERROR, "HEADERS is too short")
    padding = payload[0] if flags & wire.PADDED else 0
    if padding > len(payload) - start:
        raise LibraryFault(wire.PROTOCOL_ERROR, "more padding than payload")
    return payload[start : len(payload) - padding]


def go_away(stream: int, frame: bytes) -> tuple[int, int]:
    """The last stream and the code (§6.8)."""
    if stream or len(frame) < 17:
        raise LibraryFault(wire.PROTOCOL_ERROR if stream else wire.FRAME_SIZE_ERROR, "GOAWAY is not well-formed")
    return int.from_bytes(frame[9:13], "big") & wire.LAST_STREAM, int.from_bytes(frame[13:17], "big")


def priority_update(on: int, frame: bytes) -> tuple[int, bytes]:
    """The stream that is meant, and its Priority (RFC 9218 §7.1)."""
    if len(frame) < 13:
        raise LibraryFault(wire.FRAME_SIZE_ERROR, "PRIORITY_UPDATE is too short")
    stream = int.from_bytes(frame[9:13], "big") & wire.LAST_STREAM
    if on or stream % 2 == 0:
        raise LibraryFault(wire.PROTOCOL_ERROR, "PRIORITY_UPDATE is not on stream 0, or not for a request")
    return stream, frame[13:]


def peers_priorities(frame: bytes, before: int | None) -> int:
    """SETTINGS_NO_RFC7540_PRIORITIES after this frame: 0 or 1, and what the first one said (RFC 9218 §2.1)."""
    value = before or 0
    for at in range(9, len(frame), 6):
        if int.from_bytes(frame[at : at + 2], "big") == wire.NO_RFC7540_PRIORITIES:
            value = int.from_bytes(frame[at + 2 : at + 6], "big")
    if value > 1 or (before is not None and value != before):
        raise LibraryFault(wire.PROTOCOL_ERROR, "SETTINGS_NO_RFC7540_PRIORITIES is neither 0 nor 1, or has changed")
    return value
