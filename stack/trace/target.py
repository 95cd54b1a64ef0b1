"""A URL as a user types it, taken apart."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from stack.config.listen import address
from stack.errors import ConfigError

PORTS = {"http": 80, "https": 443}
SOCKETS = {"ws": "http", "wss": "https"}
"""Schemes of WebSocket, and what their handshake is sent over (RFC 6455 §3)."""
_KEPT = "!$&'()*+,;=:@/?%-._~[]"


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str
    """A name in lower case, or an address without brackets."""
    port: int
    target: str
    """Origin-form."""
    ported: bool = True
    """The URL names its port."""
    websocket: bool = False
    """A handshake is sent, and the tunnel is closed again; `scheme` is what it is sent over."""

    @property
    def authority(self) -> str:
        """As in Host: without the scheme's own port."""
        written = address(self.host, self.port)
        return written.rpartition(":")[0] if self.port == PORTS[self.scheme] else written

    @property
    def is_address(self) -> bool:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        scheme = f"ws{self.scheme[4:]}" if self.websocket else self.scheme
        return f"{scheme}://{self.authority}{self.target}"


def parse(text: str, *, default: str = "") -> Target:
    """`https://host:port/path?query`, `host/path` (https), or `/path` of `default`, a host. ConfigError otherwise."""
    given = text.strip()
    if given.startswith("/") and not given.startswith("//"):
        if not default:
            raise ConfigError(f"{given}: no stack runs here whose path this could be; give a whole URL")
        given = f"https://{default}{given}"
    elif "://" not in given:
        given = f"https://{given}"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(
            f"{text}: {str(error)[:1].lower()}{str(error)[1:]}; wanted https://HOST[:PORT]/PATH"
        ) from None
    scheme = SOCKETS.get(parts.scheme, parts.scheme)
    if scheme not in PORTS:
        raise ConfigError(f"{text}: {parts.scheme} is not traced; wanted http, https, ws or wss")
    if not host:
        raise ConfigError(f"{text}: no host; wanted https://HOST[:PORT]/PATH")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{parts.scheme}://{host}: give a password with -H 'Authorization: ...', not in the URL")
    if port == 0:
        raise ConfigError(f"{text}: nobody can be reached at port 0")
    path = quote(parts.path or "/", safe=_KEPT)
    query = f"?{quote(parts.query, safe=_KEPT)}" if parts.query or given.partition("#")[0].endswith("?") else ""
    return Target(
        scheme,
        _ascii(host, text),
        PORTS[scheme] if port is None else port,
        path + query,
        ported=port is not None,
        websocket=parts.scheme in SOCKETS,
    )


def _ascii(host: str, text: str) -> str:
    try:
        wire = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ConfigError(f"{text}: {host} is no host name") from None
    labels = wire.rstrip(".").split(".")
    if ":" not in wire and (len(wire) > 253 or not all(0 < len(label) <= 63 for label in labels)):
        raise ConfigError(f"{text}: {host} is no host name: a part of it is empty or longer than 63 characters")
    if not all(one.isalnum() or one in "-._:%" for one in wire):
        raise ConfigError(f"{text}: {host} is no host name")
    return wire.lower().rstrip(".")
