"""Faults on what a resolver asks other servers: what it sees of them is what it would see of real ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dns_server.hindrance import asked_name
from dns_server.rules import alter, types
from dns_server.rules.reply import Reply
from dns_server.upstreams import Ask, NoReply
from stack.config.listen import address as shown
from stack.errors import ConfigError
from stack.faults.active import Active, Question
from stack.net.dns_client import Address

if TYPE_CHECKING:
    from dns_server.resolver import Resolver
    from stack.faults.registry import Faults


def server_names(texts: Iterable[str]) -> dict[str, str]:
    """Name by `HOST` or `HOST:PORT`, of options as `dns-tld=127.0.53.2:5053`. Raises ConfigError."""
    found: dict[str, str] = {}
    for text in texts:
        name, mark, place = text.partition("=")
        host, port = _split(place)
        try:
            if not mark or not name or (port and not 0 < int(port) < 65536):
                raise ValueError
            host = str(ipaddress.ip_address(host))
        except ValueError:
            raise ConfigError(f"--server {text}: wanted NAME=ADDRESS[:PORT], as dns-tld=127.0.53.2:5053") from None
        found[shown(host, int(port)) if port else host] = name
    return found


def _split(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = place.partition(":") if place.count(":") == 1 else (place, "", "")
    return host, port


class HinderedAsking:
    """An `Asking` of the registry: an `Ask` in place of the resolver's own while there are faults.

    `names`: of servers by `HOST` or `HOST:PORT`.
    """

    def __init__(self, faults: Faults, resolver: Resolver, asks: Ask, names: Mapping[str, str]) -> None:
        self._faults, self._resolver, self._asks, self._names = faults, resolver, asks, names
        self._actives: Sequence[Active] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._names.values()))

    def use(self, actives: Sequence[Active]) -> None:
        self._actives = actives
        ask: Ask = self if actives else self._asks
        self._resolver.ask = ask

    async def __call__(
        self, address: Address, name: bytes, type: int, *, timeout: float, stream: bool = False
    ) -> Reply:
        place = shown(*address)
        called = {place, address[0], self._names.get(place) or self._names.get(address[0]) or place}
        there = [one for one in self._actives if any(one.fault.is_link(self._faults.name, end) for end in called)]
        hits = self._faults.met(there, Question(asked_name(name.lower()), types.type_name(type)))
        if not hits:
            return await self._asks(address, name, type, timeout=timeout, stream=stream)
        return await self._hindered(hits, address, name, type, timeout)

    async def _hindered(
        self, hits: Sequence[Active], address: Address, name: bytes, type: int, timeout: float
    ) -> Reply:
        injected: list[tuple[str, str]] = []
        try:
            for active in hits:
                if active.fault.latency is not None:
                    delay = active.delay()
                    self._note(active, "latency", injected)
                    await self._faults.wait(min(delay, timeout))
                    if delay >= timeout:
                        raise NoReply("timeout")
            reply = await self._instead(hits, address, name, type, timeout, injected)
        except NoReply as error:
            error.injected = tuple(injected)
            raise
        reply.injected = tuple(injected)
        return reply

    async def _instead(
        self, hits: Sequence[Active], address: Address, name: bytes, type: int, timeout: float,
        injected: list[tuple[str, str]],
    ) -> Reply:  # fmt: skip
        stream = False
        for active in hits:
            fault = active.fault
            if fault.drop:
                self._note(active, "drop", injected)
                await self._faults.swallow(active, timeout)
                raise NoReply("timeout")
            if fault.refused:
                self._note(active, "refused", injected)
                raise NoReply("unreachable")
            if fault.rcode:
                self._note(active, "rcode", injected)
                reply = Reply(0, types.RCODE_NUMBERS[fault.rcode], name, type)
                reply.authoritative = fault.rcode in ("NOERROR", "NXDOMAIN", "YXDOMAIN")
                return reply
            if fault.lame:
                self._note(active, "lame", injected)
                reply = Reply(0, 0, name, type)
                reply.authority = [rrset for _, rrset in alter.lame().authority]
                return reply
            if fault.truncate is not None:
                self._note(active, "truncate", injected)
                stream = True
        reply = await self._asks(address, name, type, timeout=timeout, stream=stream)
        for active in hits:
            if active.fault.wrong_address:
                changed = alter.readdressed(reply.answer, active.fault.wrong_address)
                if changed is not None:
                    self._note(active, "wrong-address", injected)
                    reply.answer = changed
        return reply

    def _note(self, active: Active, kind: str, injected: list[tuple[str, str]]) -> None:
        self._faults.note(active, None, kind)
        injected.append((active.fault.name, kind))
