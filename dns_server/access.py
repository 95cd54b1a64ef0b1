"""Who may: clients by address, by the key that they sign with, or by both."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from dns_server.rules.names import NameFault, from_text
from stack.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Access:
    """A list of `NETWORK`, `#KEY` and `NETWORK#KEY`. One entry that fits is enough; all of an entry must fit."""

    def __init__(self, entries: Iterable[str], option: str) -> None:
        """`option`: its flag, for faults. Raises ConfigError."""
        self._entries = [_entry(text, option) for text in entries]

    @property
    def keys(self) -> set[bytes]:
        """Names of the keys that entries want."""
        return {key for _, key in self._entries if key is not None}

    def allows(self, client: str, key: bytes | None) -> bool:
        """`key`: the name of that whose signature is right."""
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(
            (network is None or address in network) and (wanted is None or wanted == key)
            for network, wanted in self._entries
        )


def _entry(text: str, option: str) -> tuple[Network | None, bytes | None]:
    place, mark, name = text.strip().partition("#")
    try:
        network = ipaddress.ip_network(place) if place else None
        key = from_text(name).lower() if mark else None
    except (ValueError, NameFault) as fault:
        raise ConfigError(f"{option} {text}: {fault}; wanted NETWORK, #KEY or NETWORK#KEY") from None
    if network is None and not name:
        raise ConfigError(f"{option} {text!r}: wanted NETWORK, #KEY or NETWORK#KEY, as 192.0.2.0/24 or #transfer-key")
    return network, key
