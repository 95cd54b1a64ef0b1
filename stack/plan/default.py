"""The default stack as data: which hops there are, where each listens, and how each is told of the next."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.config import flags
from stack.config.listen import Listen, address
from stack.plan.model import HopPlan, Kinds, StackPlan

EDGES: Final = ("fra", "nrt")
HOSTS: Final = 3
NAME: Final = "shop.test"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a stack. With a base, all of them lie above it."""

    http: int = 8080
    https: int = 8443
    dns: int = 5053
    doh: int = 8053
    rest: int = 8100

    @classmethod
    def above(cls, base: int | None) -> Ports:
        if base is None:
            return cls()
        return cls(http=base + 80, https=base + 443, dns=base + 53, doh=base + 54, rest=base + 100)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Loopback addresses. Where only 127.0.0.1 exists, hops of one kind differ by their port instead."""

    many: bool = True

    def of(self, address: str) -> str:
        return address if self.many else "127.0.0.1"

    def shift(self, index: int) -> int:
        """Added to a port that every hop of a kind would share."""
        return 0 if self.many else index * 10

    def source(self, address: str) -> tuple[str, ...]:
        """Connecting from an address of its own tells the next hop who it is."""
        return ("--source", address) if self.many else ()


def default_plan(
    kinds: Kinds, state_dir: Path, *, port_base: int | None = None, many_addresses: bool = True, database_url: str = ""
) -> StackPlan:
    """Root, TLD, zone, resolver; two edges; a load balancer; three hosts, each a proxy and its app; the demo shop."""
    ports, places = Ports.above(port_base), Addresses(many_addresses)
    zones = kinds.part("dns_server", "zones").default_zones(
        NAME, edges=edges(places), servers=servers(places), https_port=ports.https
    )
    return StackPlan(NAME, tuple(_hops(kinds, state_dir, ports, places, database_url, tuple(zones.values()))))


def servers(places: Addresses) -> dict[str, str]:
    return {role: places.of(f"127.0.53.{number}") for number, role in enumerate(("root", "tld", "shop"), 1)}


def edges(places: Addresses) -> dict[str, str]:
    return {f"edge-{pop}": places.of(f"127.0.1.{number}") for number, pop in enumerate(EDGES, 1)}


def _hops(
    kinds: Kinds, state_dir: Path, ports: Ports, places: Addresses, database_url: str, texts: tuple[str, ...]
) -> Iterator[HopPlan]:
    count = 0

    def hop(
        name: str,
        kind: str,
        listen: tuple[Listen, ...],
        admin: Listen,
        args: tuple[str, ...],
        names: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
    ) -> HopPlan:
        argv = ["--name", name, "--admin", str(admin), *args]
        argv += [flag for item in listen for flag in ("--listen", str(item))]
        argv += [flag for item in names for flag in ("--server-names", item)]
        return HopPlan(kind, flags.parse(kind, kinds.config(kind), argv, {}), env or {}, files or {})

    def admin() -> Listen:
        nonlocal count
        count += 1
        return Listen("http", "127.0.0.1", ports.rest + 49 + count)

    zones = {"root": ".", "tld": NAME.rpartition(".")[2] + ".", "shop": NAME}
    zone_flags: dict[str, tuple[str, ...]] = {
        role: ("--zone", f"{zone}={state_dir / 'zones' / role}.zone") for role, zone in zones.items()
    }
    if not places.many:
        # a referral carries no port: the one server that the resolver can reach answers for all three
        zone_flags["root"] = (*zone_flags["root"], *zone_flags["tld"], *zone_flags["shop"])
    for number, (role, host) in enumerate(servers(places).items()):
        place = Listen("dns", host, ports.dns if places.many else ports.dns + 10 + number)
        files = {f"zones/{role}.zone": texts[number]}
        if not places.many and role == "root":
            files = {f"zones/{one}.zone": text for one, text in zip(zones, texts, strict=True)}
        yield hop(f"dns-{role}", "dns_server", (place,), admin(), zone_flags[role], files=files)
    authorities = ports.dns if places.many else ports.dns + 10
    yield hop(
        "resolver",
        "dns_server",
        (Listen("dns", "127.0.0.1", ports.dns), Listen("https", "127.0.0.1", ports.doh)),
        admin(),
        (
            "--resolver",
            *("--root", address(servers(places)["root"], authorities)),
            *("--port", str(authorities)),
        ),
        names=("localhost",),
    )
    balancer = Listen("http", "127.0.0.1", ports.rest + 1)
    for number, (name, host) in enumerate(edges(places).items()):
        yield hop(
            name,
            "cdn_edge",
            (
                Listen("https", host, ports.https + places.shift(number)),
                Listen("http", host, ports.http + places.shift(number)),
            ),
            admin(),
            ("--origin", str(balancer), *places.source(host)),
            names=(NAME, f"www.{NAME}", f"{name}.{NAME}", "localhost"),
        )
    proxies = {f"proxy-{number}": Listen("https", "127.0.0.1", ports.rest + 10 + number) for number in _hosts()}
    source = places.of("127.0.2.1")
    yield hop(
        "lb-a",
        "loadbalancer",
        (balancer,),
        admin(),
        (
            *(flag for name, place in proxies.items() for flag in ("--backend", f"{name}={place}")),
            *("--check", "http:/health", "--check-host", NAME),
            *places.source(source),
            *believed(*edges(places).values()),
        ),
    )
    apps = {f"app-{number}": Listen("http", "127.0.0.1", ports.rest + 20 + number) for number in _hosts()}
    static = static_directory()
    for number, ((name, place), (app, behind)) in enumerate(zip(proxies.items(), apps.items(), strict=True), 1):
        yield hop(
            name,
            "proxy",
            (place,),
            admin(),
            (
                *("--upstream", f"{app}={behind}"),
                *(("--static", str(static)) if static is not None else ()),
                *places.source(f"127.0.3.{number}"),
                *believed(source, *edges(places).values()),
            ),
            names=("localhost",),
        )
    for number, (name, place) in enumerate(apps.items(), 1):
        yield hop(
            name,
            "appserver",
            (place,),
            admin(),
            (
                *("--app", "appserver.shop:create_app", "--workers", "1"),
                *believed(places.of(f"127.0.3.{number}"), source, *edges(places).values()),
            ),
            env={"DATABASE_URL": database_url or f"sqlite:///{state_dir / 'shop.db'}"},
        )


def believed(*hosts: str) -> tuple[str, ...]:
    """Whom a hop believes: every hop before it, because the client is the nearest address that is none of them."""
    return tuple(flag for host in dict.fromkeys(hosts) for flag in ("--trusted", host))


def _hosts() -> range:
    return range(1, HOSTS + 1)


def static_directory() -> Path | None:
    """The shop's assets, found without importing the shop."""
    found = importlib.util.find_spec("appserver")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        static = Path(folder) / "shop" / "static"
        if static.is_dir():
            return static
    return None
