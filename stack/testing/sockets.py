"""Listening sockets of a stack in a test: free ports, and one port for all hops that share it by their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from stack.config.listen import Listen
from stack.errors import ConfigError
from stack.hop.hop import Bound
from stack.net.bind import bind
from stack.plan.model import HopPlan, StackPlan

_ATTEMPTS: Final = 50
_LOCAL: Final = "127.0.0.1"


class Sockets:
    """Bound sockets by the hop's name."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[Bound]] = {}
        self.addresses: dict[str, list[Listen]] = {}
        """Of every hop, one for each listener. They outlive the sockets."""

    def bind(self, plan: StackPlan) -> None:
        """A free port for every listener. Hops that an A record tells apart get the same one, as it names no port."""
        shared: dict[tuple[str, str], list[tuple[str, Listen]]] = {}
        for hop in plan.hops:
            self.by_name[hop.name] = []
            self.addresses[hop.name] = []
            for listen in hop.listen:
                group = (hop.kind if _is_named(hop) else hop.name, listen.scheme)
                shared.setdefault(group, []).append((hop.name, listen))
        for members in shared.values():
            if len({_host(listen) for _, listen in members}) == len(members):
                self._bind_together(members)
            else:
                for member in members:
                    self._bind_together([member])

    def rebind(self, name: str) -> None:
        """The same addresses again, for a hop that comes back."""
        self.by_name[name] = [
            Bound(listen.scheme, sock, listen.query)
            for listen in self.addresses[name]
            for sock in bind(listen, option="the stack")
        ]

    def close(self, names: Iterable[str] | None = None) -> None:
        for name in self.by_name if names is None else names:
            for one in self.by_name[name]:
                one.socket.close()

    def _bind_together(self, members: Sequence[tuple[str, Listen]]) -> None:
        for attempt in range(_ATTEMPTS):
            port = 0
            found: list[tuple[str, Listen, list[Bound]]] = []
            try:
                for name, listen in members:
                    made = bind(Listen(listen.scheme, _host(listen), port), option="the stack")
                    port = made[0].getsockname()[1]
                    place = Listen(listen.scheme, _host(listen), port, query=listen.query)
                    found.append((name, place, [Bound(listen.scheme, one, listen.query) for one in made]))
            except ConfigError:
                # the port is free on one address and taken on another
                for _, _, bound in found:
                    for one in bound:
                        one.socket.close()
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            for name, place, bound in found:
                self.by_name[name] += bound
                self.addresses[name].append(place)
            return


def _is_named(hop: HopPlan) -> bool:
    return hop.kind == "cdn_edge" or (hop.kind == "dns_server" and not getattr(hop.config, "resolver", False))


def _host(listen: Listen) -> str:
    """On loopback, whatever the file says: a test is nobody else's business."""
    return listen.host if listen.host.startswith("127.") else _LOCAL
