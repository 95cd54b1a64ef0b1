"""What this machine's loopback is like."""

from __future__ import annotations

import contextlib
import errno
import socket


def has_many_addresses() -> bool:
    """Whether all of 127.0.0.0/8 is this machine, as on Linux, or only 127.0.0.1."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind(("127.0.53.1", 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True
