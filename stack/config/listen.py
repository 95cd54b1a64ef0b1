"""A listener as it is written: `SCHEME://HOST:PORT`, `SCHEME+fd://N`, or a bare address in the hop's usual scheme."""

from __future__ import annotations

import difflib
import ipaddress
from dataclasses import dataclass
from typing import Final

from stack.errors import ConfigError

SCHEMES: Final = ("http", "https", "h2c", "dns", "tls", "tcp")
"""dns is UDP and TCP on one port, tls DNS over TLS (RFC 7858), h2c HTTP/2 with prior knowledge (RFC 9113 §3.3)."""

USUAL: Final = {"dns_server": "dns"}
"""The scheme of a bare address, where it is not http."""

_OF_HTTP: Final = ("http", "https", "h2c")
_OF_DNS: Final = ("dns", "tls", "https", "http", "h2c")

_SHAPE = "SCHEME://HOST:PORT, SCHEME+fd://N or HOST:PORT"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. With `fd` the socket was bound by somebody else and `host` and `port` say nothing."""

    scheme: str
    host: str = ""
    port: int = 0
    fd: int | None = None
    query: str = ""
    """Options of this listener alone, as `client_ca=FILE&client_cert=optional`. Only https and tls have any."""

    def __str__(self) -> str:
        more = f"?{self.query}" if self.query else ""
        if self.fd is not None:
            return f"{self.scheme}+fd://{self.fd}{more}"
        return f"{self.scheme}://{address(self.host, self.port)}{more}"


def address(host: str, port: int) -> str:
    """`host:port`, with brackets around IPv6 (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def usual(kind: str) -> str:
    return USUAL.get(kind, "http")


def served(kind: str) -> tuple[str, ...]:
    """The schemes that a kind of hop serves, for a hint."""
    return _OF_DNS if kind == "dns_server" else _OF_HTTP


def parse(text: str, *, usual: str = "http", option: str = "--listen", schemes: tuple[str, ...] = SCHEMES) -> Listen:
    """Raises ConfigError that names `option`, the value and what was wanted: one of `schemes`."""
    scheme, mark, rest = text.strip().partition("://")
    if not mark:
        scheme, rest = usual, text.strip()
    scheme = scheme.lower()
    passed = scheme == "fd" or scheme.endswith("+fd")
    if passed:
        scheme = scheme[:-3] or usual if scheme != "fd" else usual
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, schemes, 1)
        hint = f"did you mean {near[0]}://?" if near else f"one of {', '.join(schemes)}"
        raise ConfigError(f"{option} {text!r}: no scheme is called {scheme!r}: {hint}")
    rest, mark, query = rest.partition("?")
    if mark and scheme not in ("https", "tls"):
        raise ConfigError(f"{option} {text!r}: only https and tls have options of their own behind `?`")
    if passed:
        if not (rest.isascii() and rest.isdigit()) or int(rest) > 1 << 20:
            raise ConfigError(f"{option} {text!r}: wanted a descriptor's number, as {scheme}+fd://7")
        return Listen(scheme, fd=int(rest), query=query)
    host, port = _host_port(text, rest.removesuffix("/"), option)
    return Listen(scheme, host, port, query=query)


def _host_port(text: str, rest: str, option: str) -> tuple[str, int]:
    if rest.startswith("["):
        host, mark, port = rest[1:].partition("]:")
    else:
        host, mark, port = rest.rpartition(":")
        if ":" in host:
            raise ConfigError(f"{option} {text!r}: an IPv6 address stands in brackets, as [::1]:8080")
    if not mark:
        raise ConfigError(f"{option} {text!r}: the port is missing; wanted {_SHAPE}")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"{option} {text!r}: wanted a port from 0 (any free one) to 65535, not {port!r}")
    if host == "localhost":
        host = "127.0.0.1"
    if host in ("", "*"):
        raise ConfigError(f"{option} {text!r}: the address is missing; 0.0.0.0 or [::] is every address")
    try:
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r}: {host!r} is not an IP address (names are not looked up to listen); wanted {_SHAPE}"
        ) from None
