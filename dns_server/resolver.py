"""The resolver: from the cache by TTL, else by walking from the root down (RFC 1034 §5.3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dns_server.cache import Cache, Delegation, Entry
from dns_server.config import WalkOptions
from dns_server.flights import Flights
from dns_server.rules import edns, errors, types
from dns_server.rules.edns import ExtendedError
from dns_server.rules.names import ROOT, is_at_or_below, parent, to_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer, RRset
from dns_server.rules.walk import Found, Missing, Referral, Step, Useless, addresses, read_step
from dns_server.upstreams import Ask, NoReply
from stack.clock import Clock
from stack.net.dns_client import Address
from stack.net.tasks import Tasks

SLOW = 10.0
"""Seconds for which a server that did not answer is asked after all others."""
MAX_SLOW = 1000
"""Servers of which that is remembered."""


class Failed(Exception):
    """The walk came to no answer; the message says why, `code` in the terms of RFC 8914."""

    def __init__(self, text: str, code: int = edns.OTHER) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Budget:
    """What one client's question may still cost, whatever zones it leads to (NXNSAttack, RFC 9520 §2)."""

    queries: int
    trail: list[str] = field(default_factory=list)
    """Who was asked, and what each said."""
    injected: list[tuple[str, str]] = field(default_factory=list)
    """Faults that were met on the way, as (name, what it did)."""

    def spend(self) -> None:
        if self.queries <= 0:
            raise Failed("too many queries")
        self.queries -= 1


@dataclass(frozen=True, slots=True)
class Walk:
    """The answer to a question that has to be walked for. Nothing is begun before it is awaited, so a listener that
    has no room may drop it."""

    resolver: Resolver
    query: Query

    def __await__(self) -> Generator[Any, None, Answer]:
        return self.resolver.resolve(self.query.name, self.query.key, self.query.type).__await__()


