"""The client's resolver library: asks the stack's own resolver over UDP, and remembers by TTL (RFC 1035 §7)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from stack.clock import Clock, SystemClock
from stack.net.dns_client import Address, ask_tcp, ask_udp

_A, _OPT, _EDE = 1, 41, 15
_WITHIN = 30.0
"""Seconds of the machine's time for one question; the call that asks has a deadline of its own."""
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


class NoSuchHost(ConnectionError):
    """The name has no address, or nobody could say."""


@dataclass(frozen=True, slots=True)
class Found:
    addresses: tuple[str, ...]
    cached: bool
    ms: float


class Lookup:
    """One client's cache of names: `clock` ages it."""

    def __init__(self, resolver: Address, clock: Clock, random: Random) -> None:
        self._resolver = resolver
        self._clock, self._random = clock, random
        self._machine = SystemClock()
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._turn = asyncio.Lock()

    async def addresses(self, name: str) -> Found:
        """NoSuchHost when there are none."""
        if (found := self._remembered(name)) is not None:
            return found
        async with self._turn:  # of many requests at once the first one asks
            if (found := self._remembered(name)) is not None:
                return found
            began = self._machine.now()
            ttl, addresses = await self._ask(name)
            self._known[name] = (self._clock.now() + ttl, addresses)
            return Found(addresses, False, (self._machine.now() - began) * 1000)

    def _remembered(self, name: str) -> Found | None:
        known = self._known.get(name)
        return Found(known[1], True, 0.0) if known is not None and self._clock.now() < known[0] else None

    def forget(self) -> None:
        self._known.clear()

    async def _ask(self, name: str) -> tuple[float, tuple[str, ...]]:
        mark = self._random.randrange(1 << 16)
        question = _question(mark, name)

        def ours(message: bytes) -> bool:
            return len(message) >= 12 and message[:2] == question[:2] and bool(message[2] & 0x80)

        place = f"{self._resolver[0]}:{self._resolver[1]}"
        try:
            answer = await ask_udp(self._resolver, question, accept=ours, clock=self._machine, timeout=_WITHIN)
            if answer[2] & 0x02:  # TC: more than fits a datagram
                answer = await ask_tcp(self._resolver, question, accept=ours, clock=self._machine, timeout=_WITHIN)
        except (OSError, EOFError) as error:
            raise NoSuchHost(f"{name}: the resolver at {place} does not answer: {str(error) or 'time-out'}") from None
        try:
            rcode, found = _answers(answer)
        except (IndexError, struct.error):
            raise NoSuchHost(f"{name}: the resolver at {place} answered what is no DNS message") from None
        if rcode or not found:
            said = _RCODES.get(rcode, str(rcode)) if rcode else "no address"
            why = f" ({reason})" if rcode and (reason := _reason(answer)) else ""
            raise NoSuchHost(f"{name}: the resolver at {place} says {said}{why}")
        return min(ttl for ttl, _ in found), tuple(address for _, address in found)


@contextlib.contextmanager
def resolving(site: str, resolver: Address) -> Iterator[None]:
    """Within it every client in this process finds `site` and what is below it, by asking `resolver`.

    It stands in for `socket.getaddrinfo`, which requests, httpx, urllib and aiohttp ask. Other names go the usual way.
    """
    plain = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and f".{name.lower().rstrip('.')}".endswith(f".{site}"):
            host = _ask_blocking(resolver, name)[0]
        return plain(host, port, *rest, **named)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = plain


def _ask_blocking(resolver: Address, name: str) -> tuple[str, ...]:
    """socket.gaierror, as from the system's resolver, when there is no address."""
    question = _question(0, name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(_WITHIN)
        asked.connect(resolver)
        asked.send(question)
        try:
            rcode, found = _answers(asked.recv(65_535))
        except OSError:
            raise socket.gaierror(socket.EAI_AGAIN, f"{name}: the stack's resolver does not answer") from None
    if rcode or not found:
        raise socket.gaierror(socket.EAI_NONAME, f"{name}: the stack's resolver knows no address")
    return tuple(address for _, address in found)


def _question(mark: int, name: str) -> bytes:
    """RFC 1035 §4.1: one question for A, recursion desired; with EDNS, or nobody would say why it failed. NoSuchHost
    for what is no name."""
    try:
        labels = [label.encode("ascii" if label.isascii() else "idna") for label in name.rstrip(".").split(".")]
    except UnicodeError:
        labels = [b""]
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise NoSuchHost(f"{name!r} is no host name")
    wire = b"".join(bytes([len(label)]) + label for label in labels)
    head = struct.pack("!HHHHHH", mark, 0x0100, 1, 0, 0, 1)
    return head + wire + b"\0" + struct.pack("!HH", _A, 1) + b"\0" + struct.pack("!HHIH", _OPT, 1232, 0, 0)


def _answers(message: bytes) -> tuple[int, list[tuple[int, str]]]:
    """The rcode, and (TTL, address) of every A record, CNAMEs passed over."""
    _, flags, questions, answers = struct.unpack_from("!HHHH", message)
    at = 12
    for _ in range(questions):
        at = _past_name(message, at) + 4
    found = []
    for _ in range(answers):
        at = _past_name(message, at)
        kind, _, ttl, size = struct.unpack_from("!HHIH", message, at)
        at += 10
        if kind == _A and size == 4:
            found.append((ttl, ".".join(map(str, message[at : at + 4]))))
        at += size
    return flags & 0x0F, found


def _reason(message: bytes) -> str:
    """The text of an extended error (RFC 8914 §2), if there is one: an injected fault is told there."""
    try:
        _, _, questions, *counts = struct.unpack_from("!HHHHHH", message)
        at = 12
        for _ in range(questions):
            at = _past_name(message, at) + 4
        for _ in range(sum(counts)):
            at = _past_name(message, at)
            kind, _, _, size = struct.unpack_from("!HHIH", message, at)
            at += 10
            end = at + size
            while kind == _OPT and at + 4 <= end:
                code, length = struct.unpack_from("!HH", message, at)
                if code == _EDE:
                    return message[at + 6 : at + 4 + length].decode("utf-8", "replace")
                at += 4 + length
            at = end
    except (IndexError, struct.error):
        pass
    return ""


def _past_name(message: bytes, at: int) -> int:
    while (size := message[at]) != 0:
        if size & 0xC0:
            return at + 2
        at += size + 1
    return at + 1
