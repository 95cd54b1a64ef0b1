"""The zone data of the default stack: a root, a TLD and the shop's zone, each on a server of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    servers: Mapping[str, str],
    https_port: int = 8443,
    alpn: Sequence[str] = ("h2", "http/1.1"),
) -> dict[str, str]:
    """Master files by zone, each with its `$ORIGIN`: `.`, the TLD, and `name`.

    `edges`: address by the edge's name (`edge-fra`); apex and `www` have all of them, in this order. `servers`:
    addresses of the name servers `root`, `tld` and `shop`. `https_port` stands in the HTTPS records (RFC 9460), which
    is how a client finds a port other than 443. Raises ConfigError for a name that is no domain of two labels or more.
    """
    try:
        parts = [label.decode() for label in labels(from_text(name))]
    except (NameFault, UnicodeDecodeError) as fault:
        raise ConfigError(f"{name}: {fault}") from None
    if len(parts) < 2:
        raise ConfigError(f"{name}: the site needs a name below a top-level domain, such as shop.test")
    zone, tld = to_text(from_text(name)), parts[-1] + "."
    return {
        ".": _root(tld, servers),
        tld: _tld(tld, zone, servers),
        zone: _site(zone, servers, edges, https_port, alpn),
    }


def _soa(server: str, minimum: int) -> str:
    # serial, refresh, retry, expire, minimum: the last is how long "there is no such name" holds (RFC 2308)
    return f"@ {TTL} IN SOA {server} hostmaster {SERIAL} 3600 600 86400 {minimum}"


def _root(tld: str, servers: Mapping[str, str]) -> str:
    return "\n".join(
        (
            "$ORIGIN .",
            f"$TTL {DELEGATION_TTL}",
            _soa("a.root-servers", TTL),
            "@ IN NS a.root-servers",
            f"a.root-servers IN A {servers['root']}",
            "",
            f"; the way down to {tld}, and the address without which nobody would get there",
            f"{tld} IN NS ns.nic.{tld}",
            f"ns.nic.{tld} IN A {servers['tld']}",
            "",
        )
    )


def _tld(tld: str, zone: str, servers: Mapping[str, str]) -> str:
    return "\n".join(
        (
            f"$ORIGIN {tld}",
            f"$TTL {DELEGATION_TTL}",
            _soa("ns.nic", TTL),
            "@ IN NS ns.nic",
            f"ns.nic IN A {servers['tld']}",
            "",
            f"{zone} IN NS ns1.{zone}",
            f"ns1.{zone} IN A {servers['shop']}",
            "",
        )
    )


def _site(zone: str, servers: Mapping[str, str], edges: Mapping[str, str], port: int, alpn: Sequence[str]) -> str:
    lines = [
        f"$ORIGIN {zone}",
        f"$TTL {TTL}",
        _soa("ns1", 30),
        f"@ {DELEGATION_TTL} IN NS ns1",
        f"ns1 {DELEGATION_TTL} IN A {servers['shop']}",
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