class Resolver:
    """A role of `handler.Handler`."""

    recursion = True

    def __init__(
        self,
        *,
        roots: Iterable[Address],
        port: int,
        allow: Callable[[str], bool],
        options: WalkOptions,
        cache: Cache,
        ask: Ask,
        clock: Clock,
        random: Random,
        tasks: Tasks,
    ) -> None:
        hints = {b"\x04root\x05hints\0": tuple(roots)}
        self._roots = Delegation(ROOT, tuple(hints), hints, float("inf"))
        self._port = port
        self.allows: Callable[[str], bool] | None = allow
        self._options = options
        self.cache = cache
        self.ask = ask
        self._clock = clock
        self._random = random
        self._flights = Flights(options.concurrent, clock=clock, tasks=tasks)
        self._slow: dict[Address, float] = {}
        self.walked: Callable[[str, float], object] | None = None
        """Told of each walk that ends: its word, and the seconds that it took."""
        self.walks = 0
        self.failures = 0
        self._epoch: tuple[int, int] = (0, 0)

    def epoch(self) -> object:
        """TTLs count down by whole seconds: a finished response holds for the rest of one."""
        epoch = (int(self._clock.now()), self.cache.generation)
        if epoch != self._epoch:
            self._epoch = epoch
        return self._epoch

    def answer(self, query: Query) -> Answer | Awaitable[Answer]:
        """From the cache at once; an awaitable where it has to walk."""
        if query.cls != types.IN:
            return errors.answer(types.REFUSED, errors.CLASS)
        if query.type in (types.AXFR, types.IXFR, types.RRSIG):
            return errors.answer(types.REFUSED, errors.TYPE)
        if query.type == types.ANY:
            # RFC 8482 §4.2: a made-up HINFO, so that nobody takes it for all there is
            answer = Answer("answered")
            answer.answer.append((query.name, RRset(query.name, 13, 3600, (b"\x07RFC8482\0",))))
            return answer
        known = self._from_cache(query.name, query.key, query.type)
        if known is not None:
            known.marks = (("cache", "hit"),)
            return known
        if not query.recursion_desired:
            # what we do not know we say nothing about: no way down is given from a cache
            answer = errors.answer(types.REFUSED, errors.NO_RECURSION)
            answer.marks = (("cache", "miss"),)
            return answer
        return Walk(self, query)

    def _from_cache(self, name: bytes, key: bytes, type: int) -> Answer | None:
        """The whole answer out of the cache, along its aliases; None when any of it is missing."""
        answer = Answer("answered")
        now = self._clock.now()
        for _ in range(self._options.links + 1):
            entry = self.cache.get(key, type)
            alias = None
            if entry is None:
                alias = self.cache.get(key, types.CNAME)
                if alias is None or alias.data is None:
                    return None
                entry = alias
            _add(answer, name, entry, now)
            if alias is None or alias.data is None:
                return answer
            name = alias.data.rdatas[0]
            key = name.lower()
        return errors.answer(types.SERVFAIL, errors.ALIASES)

    async def resolve(self, name: bytes, key: bytes, type: int) -> Answer:
        """Walk, together with everybody who asks the same at the moment."""
        flight = self._flights.board((key, type), lambda: self._fly(key, type))
        if flight is None:
            return _unfinished()
        try:
            # shielded: a client that leaves does not take the answer from the others
            found = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():
                return _unfinished()
            raise
        answer = Answer(found.word, found.rcode, explained=found.explained)
        # the first owner takes the letter case of this question (RFC 4343 §4.1)
        answer.answer = [(name if owner.lower() == key else owner, rrset) for owner, rrset in found.answer]
        answer.authority, answer.marks, answer.walk = found.authority, found.marks, found.walk
        answer.faults = found.faults
        return answer

    async def _fly(self, key: bytes, type: int) -> Answer:
        budget = Budget(self._options.queries)
        began = self._clock.now()
        self.walks += 1
        word = "walked"
        try:
            async with self._clock.timeout(self._options.total):
                answer = await self._lookup(key, type, budget, depth=0)
        except (Failed, TimeoutError) as error:
            self.failures += 1
            self.cache.keep_failure(key, type)
            if not isinstance(error, Failed):
                error = Failed("out of time", edns.NO_REACHABLE_AUTHORITY)
            budget.trail.append(str(error))
            answer, word = errors.answer(types.SERVFAIL, ExtendedError(error.code, str(error))), "failed"
        answer.marks = (("cache", "miss"), *(("fault", kind) for _, kind in budget.injected), ("walk", word))
        answer.faults = tuple(dict.fromkeys(name for name, _ in budget.injected))
        if answer.faults:
            answer.explained = ExtendedError(edns.OTHER, f"injected: {', '.join(answer.faults)}")
        answer.walk = tuple(budget.trail)
        if self.walked is not None:
            self.walked(word, self._clock.now() - began)
        return answer

    async def _lookup(self, key: bytes, type: int, budget: Budget, *, depth: int) -> Answer:
        """Resolve along the aliases. What the cache knows is not asked again. Raises Failed."""
        answer = Answer("answered")
        name = key
        seen = {key}
        while len(seen) <= self._options.links + 1:
            entry = self.cache.get(key, type) or self.cache.get(key, types.CNAME)
            if entry is not None:
                if entry.rcode == types.SERVFAIL:
                    raise Failed(errors.FAILED_BEFORE.text, edns.CACHED_ERROR)
                if not _is_alias(entry, type):
                    _add(answer, name, entry, self._clock.now())
                    return answer
                _add(answer, name, entry, self._clock.now())
                assert entry.data is not None
                name = entry.data.rdatas[0]
            else:
                step = await self._walk(key, type, budget, depth)
                for link in step.links:
                    self.cache.keep(link)
                    answer.answer.append((link.owner, link))
                    seen.add(link.owner.lower())
                    key = link.rdatas[0].lower()
                if isinstance(step, Missing):
                    self.cache.keep_absence(key, type, step)
                    _set_absent(answer, step.rcode, step.soa)
                    return answer
                if step.data is not None:
                    self.cache.keep(step.data)
                    answer.answer.append((step.data.owner, step.data))
                    return answer
                name = step.target
            key = name.lower()
            if key in seen:
                raise Failed("the aliases form a loop")
            seen.add(key)
        raise Failed("too many aliases")

    async def _walk(self, key: bytes, type: int, budget: Budget, depth: int) -> Found | Missing:
        """Down from the deepest zone whose servers are known. Every referral leads further down, so it ends."""
        # DS is the parent's to answer (RFC 4035 §3.1.4.1)
        delegation = self.cache.nearest_delegation(parent(key) if type == types.DS else key) or self._roots
        while True:
            step = await self._ask_servers(delegation, key, type, budget, depth)
            if not isinstance(step, Referral):
                return step
            delegation = self.cache.keep_referral(step, self._port)

    async def _ask_servers(
        self, zone: Delegation, key: bytes, type: int, budget: Budget, depth: int
    ) -> Found | Missing | Referral:
        """The first of a zone's servers that has something to say. Those that did not reply get a second chance."""
        silent: list[Address] = []
        async for address in self._addresses(zone, budget, depth):
            step = await self._ask_server(address, zone, key, type, budget)
            if not isinstance(step, Useless):
                return step
            if step.reason == "timeout":
                silent.append(address)
        for address in silent:
            step = await self._ask_server(address, zone, key, type, budget)
            if not isinstance(step, Useless):
                return step
        self.cache.forget_delegation(zone.zone)  # it may be what is wrong: the next question walks anew
        raise Failed(f"no server of {to_text(zone.zone)} answered", edns.NO_REACHABLE_AUTHORITY)

    async def _ask_server(self, address: Address, zone: Delegation, key: bytes, type: int, budget: Budget) -> Step:
        budget.spend()
        step: Step
        injected: tuple[tuple[str, str], ...]
        try:
            reply = await self.ask(address, key, type, timeout=self._options.attempt)
            step = read_step(reply, zone=zone.zone, key=key, type=type)
            injected = reply.injected
        except NoReply as error:
            step = Useless(str(error))
            injected = error.injected
            self._avoid(address)
        else:
            self._slow.pop(address, None)
        told = f" (injected: {', '.join(dict.fromkeys(name for name, _ in injected))})" if injected else ""
        budget.injected += injected
        budget.trail.append(f"{address[0]}:{address[1]} {to_text(zone.zone)} {_word(step)}{told}")
        return step

    def _avoid(self, address: Address) -> None:
        """Ask it after all others for a while. What was noted longest ago goes, past its time or one too many."""
        now = self._clock.now()
        self._slow.pop(address, None)
        self._slow[address] = now + SLOW
        while len(self._slow) > MAX_SLOW or self._slow[next(iter(self._slow))] <= now:
            del self._slow[next(iter(self._slow))]

    async def _addresses(self, zone: Delegation, budget: Budget, depth: int) -> AsyncIterator[Address]:
        """Those known, in random order with the slow ones last; then those that have to be looked up."""
        known: list[Address] = []
        unknown: list[bytes] = []
        for server in zone.servers:
            if (glue := zone.glue.get(server)) is not None:
                known += glue
            elif (entry := self.cache.get(server, types.A)) is not None:
                if entry.data is not None:
                    known += [(address, self._port) for address in addresses(entry.data)]
            elif not is_at_or_below(server, zone.zone):  # below it, only glue could have told
                unknown.append(server)
        now = self._clock.now()
        self._random.shuffle(known)
        known.sort(key=lambda address: self._slow.get(address, 0.0) > now)
        for address in known:
            yield address
        if depth >= self._options.depth:
            return
        # a referral may name hundreds, all in somebody else's zone: NXNSAttack (Afek et al. 2020, §6)
        self._random.shuffle(unknown)
        for server in unknown[: self._options.glueless]:
            try:
                found = await self._lookup(server, types.A, budget, depth=depth + 1)
            except Failed as error:
                budget.trail.append(f"{to_text(server)} {error}")
                continue
            for _, rrset in found.answer:
                if rrset.type == types.A:
                    for host in addresses(rrset):
                        yield host, self._port

    def statistics(self) -> dict[str, int]:
        return {
            "walks": self.walks,
            "failures": self.failures,
            "in_flight": len(self._flights),
            "slow_servers": len(self._slow),
            "displaced": self._flights.displaced,
            "refused": self._flights.refused,
        }


