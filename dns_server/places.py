"""Other servers as options name them: `ADDRESS[:PORT][#KEY]`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dns_server.rules.names import NameFault, from_text, to_text
from stack.errors import ConfigError
from stack.net.dns_client import Address

DNS_PORT = 53
TLS_PORT = 853
_TLS = "tls://"


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and the key that messages with it are signed with. `key` is a name in wire form and lower case."""

    address: Address
    key: bytes | None = None
    tls: bool = False
    """Whether it is spoken with over TLS alone (RFC 9103)."""

    def __str__(self) -> str:
        host, port = self.address
        where = (_TLS if self.tls else "") + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return where if self.key is None else f"{where}#{to_text(self.key).rstrip('.')}"


def place(text: str, option: str, *, may_tls: bool = False) -> Place:
    """`192.0.2.1`, `192.0.2.1:5053#key`, `2001:db8::1` or `[2001:db8::1]:5053`, with `may_tls` also `tls://192.0.2.1`.
    Raises ConfigError."""
    where, mark, name = text.strip().partition("#")
    tls = where.startswith(_TLS)
    if tls and not may_tls:
        raise ConfigError(f"{option} {text}: it is spoken with over UDP alone; leave tls:// out")
    where = where.removeprefix(_TLS)
    host, given = where, ""
    if where.startswith("["):
        host, _, given = where[1:].partition("]")
        if given and not given.startswith(":"):
            raise _fault(text, option)
        given = given.removeprefix(":")
    elif where.count(":") == 1:
        host, _, given = where.partition(":")
    try:
        number = int(given) if given else TLS_PORT if tls else DNS_PORT
        if not 0 < number < 65536 or (mark and not name):
            raise ValueError
        key = from_text(name).lower() if mark else None
        return Place((str(ipaddress.ip_address(host)), number), key, tls)
    except NameFault as fault:
        raise ConfigError(f"{option} {text}: {fault}") from None
    except ValueError:
        raise _fault(text, option) from None


def _fault(text: str, option: str) -> ConfigError:
    return ConfigError(f"{option} {text}: wanted ADDRESS[:PORT][#KEY], as 127.0.53.3:5053#transfer-key")


def zone_places(text: str, option: str, *, may_tls: bool = False) -> tuple[bytes | None, tuple[Place, ...]]:
    """`NAME=PLACE[,PLACE...]`: the zone and the servers. Without `NAME=` the zone is None. Raises ConfigError."""
    name, mark, rest = text.rpartition("=")
    try:
        origin = from_text(name.strip()) if mark else None
    except NameFault as fault:
        raise ConfigError(f"{option} {text}: {fault}") from None
    if mark and not name.strip():
        raise ConfigError(f"{option} {text}: wanted NAME=ADDRESS[:PORT][#KEY]")
    return origin, tuple(place(part, option, may_tls=may_tls) for part in rest.split(","))


def source(own: str, address: Address) -> str | None:
    """The own address from which that one is spoken with: the other side knows us by where we listen. None, for the
    machine's choice, when we listen everywhere, or where the other cannot be reached from."""
    if not own:
        return None
    here, there = ipaddress.ip_address(own), ipaddress.ip_address(address[0])
    fits = here.version == there.version and here.is_loopback == there.is_loopback and not here.is_unspecified
    return own if fits else None
