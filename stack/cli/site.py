"""Where clients find a running stack, from its status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Site:
    """The site at one edge."""

    name: str
    scheme: str
    edge: str
    """The process's name."""
    host: str
    """The edge's address, with brackets around IPv6."""
    port: str
    dns: str
    """`host:port` of the resolver; empty when there is none."""
    doh: str
    """URL of DNS over HTTPS; empty when there is none."""

    @property
    def url(self) -> str:
        """By name, as clients that resolve it are to say; the port only where it is not the scheme's own."""
        return f"{self.scheme}://{self.name}{self._port}"

    @property
    def edge_url(self) -> str:
        """By address: for clients that resolve names by the system alone."""
        return f"{self.scheme}://{self.host}{self._port}"

    @property
    def resolve(self) -> str:
        """What curl's --resolve takes."""
        return f"{self.name}:{self.port}:{self.host}"

    @property
    def _port(self) -> str:
        return "" if self.port == {"https": "443", "http": "80"}[self.scheme] else f":{self.port}"


def site(status: dict[str, Any], edge: str = "") -> Site | None:
    """At the edge of that name, or at the first one. None when no edge listens."""
    hops = status.get("hops", [])
    dns = doh = ""
    for hop in hops:
        if hop["kind"] == "dns_server" and "https" in hop["listen"] and not doh:
            dns = hop["listen"].get("dns", "")
            doh = f"https://localhost:{hop['listen']['https'].rpartition(':')[2]}/dns-query"
    for hop in hops:
        if hop["kind"] == "cdn_edge" and edge in ("", hop["name"]):
            for scheme in ("https", "http"):
                if scheme in hop["listen"]:
                    host, _, port = hop["listen"][scheme].rpartition(":")
                    return Site(status["name"], scheme, hop["name"], host, port, dns, doh)
    return None
