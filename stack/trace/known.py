"""What the status of a running stack tells a client: its name, its DNS root, its edges, its certificate authority."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stack.config.listen import address
from stack.errors import ConfigError

RESERVED: Final = frozenset({"test", "example", "invalid", "localhost", "internal", "arpa"})
"""Top-level names that the public DNS does not have (RFC 2606, RFC 6761): a stack may own them whole."""

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class KnownStack:
    name: str
    ca: str
    roots: tuple[Place, ...]
    """The server of the root zone, by its usual name; empty where a file calls it otherwise, or has none."""
    servers: Mapping[Place, str]
    """Names of the DNS servers by address."""
    edges: Mapping[str, Mapping[str, Place]] = field(default_factory=dict)
    """Of each edge, its place by scheme."""
    hops: Mapping[Place, str] = field(default_factory=dict)
    """Names of all hops that speak HTTP, by address."""
    resolver: Place | None = None

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> KnownStack | None:
        """`status` as in `hopstack status --json`; None when it is empty: nothing runs."""
        if not status.get("hops"):
            return None
        servers: dict[Place, str] = {}
        edges: dict[str, Mapping[str, Place]] = {}
        hops: dict[Place, str] = {}
        roots: list[Place] = []
        resolver: Place | None = None
        for hop in status["hops"]:
            places = {scheme: place for scheme, text in hop["listen"].items() if (place := _place(text)) is not None}
            if hop["kind"] == "dns_server" and "dns" in places:
                servers[places["dns"]] = hop["name"]
                if hop["name"] == "dns-root":
                    roots.append(places["dns"])
                elif hop["name"] == "resolver":
                    resolver = places["dns"]
            if hop["kind"] == "cdn_edge":
                edges[hop["name"]] = places
            for scheme in ("http", "https"):
                if scheme in places:
                    hops[places[scheme]] = hop["name"]
        name = str(status.get("name", "")).lower().rstrip(".")
        return cls(name, str(status.get("ca", "")), tuple(roots), servers, edges, hops, resolver)

    def owns(self, host: str) -> bool:
        """Whether `host` is a name that this stack's DNS answers for."""
        host = host.lower().rstrip(".")
        if not self.name or host == "localhost":
            return False
        top = self.name.rpartition(".")[2]
        zone = top if top in RESERVED and top != "localhost" else self.name
        return host == zone or host.endswith(f".{zone}")

    def edge(self, name: str, scheme: str) -> tuple[str, Place]:
        """An edge by its name or the end of it (`nrt`), and its place. ConfigError when there is none."""
        for known in (name, f"edge-{name}"):
            if known in self.edges:
                place = self.edges[known].get(scheme)
                if place is None:
                    raise ConfigError(f"--edge {name}: {known} does not listen for {scheme}")
                return known, place
        short = {one.removeprefix("edge-"): one for one in self.edges}
        near = difflib.get_close_matches(name.removeprefix("edge-"), short, 1)
        hint = f"did you mean {short[near[0]]}?" if near else f"there is {', '.join(self.edges) or 'none'}"
        raise ConfigError(f"--edge {name}: the running stack has no such edge; {hint}")

    def usual(self, scheme: str) -> Place | None:
        """Where its first edge speaks `scheme`."""
        return next((places[scheme] for places in self.edges.values() if scheme in places), None)

    def who(self, place: Place) -> str:
        return self.hops.get(place, address(*place))


def _place(text: str) -> Place | None:
    """Where to connect to; a listener on every address is met on loopback."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)) if host and port.isdigit() else None
