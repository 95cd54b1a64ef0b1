"""Who is believed when they speak of the client: Forwarded (RFC 7239), X-Forwarded-For from configured peers only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Any, Final

from stack.errors import ConfigError
from stack.http.fields import split_list, split_params
from stack.http.message import Field

_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 256


def peers(networks: Sequence[str]) -> Trust:
    """The trust in a hop's peers. ConfigError when that is everyone: any client could then say who it is."""
    trust = Trust(networks)
    for version in (IPv4Network, IPv6Network):
        same: list[Any] = [network for network in map(ip_network, networks) if isinstance(network, version)]
        for network in collapse_addresses(same):
            if network.prefixlen == 0:
                raise ConfigError(
                    f"--trusted {' '.join(networks)}: {network} is everyone, and any client could then say who it is "
                    "(Forwarded, X-Forwarded-For); give the addresses of the proxies before this hop"
                )
    return trust


class Trust:
    """The peers that are believed. A trusted peer must itself overwrite or extend Forwarded and X-Forwarded-For."""

    __slots__ = ("_clients", "_known", "_networks")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """`networks`: addresses or networks such as `10.0.0.0/8`, `::1`. ConfigError for anything else."""
        self._networks: list[IPv4Network | IPv6Network] = []
        for network in networks:
            try:
                self._networks.append(ip_network(network))
            except ValueError as error:
                remedy = "give an address or a network such as 10.0.0.0/8 or ::1"
                raise ConfigError(f"--trusted {network}: {error}; {remedy}") from None
        self._known: dict[str, bool] = {}
        self._clients: dict[tuple[str, bytes, bytes], str] = {}

    def believes(self, address: str) -> bool:
        """Whether `address` is in one of the networks. What is no IP address (a Unix socket's peer) is not."""
        known = self._known.get(address)
        if known is None:
            known = is_within(address, self._networks)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[address] = known
        return known

    def client(self, peer_address: str, fields: Iterable[Field]) -> str:
        """The nearest address that no trusted peer vouches for; when all are trusted, the farthest.

        Forwarded is read if there is one, X-Forwarded-For otherwise. An element that names no address (`unknown`,
        `_hidden`, junk) ends the walk.
        """
        if not self.believes(peer_address):
            return peer_address
        chain, plain = b"", b""
        for name, value in fields:
            if name == b"forwarded":
                chain = chain + b", " + value if chain else value
            elif name == b"x-forwarded-for":
                plain = plain + b", " + value if plain else value
        if chain:
            plain = b""
        elif not plain:
            return peer_address
        # the same few clients come back request after request, and reading a chain costs more than a hop may
        key = (peer_address, chain, plain)
        found = self._clients.get(key)
        if found is None:
            found = self._walk(peer_address, _forwarded(chain) if chain else _forwarded_for(plain))
            if len(chain) + len(plain) <= _LONGEST_REMEMBERED:
                if len(self._clients) >= _REMEMBERED:
                    self._clients.clear()
                self._clients[key] = found
        return found

    def _walk(self, nearest: str, claimed: Iterable[str | None]) -> str:
        """From the near end, because each hop appends: beyond the first untrusted address is that client's own word."""
        for address in claimed:
            if address is None:
                break
            nearest = address
            if not self.believes(address):
                break
        return nearest


def is_within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether `address` is in one of the networks; an IPv4 address that is written in IPv6 is itself."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)


def _forwarded(value: bytes) -> Iterator[str | None]:
    for element in reversed(split_list(value)):
        yield node_address(split_params(element).get(b"for", b""))


def _forwarded_for(value: bytes) -> Iterator[str | None]:
    return reversed(plain_nodes(value))


def plain_nodes(value: bytes) -> list[str | None]:
    """The addresses of X-Forwarded-For, None for what is none. Nothing is quoted there: a quote would hide the rest."""
    return [node_address(node) for part in value.split(b",") if (node := part.strip(b" \t"))]


def node_address(node: bytes) -> str | None:
    """The address of a node (RFC 7239 §6), in canonical form, without its port; None where it has none.

    Takes also what X-Forwarded-For is seen to hold: a bare IPv6 address, an IPv4 address with a port.
    """
    text = node.decode("latin-1")
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
        parsed = _address(text)
        return str(parsed) if isinstance(parsed, IPv6Address) or (parsed is not None and ":" in text) else None
    if text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(":" + port):
            return None
    parsed = _address(text)
    return None if parsed is None else str(parsed)


def _is_port(text: str) -> bool:
    # node-port = port / obfport (RFC 7239 §6.3); an obfuscated port tells nothing, but is allowed
    name = text[1:]
    return text[:1] == ":" and name.isascii() and (name[:1] == "_" or (name.isdigit() and len(name) <= 5))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    # a dual-stack socket names IPv4 peers ::ffff:a.b.c.d
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
