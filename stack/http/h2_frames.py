"""What single frames of HTTP/2 say, and whether they may (RFC 9113 §6, RFC 9218). All raise ConnectionFault."""

from __future__ import annotations

from stack.http import h2_wire as wire
from stack.http.h2_fault import ConnectionFault


def unpadded(flags: int, payload: bytes) -> bytes:
    """The field section in HEADERS, without padding and the priority of RFC 7540 (RFC 9113 §6.2)."""
    start = (1 if flags & wire.PADDED else 0) + (5 if flags & wire.HAS_PRIORITY else 0)
    if len(payload) < start:
        raise ConnectionFault(wire.FRAME_SIZE_ERROR, "HEADERS is too short")
    padding = payload[0] if flags & wire.PADDED else 0
    if padding > len(payload) - start:
        raise ConnectionFault(wire.PROTOCOL_ERROR, "more padding than payload")
    return payload[start : len(payload) - padding]


def go_away(stream: int, frame: bytes) -> tuple[int, int]:
    """The last stream and the code (§6.8)."""
    if stream or len(frame) < 17:
        raise ConnectionFault(wire.PROTOCOL_ERROR if stream else wire.FRAME_SIZE_ERROR, "GOAWAY is not well-formed")
    return int.from_bytes(frame[9:13], "big") & wire.LAST_STREAM, int.from_bytes(frame[13:17], "big")


def priority_update(on: int, frame: bytes) -> tuple[int, bytes]:
    """The stream that is meant, and its Priority (RFC 9218 §7.1)."""
    if len(frame) < 13:
        raise ConnectionFault(wire.FRAME_SIZE_ERROR, "PRIORITY_UPDATE is too short")
    stream = int.from_bytes(frame[9:13], "big") & wire.LAST_STREAM
    if on or stream % 2 == 0:
        raise ConnectionFault(wire.PROTOCOL_ERROR, "PRIORITY_UPDATE is not on stream 0, or not for a request")
    return stream, frame[13:]


def ping(stream: int, frame: bytes) -> bytes:
    """Its eight bytes (§6.7)."""
    if stream or len(frame) != 17:
        raise ConnectionFault(wire.PROTOCOL_ERROR if stream else wire.FRAME_SIZE_ERROR, "PING is not well-formed")
    return frame[9:]


def settings(frame: bytes, *, from_server: bool) -> dict[int, int]:
    """Values by code, those of codes that nobody knows too; of a code that comes twice the last (§6.5)."""
    if frame[5:9] not in (b"\0\0\0\0", b"\x80\0\0\0"):
        raise ConnectionFault(wire.PROTOCOL_ERROR, "SETTINGS on a stream")
    size = len(frame) - 9
    if size % 6 or (size and frame[4] & 1):
        raise ConnectionFault(wire.FRAME_SIZE_ERROR, "SETTINGS is not well-formed")
    values: dict[int, int] = {}
    for at in range(9, len(frame), 6):
        code, value = int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 6], "big")
        if code == wire.INITIAL_WINDOW_SIZE and value > wire.LARGEST_WINDOW:
            raise ConnectionFault(wire.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is above 2**31-1")
        if (
            (code == wire.ENABLE_PUSH and value > (0 if from_server else 1))
            or (code == wire.MAX_FRAME_SIZE and not wire.FRAME <= value <= wire.LARGEST_FRAME)
            or (code == wire.ENABLE_CONNECT_PROTOCOL and value > 1)
        ):
            raise ConnectionFault(wire.PROTOCOL_ERROR, f"SETTINGS has the value {value} for {code}")
        values[code] = value
    return values


def peers_priorities(values: dict[int, int], before: int | None) -> int:
    """SETTINGS_NO_RFC7540_PRIORITIES after these: 0 or 1, and what the first ones said (RFC 9218 §2.1)."""
    value = values.get(wire.NO_RFC7540_PRIORITIES, before or 0)
    if value > 1 or (before is not None and value != before):
        raise ConnectionFault(wire.PROTOCOL_ERROR, "SETTINGS_NO_RFC7540_PRIORITIES is neither 0 nor 1, or has changed")
    return value
