"""What has arrived on a connection that is lost, and was not read.

A server that answers early and closes resets the connection, because content it did not read was still coming. A write
that meets the reset ends the transport before it has read the answer, which the kernel still holds (RFC 9112 §9.6).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Final

MOST: Final = 4 * 1024 * 1024
"""No receive buffer is larger."""


def leftover(transport: asyncio.Transport) -> bytes:
    """Call from `connection_lost` only; empty over TLS, where it could not be read."""
    raw = transport.get_extra_info("socket")
    if raw is None or transport.get_extra_info("ssl_object") is not None:
        return b""
    pieces: list[bytes] = []
    size = 0
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(raw.fileno())) as copy:
        copy.setblocking(False)
        while size < MOST and (piece := copy.recv(256 * 1024)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)
