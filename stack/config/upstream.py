"""A next hop as it is written, `[NAME=]SCHEME://HOST[:PORT]`, and the address it is connected to from."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from stack.config.listen import address
from stack.errors import ConfigError

PORTS: Final = {"http": 80, "https": 443, "h2c": 80}
"""The schemes of a next hop with their ports; h2c is HTTP/2 with prior knowledge (RFC 9113 §3.3)."""

Protocol = Literal["h1", "h2", "auto"]
ALPN: Final[Mapping[Protocol, tuple[str, ...]]] = {
    "h1": ("http/1.1",),
    "h2": ("h2",),
    "auto": ("h2", "http/1.1"),
}
"""What a protocol offers to an https next hop (RFC 7301), the dearest first."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
# RFC 1123 §2.1, and the underscore that names of containers have
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """`name` is empty unless given."""

    name: str
    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around IPv6 (RFC 3986 §3.2.2). ASCII."""
        return address(self.host, self.port)

    def protocol(self, chosen: Protocol) -> Protocol:
        """What is spoken to it: `chosen` over https, in the clear what the scheme says."""
        return chosen if self.scheme == "https" else "h2" if self.scheme == "h2c" else "h1"

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_upstream(
    text: str, *, option: str, schemes: Sequence[str] = tuple(PORTS), named: bool = True, example: str
) -> UpstreamSpec:
    """ConfigError that names `option`, the value and what was wanted. `named`: whether NAME= may stand in front."""
    place = f"{option} {text!r}"
    wanted = f"wanted {'[NAME=]' if named else ''}{_written(schemes)}, such as {example}"
    name, mark, url = text.strip().partition("=")
    if not mark or "://" in name or not named:
        name, url = "", text.strip()
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{place}: {error}; {wanted}") from None
    if scheme not in schemes or not host:
        raise ConfigError(f"{place}: {wanted}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(f"{place}: only scheme, host and port; paths pass through as they are")
    if port == 0:
        raise ConfigError(f"{place}: nobody can be reached at port 0; give the port that the next hop listens on")
    if name and _NAME.fullmatch(name) is None:
        raise ConfigError(f"{place}: a name is letters, digits, dot, dash, underscore; {name!r} is not")
    check_host(host, place)
    return UpstreamSpec(name, scheme, host, PORTS[scheme] if port is None else port)


def _written(schemes: Sequence[str]) -> str:
    """`http://HOST:PORT, https or h2c`."""
    first, *between, last = schemes
    return ", ".join([f"{first}://HOST:PORT", *between]) + f" or {last}"


def check_host(host: str, place: str) -> None:
    """ConfigError unless `host` is an IP address or a name that can be looked up; `place` begins the message."""
    try:
        ipaddress.ip_address(host)
        return
    except ValueError:
        pass
    if not host.isascii():
        raise ConfigError(f"{place}: {host!r} is not ASCII; write an international name in its xn-- form (RFC 5891)")
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ConfigError(f"{place}: {host!r} is neither an IP address nor a host name; give one of them")


def check_authority(text: str, option: str) -> None:
    """ConfigError unless `text` can stand in Host: a host and an optional port (RFC 9110 §7.2)."""
    place = f"{option} {text!r}"
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{place}: {error}; wanted HOST or HOST:PORT, such as shop.example") from None
    if not host or parts.netloc != text or "@" in text or port == 0:
        raise ConfigError(f"{place}: wanted HOST or HOST:PORT, such as shop.example")
    check_host(host, place)


def check_source(text: str, option: str = "--source") -> None:
    """ConfigError unless `text` is empty or an address of this machine: it is tried, for no list tells as surely."""
    if not text:
        return
    wanted = "wanted an IP address of this machine, such as 127.0.0.1"
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: {wanted}") from None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            text, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.bind(place)
    except OSError as error:
        raise ConfigError(f"{option} {text!r}: {error.strerror or error}; {wanted} (`ip address` lists them)") from None
