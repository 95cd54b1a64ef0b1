"""The zone data of the default stack: a root, a TLD and the shop's zone, each on a server of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dns_server.rules.names import NameFault, from_text, labels, to_text
from stack.errors import ConfigError

TTL = 60
"""Seconds for what may change while somebody watches: short enough to wait for, long enough to see a cache at work."""
DELEGATION_TTL = 3600
SERIAL = 1


@dataclass(frozen=True, slots=True)
class Edge:
    """Where an edge is reached: its addresses, and the port of HTTPS; None when it has none."""

    addresses: tuple[str, ...]
    https_port: int | None = 8443


def default_zones(
    name: str = "shop.test",
    *,
    edges: Mapping[str, str | Edge],
    servers: Mapping[str, str | Sequence[str]],
    alpn: Sequence[str] = ("h2", "http/1.1"),
) -> dict[str, str]:
    """Master files by zone, each with its `$ORIGIN`: `.`, the TLD, and `name`.

    `edges`: by name (`edge-fra`) the address, or all that is known of it; apex and `www` have all of them, in this
    order. `servers`: addresses of the name servers `root`, `tld` and `shop`, one or several of each. HTTPS records
    (RFC 9460) say what an edge speaks, and at which port. Raises ConfigError for a name that is no domain of two
    labels or more.
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
        zone: _site(
            zone,
            sites,
            {key: edge if isinstance(edge, Edge) else Edge((edge,)) for key, edge in edges.items()},
            ",".join(alpn),
        ),
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
        *(f"{name}{below} {ttl}IN {_address(address)}" for name, address in named.items()),
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


def _address(address: str) -> str:
    """Type and data."""
    return f"{'AAAA' if ':' in address else 'A'} {address}"


def _service(edges: Iterable[Edge], alpn: str, target: str = ".") -> str:
    """Type and data of one HTTPS record for edges with one port. `.` as target is the owner (RFC 9460 §2.5.2).

    The hints are the addresses that the target has, so that they never name an edge that those do not.
    """
    edges = list(edges)
    found = dict.fromkeys(ipaddress.ip_address(address) for edge in edges for address in edge.addresses)
    text = f'HTTPS 1 {target} alpn="{alpn}" port={edges[0].https_port}'
    for version in (4, 6):
        if hints := [str(address) for address in found if address.version == version]:
            text += f" ipv{version}hint={','.join(hints)}"
    return text


def _services(edges: Mapping[str, Edge], alpn: str) -> list[str]:
    """Of the site: one for all edges if they have one port, else one for each edge that has HTTPS."""
    ports = {edge.https_port for edge in edges.values()}
    if len(ports) == 1:
        return [_service(edges.values(), alpn)] if ports != {None} else []
    return [_service([edge], alpn, name) for name, edge in edges.items() if edge.https_port is not None]


def _site(zone: str, servers: Mapping[str, str], edges: Mapping[str, Edge], alpn: str) -> str:
    lines = [
        f"$ORIGIN {zone}",
        f"$TTL {TTL}",
        _soa(servers, 30),
        *_name_servers(servers, ttl=f"{DELEGATION_TTL} "),
        "",
        "; the site: every edge, for clients to choose from",
    ]
    every = dict.fromkeys(address for edge in edges.values() for address in edge.addresses)
    for owner in ("@", "www"):
        lines += [f"{owner} IN {_address(address)}" for address in every]
        lines += [f"{owner} IN {service}" for service in _services(edges, alpn)]
    lines += ["", "; each edge by its own name"]
    for name, edge in edges.items():
        lines += [f"{name} IN {_address(address)}" for address in edge.addresses]
        lines += [f"{name} IN {service}" for service in _services({name: edge}, alpn)]
    ports = sorted({edge.https_port for edge in edges.values()} - {None, 443}, key=str)
    if ports:
        lines += ["", "; what a client asks that has the port in its URL (RFC 9460 §9.1)"]
    for port in ports:
        here = {name: edge for name, edge in edges.items() if edge.https_port == port}
        for owner, target in (("", "@"), (".www", "www")):
            services = [_service(here.values(), alpn, target)]
            if len(here) < len(edges):
                services = [_service([edge], alpn, name) for name, edge in here.items()]
            lines += [f"_{port}._https{owner} IN {service}" for service in services]
        lines += [f"_{port}._https.{name} IN {_service([edge], alpn, name)}" for name, edge in here.items()]
    lines += [
        "",
        "; nobody may issue certificates for these names (RFC 8659), and nobody sends mail from them (RFC 7208)",
        '@ IN CAA 0 issue ";"',
        '@ IN TXT "v=spf1 -all"',
        "",
    ]
    return "\n".join(lines)
