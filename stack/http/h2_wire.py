"""The numbers of HTTP/2: frame types, flags, error codes, sizes (RFC 9113 §6, §7)."""

from __future__ import annotations

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 §3.4."""
FRAME: Final = 16384
"""Bytes of a frame's payload, in and out: SETTINGS_MAX_FRAME_SIZE is left at its smallest, which is fair to all."""
WINDOW: Final = 65535
"""Of every stream and the connection, unless said otherwise (RFC 9113 §6.9.2)."""
LARGEST_WINDOW: Final = 2**31 - 1
LARGEST_FRAME: Final = 2**24 - 1
LAST_STREAM: Final = 2**31 - 1

# RFC 9113 §6
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x4, 0x8, 0x20

PRIORITY_UPDATE: Final = 0x10
"""RFC 9218 §7.1."""

# RFC 9113 §7
NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

# RFC 9113 §6.5.2
HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8
"""RFC 8441 §3."""
NO_RFC7540_PRIORITIES: Final = 0x9
"""RFC 9218 §2.1."""
