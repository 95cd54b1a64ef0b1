"""The first flight of a TLS connection, looked at before it is answered: which name the client wants (RFC 8446 §4.1.2).

Only what a server must know to choose a certificate is read. OpenSSL reads it all again and is the judge of the rest.
"""

from __future__ import annotations

import re
from typing import Final

HANDSHAKE: Final = 0x16
"""First byte of a TLS connection (RFC 8446 §5.1)."""
LONGEST: Final = 64 * 1024
"""Bytes that a ClientHello may take, with its records' headers; the longest ones in use have about 2,000."""

_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST: Final = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?\.?")

UNRECOGNIZED_NAME: Final = b"\x15\x03\x03\x00\x02\x02\x70"
"""A fatal alert, as a record of its own (RFC 6066 §3)."""


def server_name(data: bytes | bytearray) -> str | None:
    """The host that the client names (SNI, RFC 6066 §3): lower case, empty when it names none.

    None: the message is not whole yet. ValueError: this is no ClientHello, or the name is none.
    """
    message = _message(data)
    if message is None:
        return None
    at = 2 + 32  # legacy_version, random
    at += 1 + message[at]  # legacy_session_id
    at += 2 + _number(message, at)  # cipher_suites
    at += 1 + _byte(message, at)  # legacy_compression_methods
    if at == len(message):
        return ""
    end = at + 2 + _number(message, at)
    at += 2
    if end != len(message):
        raise ValueError("extensions do not end with the message")
    while at < end:
        kind, size = _number(message, at), _number(message, at + 2)
        at += 4
        if at + size > end:
            raise ValueError("an extension is longer than the message")
        if kind == _SERVER_NAME:
            return _host(message[at : at + size])
        at += size
    return ""


def missing(data: bytes | bytearray) -> int:
    """Of a message that is not whole yet: so many bytes are to come at the least. Before that it need not be read."""
    message, wanted, at = _joined(data)
    held = len(data) - at - 5  # of the record that is not whole yet, without its header
    size = int.from_bytes(data[at + 3 : at + 5], "big") if held >= 0 else 0
    return max(size - held, wanted - len(message) - max(0, held), 1)


def _message(data: bytes | bytearray) -> bytearray | None:
    """The handshake message without its header; None when it is not whole yet."""
    message, wanted, _ = _joined(data)
    return message[4:wanted] if wanted and len(message) >= wanted else None


def _joined(data: bytes | bytearray) -> tuple[bytearray, int, int]:
    """What has come of the message; its length, 0 if that has not; and where the record begins that is not whole yet.

    A message may come in several records (RFC 8446 §5.1).
    """
    message = bytearray()
    at = wanted = 0
    while len(data) - at >= 5:
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] != HANDSHAKE or data[at + 1] != 3 or not 0 < size <= 1 << 14:
            raise ValueError("no record of a handshake")
        if len(data) - at - 5 < size:
            break
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
        if message[0] != _CLIENT_HELLO:
            raise ValueError("a handshake that does not begin with a ClientHello")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > LONGEST or size < 2 + 32 + 1:
                raise ValueError(f"a ClientHello of {size} bytes")
            wanted = 4 + size
            if len(message) >= wanted:
                return message, wanted, at
    if len(data) > LONGEST:
        raise ValueError("a ClientHello that does not end")
    return message, wanted, at


def _host(extension: bytes | bytearray) -> str:
    size = _number(extension, 3)
    name = extension[5 : 5 + size]
    # one name of type host_name: no other type was ever defined
    if _number(extension, 0) != len(extension) - 2 or extension[2] != 0 or len(extension) != 5 + size:
        raise ValueError("a list of names that is none")
    if _HOST.fullmatch(name) is None:
        raise ValueError("a server name that is no host name")
    return name.decode("ascii").lower().rstrip(".")


def _number(data: bytes | bytearray, at: int) -> int:
    if at + 2 > len(data):
        raise ValueError("a message that ends early")
    return data[at] << 8 | data[at + 1]


def _byte(data: bytes | bytearray, at: int) -> int:
    if at >= len(data):
        raise ValueError("a message that ends early")
    return data[at]
