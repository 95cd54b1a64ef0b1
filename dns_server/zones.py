"""The zone data of the default stack: a root, a TLD and the shop's zone, each on a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from dns_server.rules.names import NameFault, from_text, labels, to_text
from stack.errors import ConfigError

TTL = 60
"""Seconds for what may change while somebody watches: short enough to wait for, long enough to see a cache at work."""
DELEGATION_TTL = 3600
SERIAL = 1


def default_zones(
    name: str = "shop.test",
    *,
    edges: Mapping[str, str],
    servers: Mapping[str, str | Sequence[str]],
    https_port: int = 8443,
    alpn: Sequence[str] = ("h2", "http/1.1"),
) -> dict[str, str]:
    """Master files by zone, each with its `$ORIGIN`: `.`, the TLD, and `name`.

    `edges`: address by the edge's name (`edge-fra`); apex and `www` have all of them, in this order. `servers`:
    addresses of the name servers `root`, `tld` and `shop`, one or several of each. `https_port` stands in the HTTPS
    records (RFC 9460), which is how a client finds a port other than 443. Raises ConfigError for a name that is no
    domain of two labels or more.
    """
    try:
        parts = [label.decode() for label in labels(from_text(name))]
    except (NameFault, UnicodeDecodeError) as fault:
        raise ConfigError(f"{name}: {fault}") from None
    if len(parts) < 2:
        raise ConfigError(f"{name}: the site needs a name below a top-level domain, such as shop.test")
    zone, tld = to_text(from_text(name)), parts[-1] + "."
    roots, tops, sites = (_named(servers[role], names) for role, names in _NAMES.items())
    return {
        ".": _root(roots, tld, tops),
        tld: _tld(tops, tld, zone, sites),
        zone: _site(zone, sites, edges, https_port, alpn),
    }


_NAMES: Final = {
    "root": lambda index: f"{_letter(index)}.root-servers",
    "tld": lambda index: f"ns{index + 1 if index else ''}.nic",
    "shop": lambda index: f"ns{index + 1}",
}
"""What the name servers of each zone are called, below that zone, by their position."""


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"a{index + 1}"


def _named(addresses: str | Sequence[str], names: Callable[[int], str]) -> dict[str, str]:
    """Address by the name of each name server, the first one being the primary."""
    given = [addresses] if isinstance(addresses, str) else addresses
    return {names(index): address for index, address in enumerate(given)}


def _name_servers(named: Mapping[str, str], zone: str = "", ttl: str = "") -> list[str]:
    """The NS records of a zone and the addresses; `zone` in its parent, which delegates it."""
    below = f".{zone}" if zone else ""
    owner = zone or "@"
    return [
        *(f"{owner} {ttl}IN NS {name}{below}" for name in named),
        *(f"{name}{below} {ttl}IN A {address}" for name, address in named.items()),
    ]


def _soa(servers: Mapping[str, str], minimum: int) -> str:
    # serial, refresh, retry, expire, minimum: the last is how long "there is no such name" holds (RFC 2308)
    return f"@ {TTL} IN SOA {next(iter(servers))} hostmaster {SERIAL} 14400 3600 1209600 {minimum}"


def _root(servers: Mapping[str, str], tld: str, below: Mapping[str, str]) -> str:
    return "\n".join(
        (
            "$ORIGIN .",
            f"$TTL {DELEGATION_TTL}",
            _soa(servers, TTL),
            *_name_servers(servers),
            "",
            f"; the way down to {tld}, and the address without which nobody would get there",
            *_name_servers(below, tld),
            "",
        )
    )


def _tld(servers: Mapping[str, str], tld: str, zone: str, below: Mapping[str, str]) -> str:
    return "\n".join(
        (
            f"$ORIGIN {tld}",
            f"$TTL {DELEGATION_TTL}",
            _soa(servers, TTL),
            *_name_servers(servers),
            "",
            *_name_servers(below, zone),
            "",
        )
    )


def _site(zone: str, servers: Mapping[str, str], edges: Mapping[str, str], port: int, alpn: Sequence[str]) -> str:
    lines = [
        f"$ORIGIN {zone}",
        f"$TTL {TTL}",
        _soa(servers, 30),
        *_name_servers(servers, ttl=f"{DELEGATION_TTL} "),
        "",
        "; the site: every edge, for clients to choose from",
    ]
    # RFC 9460 §7: protocols and port; `.` says that the addresses are the name's own
    service = f'HTTPS 1 . alpn="{",".join(alpn)}" port={port}'
    if edges:
        service += " ipv4hint=" + ",".join(edges.values())
        for owner in ("@", "www"):
            lines += [f"{owner} IN A {address}" for address in edges.values()]
            lines.append(f"{owner} IN {service}")
    lines += ["", "; each edge by its own name"]
    for edge, address in edges.items():
        lines += [f"{edge} IN A {address}", f'{edge} IN HTTPS 1 . alpn="{",".join(alpn)}" port={port}']
    lines += [
        "",
        "; nobody may issue certificates for these names (RFC 8659), and nobody sends mail from them (RFC 7208)",
        '@ IN CAA 0 issue ";"',
        '@ IN TXT "v=spf1 -all"',
        "",
    ]
    return "\n".join(lines)
