"""Where hops listen unless something else is said: ports above a base, loopback addresses by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stack.config.listen import Listen

LOCAL: Final = "127.0.0.1"

_USUAL_ADMIN: Final[Mapping[str, int]] = {
    name: 50 + number
    for number, name in enumerate(
        (
            *("dns-root", "dns-tld", "dns-shop", "resolver", "edge-fra", "edge-nrt", "lb-a"),
            *("proxy-1", "proxy-2", "proxy-3", "app-1", "app-2", "app-3"),
        )
    )
}
_OTHER_ADMIN: Final[Mapping[str, int]] = {"dns": 70, "edges": 80, "balancers": 100, "proxies": 120, "apps": 220}
"""Numbers of their own for each section, so that one more hop moves no other. 343 is https: none of them reaches it."""
_FEW: Final = 9
_FIRST: Final[Mapping[str, tuple[int, int]]] = {"balancers": (0, 800), "proxies": (10, 400), "apps": (20, 600)}
"""Where the ports of the first nine of a section begin, and those of the others."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a stack. With a base, all of them lie above it."""

    http: int = 8080
    https: int = 8443
    dns: int = 5053
    doh: int = 8053
    dot: int = 8853
    rest: int = 8100

    @classmethod
    def above(cls, base: int | None) -> Ports:
        if base is None:
            return cls()
        return cls(http=base + 80, https=base + 443, dns=base + 53, doh=base + 54, dot=base + 55, rest=base + 100)


@dataclass(frozen=True, slots=True)
class Places:
    """Default addresses, `index` being an entry's position in its section, from 0.

    Where only 127.0.0.1 exists (`many` is false), hops of one kind differ by their port instead.
    """

    ports: Ports
    many: bool = True

    def authority(self, index: int) -> Listen:
        if self.many:
            return Listen("dns", f"127.0.53.{index + 1}", self.ports.dns)
        return Listen("dns", LOCAL, self.ports.dns + 10 + index)

    def resolver(self, index: int) -> tuple[Listen, ...]:
        host = LOCAL if index == 0 or not self.many else f"127.0.54.{index}"
        shift = 0 if self.many else index * 3
        ports = {"dns": self.ports.dns, "https": self.ports.doh, "tls": self.ports.dot}
        return tuple(Listen(scheme, host, port + shift) for scheme, port in ports.items())

    def edge(self, index: int) -> tuple[Listen, ...]:
        host = f"127.0.1.{index + 1}" if self.many else LOCAL
        shift = 0 if self.many else index * 10
        return Listen("https", host, self.ports.https + shift), Listen("http", host, self.ports.http + shift)

    def inner(self, section: str, index: int) -> Listen:
        """Of a balancer, proxy or app."""
        few, many = _FIRST[section]
        number = index + 1
        port = self.ports.rest + (few if number <= _FEW else many) + number
        return Listen("https" if section == "proxies" else "http", LOCAL, port)

    def source(self, section: str, index: int, host: str) -> str:
        """Connecting from an address of its own tells the next hop who it is."""
        if not self.many:
            return ""
        own = {"edges": host, "balancers": f"127.0.2.{index + 1}", "proxies": f"127.0.3.{index + 1}"}
        return own.get(section, "")

    def admin(self, section: str, name: str, others: int) -> Listen:
        """`others`: how many entries of the section stand before it that have no number of their own."""
        number = _USUAL_ADMIN.get(name)
        return Listen("http", LOCAL, self.ports.rest + (_OTHER_ADMIN[section] + others if number is None else number))

    @staticmethod
    def has_own_admin(name: str) -> bool:
        return name in _USUAL_ADMIN
