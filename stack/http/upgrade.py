"""Which protocol a request asks to change to (RFC 9110 §7.8), and what WebSocket's handshake proves (RFC 6455 §4).

Between the hops of this project a request for a tunnel has `upgrade`, and neither Connection nor Upgrade. The key of a
WebSocket handshake is the connection's: whoever speaks HTTP/1.1 to the next hop sends one and holds the answer
against it, and HTTP/2 has none (RFC 8441 §5).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable
from typing import Final

from stack.errors import BadRequest, ConfigError, ResponseMalformed
from stack.http.fields import split_list, tokens
from stack.http.message import Fields, combined, get

WEBSOCKET: Final = b"websocket"
KEY: Final = b"sec-websocket-key"
ACCEPT: Final = b"sec-websocket-accept"
NEVER: Final = frozenset({b"h2c", b"h2", b"http", b"tls"})
"""HTTP itself, and TLS: passed on they would take the connection out of the hands of this hop's rules."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OF_CONNECTION: Final = frozenset(
    {b"connection", b"upgrade", b"keep-alive", b"transfer-encoding", b"content-length", ACCEPT}
)


def allowed(names: Iterable[str]) -> frozenset[str]:
    """Of an option's values, those that can be passed on; `none` is no protocol, and stands alone: ConfigError."""
    protocols = frozenset(name.lower() for name in names)
    if "none" in protocols and len(protocols) > 1:
        raise ConfigError("--upgrade none takes no tunnels; leave `none` out, or the others")
    return protocols - {"none"} - {name.decode() for name in NEVER}


def asked(method: bytes, fields: Fields, allowed: Collection[bytes]) -> bytes | None:
    """The first protocol of Upgrade that is passed on here; None: the field is ignored. `fields` of HTTP/1.1.

    BadRequest for a WebSocket handshake without a key that is one: it could not be answered.
    """
    upgrade = combined(fields, b"upgrade")
    if upgrade is None or method != b"GET":  # RFC 6455 §4.1, and no content that would have to come first
        return None
    protocol = next((name for name in map(bytes.lower, split_list(upgrade)) if name in allowed), None)
    if protocol == WEBSOCKET:
        keys = [value for name, value in fields if name == KEY]
        if len(keys) != 1 or not is_key(keys[0]):
            raise BadRequest("A WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64.")
    return protocol


def is_key(value: bytes) -> bool:
    """RFC 6455 §4.1: a nonce of 16 bytes in base64."""
    try:
        return len(value) == 24 and len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def make_key(*seeds: bytes) -> bytes:
    """A key out of what is random already."""
    return base64.b64encode(hashlib.sha256(b"\0".join(seeds)).digest()[:16])


def accept(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def request_lines(protocol: bytes, fields: Fields, *seeds: bytes) -> tuple[bytes, bytes]:
    """The field lines that ask the next hop over HTTP/1.1, and the key that its answer is held against.

    A client's own key goes on: who looks at both ends finds the same one.
    """
    lines = b"connection: upgrade\r\nupgrade: %b\r\n" % protocol
    if protocol != WEBSOCKET:
        return lines, b""
    key = get(fields, KEY)
    if key is None:
        key = make_key(*seeds)
        lines += b"%b: %b\r\n" % (KEY, key)
    return lines, key


def check_switch(protocol: bytes, key: bytes, fields: Fields) -> None:
    """ResponseMalformed unless a 101 changes to what was asked for."""
    if tokens(combined(fields, b"upgrade")) != [protocol] or b"upgrade" not in tokens(combined(fields, b"connection")):
        raise ResponseMalformed(private=f"101 that does not change to {protocol.decode('latin-1')}")
    if key and [value for name, value in fields if name == ACCEPT] != [accept(key)]:
        raise ResponseMalformed(private="101 with a wrong Sec-WebSocket-Accept")  # RFC 6455 §4.1


def switch_fields(fields: Fields) -> Fields:
    """Of a 101, what is not the connection's."""
    return [field for field in fields if field[0] not in _OF_CONNECTION]


def switch_lines(protocol: bytes, key: bytes | None) -> bytes:
    """The field lines of a 101 over HTTP/1.1."""
    lines = b"connection: upgrade\r\nupgrade: %b\r\n" % protocol
    if protocol == WEBSOCKET and key is not None:
        lines += b"%b: %b\r\n" % (ACCEPT, accept(key))
    return lines
