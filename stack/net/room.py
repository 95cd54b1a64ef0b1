"""How many client connections there are: in all, and of each address."""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, cast

from stack.clock import Clock
from stack.config.base import Limits
from stack.http.trust import Trust
from stack.net.quiet import Quiet

if TYPE_CHECKING:
    from stack.net.context import Connection

log = logging.getLogger("hopstack.server")

PREFIX: Final = 64
"""Bits of an IPv6 address that count: what lies behind is one client's own choice (RFC 4291 §2.5.1)."""


class Room:
    """Counts who is in. A connection counts from when it is accepted, its TLS handshake included."""

    def __init__(self, limits: Limits, trust: Trust, clock: Clock) -> None:
        self._most = limits.connections
        self._most_of_one = limits.connections_per_address
        self._trust = trust
        self._now = clock.now
        self.taken = 0
        self.refused = 0
        """Connections closed at once because their address had its share."""
        self._quiet = Quiet()
        self._by_address: dict[str, int] = {}
        """Only with a limit, and only while there are any: no more entries than connections."""
        self._when_free: list[Callable[[], object]] = []

    @property
    def full(self) -> bool:
        return self.taken >= self._most

    def admits(self, address: str) -> bool:
        """Whether one more of that address may come in. Trusted peers speak for many clients and have no share."""
        if not self._most_of_one or self._trust.believes(address):
            return True
        if self._by_address.get(_group(address), 0) < self._most_of_one:
            return True
        self.refused += 1
        self._tell(address)
        return False

    def enter(self, address: str) -> None:
        self.taken += 1
        if self._most_of_one and not self._trust.believes(address):
            group = _group(address)
            self._by_address[group] = self._by_address.get(group, 0) + 1

    def leave(self, address: str) -> None:
        self.taken -= 1
        if self._most_of_one and not self._trust.believes(address):
            group = _group(address)
            left = self._by_address.get(group, 0) - 1
            if left > 0:
                self._by_address[group] = left
            else:
                self._by_address.pop(group, None)
        if self._when_free and not self.full:
            waiting, self._when_free = self._when_free, []
            for resume in waiting:
                resume()

    def when_free(self, resume: Callable[[], object]) -> None:
        """Call it once, when there is room again."""
        self._when_free.append(resume)

    def _tell(self, address: str) -> None:
        if count := self._quiet.due(self._now()):
            more = f", {count} refused since the last such line" if count > 1 else ""
            log.warning(
                "refused a connection: %s has %d, limits.connections_per_address%s", address, self._most_of_one, more
            )


class Connections(set["Connection"]):
    """The open connections of one server; each has its place in `room`."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room

    def add(self, connection: Connection, /) -> None:
        if connection not in self:
            super().add(connection)
            self._room.enter(connection.peer.address)

    def discard(self, connection: object, /) -> None:
        if connection in self:
            known = cast("Connection", connection)
            super().discard(known)
            self._room.leave(known.peer.address)


def _group(address: str) -> str:
    """What counts as one address: all of IPv4, the network of IPv6."""
    if ":" not in address or "." in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if not isinstance(parsed, IPv6Address) else str(int(parsed) >> (128 - PREFIX))
