"""What ends a whole HTTP/2 connection (RFC 9113 §5.4.1)."""

from __future__ import annotations


class ConnectionFault(Exception):
    """An error of the connection, with its code of RFC 9113 §7."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