def _is_alias(entry: Entry, type: int) -> bool:
    return entry.data is not None and entry.data.type == types.CNAME and type != types.CNAME


def _add(answer: Answer, name: bytes, entry: Entry, now: float) -> None:
    """What the cache knows of `name`, with the TTL that is left."""
    rrset = entry.aged(now)
    if entry.data is not None and rrset is not None:
        answer.answer.append((name, rrset))
    else:
        _set_absent(answer, entry.rcode, rrset)


def _set_absent(answer: Answer, rcode: int, soa: RRset | None) -> None:
    answer.rcode = rcode
    answer.word = _ABSENT[rcode]
    if rcode == types.SERVFAIL:
        answer.explained = errors.FAILED_BEFORE
    if soa is not None:
        answer.authority.append((soa.owner, soa))


_ABSENT = {types.NOERROR: "nodata", types.NXDOMAIN: "nxdomain", types.SERVFAIL: "servfail"}


def _unfinished() -> Answer:
    answer = errors.answer(types.SERVFAIL, errors.BUSY)
    answer.marks = _FAILED
    return answer


_FAILED = (("cache", "miss"), ("walk", "failed"))


def _word(step: Step) -> str:
    match step:
        case Found(data=None):
            return "alias"
        case Found():
            return "answered"
        case Missing():
            return _ABSENT[step.rcode]
        case Referral():
            return f"referral {to_text(step.zone)}"
        case Useless():
            return step.reason
