"""The listening sockets of a stack, by where they listen: who comes after on the same address gets the same socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from stack.config.listen import Listen
from stack.errors import ConfigError
from stack.net.bind import bind
from stack.plan.model import HopPlan

OPTION: Final = "--port-base"
"""What moves a whole stack to other ports, for the remedy."""

Place = tuple[str, str, str, int]
"""Whose (where the system chooses the port), family of protocols, host and port."""


class Serving(NamedTuple):
    """A socket, and what a hop does on it: a scheme, or `admin`, and what its listen says behind `?`."""

    role: str
    query: str
    socket: socket.socket


class Sockets:
    """Bound once, kept over every change of the hop behind them, closed when no hop of the plan listens there."""

    def __init__(self) -> None:
        self._held: dict[Place, list[socket.socket]] = {}

    def bind(self, hops: Iterable[HopPlan]) -> list[Place]:
        """Whatever these hops need and is not held yet, which is returned. ConfigError: nothing has changed."""
        fresh: list[Place] = []
        claimed: dict[Place, str] = {}
        try:
            for hop in hops:
                for place, _, listen in _places(hop):
                    if place in claimed:
                        raise ConfigError(f"{hop.name} and {claimed[place]} both listen on {listen}: move one of them")
                    claimed[place] = hop.name
                    if place not in self._held:
                        self._held[place] = bind(listen, option=OPTION)
                        fresh.append(place)
        except ConfigError:
            self.close(fresh)
            raise
        return fresh

    def of(self, hop: HopPlan) -> list[Serving]:
        """Those that are held: none any more of a stack that stops."""
        return [
            Serving(role, listen.query, one)
            for place, role, listen in _places(hop)
            for one in self._held.get(place, ())
        ]

    def close(self, places: Iterable[Place]) -> None:
        for place in list(places):
            for one in self._held.pop(place, ()):
                with contextlib.suppress(OSError):
                    one.close()

    def close_of(self, hop: HopPlan) -> None:
        """Nobody will accept there any more: who comes is refused, and does not wait."""
        self.close(place for place, _, _ in _places(hop))

    def keep(self, hops: Iterable[HopPlan]) -> None:
        """Close those on which none of these hops listens."""
        wanted = {place for hop in hops for place, _, _ in _places(hop)}
        self.close([place for place in self._held if place not in wanted])


def _places(hop: HopPlan) -> Iterator[tuple[Place, str, Listen]]:
    roles = [(item.scheme, item) for item in hop.listen]
    if hop.admin is not None:
        roles.append(("admin", hop.admin))
    for number, (role, item) in enumerate(roles):
        # `dns` is a pair of sockets; all other schemes are one that accepts, whatever is spoken on it
        family = "dns" if role == "dns" else "stream"
        yield (f"{hop.name}/{number}" if item.port == 0 else "", family, item.host, item.port), role, item
