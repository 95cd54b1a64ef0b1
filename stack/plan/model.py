"""A stack as data: which processes there are, and the whole configuration of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stack.config import listen
from stack.config.base import HopOptions
from stack.config.listen import Listen, address
from stack.errors import Problem
from stack.plan.sources import Source


class Kinds(Protocol):
    """What a plan needs of the kinds of hops; the module `stack.hop.registry` is one."""

    def config(self, kind: str) -> type[HopOptions]: ...

    def part(self, kind: str, module: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class HopPlan:
    """One process. `config` is whole: name, addresses, and each next hop by its address."""

    kind: str
    config: HopOptions
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of the process besides."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text by path below the state directory: written before the process starts. Zones of DNS servers."""

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def listen(self) -> tuple[Listen, ...]:
        return tuple(listen.parse(text, usual=listen.usual(self.kind)) for text in self.config.listen)

    @property
    def admin(self) -> Listen | None:
        return listen.parse(self.config.admin, option="--admin") if self.config.admin else None

    @property
    def tls(self) -> bool:
        return any(item.scheme == "https" for item in self.listen)

    @property
    def server_names(self) -> tuple[str, ...]:
        """DNS names of its certificate, if the local CA issues it."""
        return getattr(self.config, "server_names", ())

    def addresses(self) -> dict[str, str]:
        """`host:port` by scheme: of its first listener, if there is one of those that ask for no client certificate."""
        found: dict[str, str] = {}
        for item in sorted(self.listen, key=lambda item: "client_ca=" in item.query):
            found.setdefault(item.scheme, address(item.host, item.port))
        return found

    def urls(self) -> list[str]:
        """All that it listens on."""
        return [f"{item.scheme}://{address(item.host, item.port)}" for item in self.listen]

    @property
    def own_certificate(self) -> str:
        """The file of the first certificate that is not the local CA's; empty when that issues it."""
        return next(iter(getattr(self.config, "cert", ())), "") if self.tls else ""


@dataclass(frozen=True, slots=True)
class StackPlan:
    """A whole stack."""

    name: str
    """The site's name: shop.test."""
    hops: tuple[HopPlan, ...]
    """In the order of the path: DNS, edges, balancers, proxies, apps."""
    sources: Mapping[str, Mapping[tuple[str, ...], Source]] = field(default_factory=dict, compare=False)
    """By hop and option's path: who said a value. One that is not here is the option's default."""
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    """What works, and will surprise."""
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Top-level keys that flags said, but for the database's, which may hold a password."""

    def hop(self, name: str) -> HopPlan:
        return next(hop for hop in self.hops if hop.name == name)

    def of(self, kind: str) -> tuple[HopPlan, ...]:
        return tuple(hop for hop in self.hops if hop.kind == kind)
