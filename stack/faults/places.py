"""Where a fault can act in one process: on its links, on what it serves, and for the app behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from stack.faults.spec import CLIENT, Fault, is_address

_BEYOND: Final = frozenset({"proxy"})
"""Kinds whose next hop is an app, any program: a fault on that hop acts here, on the link to it."""
PASSIVE: Final = frozenset({"appserver"})
"""Kinds that inject nothing themselves: the hop before does it for them."""
DNS: Final = "dns_server"
"""The kind whose faults are on queries."""


def concerns(fault: Fault, name: str, kind: str) -> bool:
    """Whether it may act in a process of this name and kind, whatever its next hops are called."""
    if kind in PASSIVE:
        return False
    if fault.unfit(dns=kind == DNS, link=False) and fault.unfit(dns=kind == DNS, link=True):
        return False
    if not fault.begin:
        return kind in _BEYOND or fault.is_hop(name)
    return fnmatchcase(name, fault.begin) or fault.is_link(CLIENT, name)


@dataclass(frozen=True, slots=True)
class Standing:
    """A process in the path. `links` are the names of its next hops."""

    name: str
    kind: str
    links: tuple[str, ...] = ()

    def on_link(self, fault: Fault, target: str) -> bool:
        return fault.is_link(self.name, target) or (self.kind in _BEYOND and fault.is_hop(target))

    def from_client(self, fault: Fault) -> bool:
        return self.kind not in PASSIVE and fault.is_link(CLIENT, self.name)

    def serving(self, fault: Fault) -> bool:
        return self.kind not in PASSIVE and fault.is_hop(self.name)

    def places(self, fault: Fault) -> list[str]:
        """Where it acts here: `lb-a>proxy-2`, `client>edge-fra`, `proxy-2`."""
        dns = self.kind == DNS
        found = [] if fault.unfit(dns=dns, link=True) else self._links_of(fault)
        if not fault.unfit(dns=dns, link=False):
            found += self._served_of(fault)
        return found

    def refusal(self, fault: Fault) -> str:
        """Why it does not act where it is put, in this process; empty if it acts, or is put elsewhere."""
        dns = self.kind == DNS
        if self.places(fault):
            return ""
        for place, link in ((self._links_of(fault), True), (self._served_of(fault), False)):
            if place and (reason := fault.unfit(dns=dns, link=link)):
                return f"{place[0]}: {reason}"
        return ""

    def _links_of(self, fault: Fault) -> list[str]:
        found = [f"{self.name}>{target}" for target in self.links if self.on_link(fault, target)]
        if not found and self.asks(fault) and is_address(fault.target):
            found.append(f"{self.name}>{fault.target}")  # referrals lead a resolver to servers that nobody named before
        return found

    def _served_of(self, fault: Fault) -> list[str]:
        found = [f"{CLIENT}>{self.name}"] if self.from_client(fault) else []
        return [*found, self.name] if self.serving(fault) else found

    def asks(self, fault: Fault) -> bool:
        """Whether it is on what a resolver asks others."""
        return self.kind == DNS and bool(self.links) and fault.begin != CLIENT and fnmatchcase(self.name, fault.begin)

    def known(self) -> Iterator[str]:
        """All that a fault here can be on."""
        for target in self.links:
            yield f"{self.name}>{target}"
        if self.kind not in PASSIVE:
            yield f"{CLIENT}>{self.name}"
            yield self.name
        if self.kind in _BEYOND:
            yield from self.links
