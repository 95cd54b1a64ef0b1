"""Where a fault can act in one process: on its links, on what it serves, and for the app behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from stack.faults.spec import CLIENT, Fault

_BEYOND: Final = frozenset({"proxy"})
"""Kinds whose next hop is an app, any program: a fault on that hop acts here, on the link to it."""
PASSIVE: Final = frozenset({"appserver"})
"""Kinds that inject nothing themselves: the hop before does it for them."""


def concerns(fault: Fault, name: str, kind: str) -> bool:
    """Whether it may act in a process of this name and kind, whatever its next hops are called."""
    if kind in PASSIVE:
        return False
    if not fault.source:
        return kind in _BEYOND or fault.is_hop(name)
    return fnmatchcase(name, fault.source) or fault.is_link(CLIENT, name)


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
        found = [f"{self.name}>{target}" for target in self.links if self.on_link(fault, target)]
        if self.from_client(fault):
            found.append(f"{CLIENT}>{self.name}")
        if self.serving(fault):
            found.append(self.name)
        return found

    def known(self) -> Iterator[str]:
        """All that a fault here can be on."""
        for target in self.links:
            yield f"{self.name}>{target}"
        if self.kind not in PASSIVE:
            yield f"{CLIENT}>{self.name}"
            yield self.name
        if self.kind in _BEYOND:
            yield from self.links
