"""The edge's part of the path: key, look up, and answer at once; else ask the origin, store, deliver (RFC 9111)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from cdn_edge import lookups
from cdn_edge.answers import HIT, STALE, Answers, NotCached
from cdn_edge.asked import Asked
from cdn_edge.assembling import Assembly
from cdn_edge.departures import Departures
from cdn_edge.explaining import Explaining
from cdn_edge.keeping import Keeper
from cdn_edge.lookups import Lookups
from cdn_edge.onward import Onward
from cdn_edge.origin import Origin, Send
from cdn_edge.others import Others
from cdn_edge.refusals import Refusals
from cdn_edge.rules import asking, cache_status
from cdn_edge.rules.asking import PLAIN, Asking
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.reuse import Reuse, decide
from cdn_edge.rules.storing import NotStored
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from stack.clock import Clock
from stack.http.message import Fields, Request, Response
from stack.net.short import Found
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from cdn_edge.disk import Disk
    from cdn_edge.disk_tier import Brought


class Edge:
    """A `Service`: a shared cache in front of one origin. `fetch` is the pool's `send`, or a scripted origin's."""

    def __init__(
        self,
        *,
        fetch: Send,
        store: Store,
        clock: Clock,
        tasks: Tasks,
        random: Random,
        metrics: Metrics | None = None,
        policy: Policy | None = None,
        name: str = "edge",
        upstream: str = "origin",
        disk: Disk | None = None,
    ) -> None:
        metrics = metrics or Metrics()
        self.store = store
        policy = policy or Policy()
        self._clock = clock
        self.refusals = Refusals(targets=policy.targets.names)
        self._keying = policy.keying
        self._read = policy.read
        origin = Origin(fetch, name=name, upstream=upstream, clock=clock, policy=policy)
        keeper = Keeper(store, policy, metrics, self.refusals)
        self._disk = None if disk is None else disk.tier
        assembly = Assembly(
            origin=origin,
            store=store,
            keeper=keeper,
            size=policy.slice,
            tasks=tasks,
            name=name,
            disk=None if self._disk is None else self._disk.pieces,
        )
        self._answers = Answers(name, clock, random, store.renewed, assembly, hidden=policy.targets.hidden)
        self._member = self._answers.member
        self._lookups = Lookups(metrics)
        self._counts = self._lookups.counts
        store.departures = Departures(clock)
        self.explaining = Explaining(
            name,
            store=store,
            refusals=self.refusals,
            policy=policy,
            clock=clock,
            disk=self._disk,
            assembly=assembly,
        )
        self._onward = (Onward if disk is None else disk.onward)(
            name,
            origin=origin,
            store=store,
            keeper=keeper,
            answers=self._answers,
            lookups=self._lookups,
            policy=policy,
            clock=clock,
            tasks=tasks,
            metrics=metrics,
        )
        self.explaining.silent = self._onward.refreshing.silent

    def tell(self, others: Others) -> None:
        """What an unsafe request changes is forgotten there, too, before it is answered."""
        self._onward.others = others

    said = asking.TOLD
    """Names of fields that `at_once` does not look at."""

    def handle(
        self, request: Request, exchange: Exchange, brought: Brought | None = None
    ) -> Response | Awaitable[Response]:
        """A stored response that may be reused is answered at once; anything else is awaited.

        `brought`: the disk has been asked, and this is what came.
        """
        key = self._keying.of(request.scheme, request.authority, request.target)
        if request.method not in (b"GET", b"HEAD"):
            return self._onward.passing(Asked(key, request, exchange, PLAIN, "method"), NotStored.METHOD)
        if request.body:
            refused = NotStored.CONTENT if request.upgrade is None else NotStored.TUNNEL
            return self._onward.passing(Asked(key, request, exchange, PLAIN, "bypass"), refused)
        asked = self._read(request.fields)
        stored, known = self.store.find(key, request.fields)
        now = exchange.began if brought is None else self._clock.now()  # the disk may have taken its time
        if stored is None:
            if brought is not None:
                stored = brought.stored  # it may not have been let into memory
            elif self._disk is not None and self._disk.knows(key):
                return self._from_disk(key, request, exchange)
        elif asked is PLAIN and now < stored.at_once_until:
            return self._fresh_hit(stored, exchange, now)
        if stored is None:
            why = "vary-miss" if known else "uri-miss"
        else:
            reuse = decide(stored.terms, now - stored.born, asked)
            why = reuse.value
            if reuse.answers:
                from_disk = brought is not None and brought.stored is stored
                answer = self._hit(stored, request, asked, exchange, reuse, now, from_disk=from_disk)
                if answer is not None:
                    return answer
                why = "request" if stored.parts is None else "partial"
        if asked.cc.only_if_cached:
            self._lookups.mark(exchange, "only-if-cached")
            member = cache_status.unanswered(self._member, "only-if-cached")
            return self._answers.problem(request, exchange, NotCached(), member)
        return self._onward.send(Asked(key, request, exchange, asked, why, stored))

    def at_once(
        self, scheme: bytes, authority: bytes, target: bytes, now: float, fields: Callable[[], Fields]
    ) -> Found | None:
        """What is fresh, for a GET that says nothing to caches: see `stack.net.short`."""
        stored = self.store.find_plain(self._keying.of(scheme, authority, target), fields)
        if stored is None or now >= stored.at_once_until or stored.status != 200 or not stored.dated:
            return None
        body = stored.body
        if stored.length != b"%d" % len(body):
            return None
        self.store.used(stored)
        self._counts[lookups.HIT] += 1
        return stored.head, self._answers.lines(stored, now), body

    async def _from_disk(self, key: bytes, request: Request, exchange: Exchange) -> Response:
        assert self._disk is not None
        brought = await self._disk.bring(key, request.fields, exchange)
        answer = self.handle(request, exchange, brought)
        if brought.stored is not None:  # the next one may have it without more ado
            brought.stored.at_once_until = brought.at_once_until
        return answer if isinstance(answer, Response) else await answer

    def _fresh_hit(self, stored: Stored, exchange: Exchange, now: float) -> Response:
        """What most requests come to, so nothing is done here that can be done before."""
        self.store.used(stored)
        exchange.mark("lookup", "hit")
        self._counts[lookups.HIT] += 1
        if now >= stored.hit_until:
            self._answers.renew(stored, now)
        return Response(stored.status, [], stored.body, block=stored.hit)

    def _hit(
        self,
        stored: Stored,
        request: Request,
        asked: Asking,
        exchange: Exchange,
        reuse: Reuse,
        now: float,
        *,
        from_disk: bool = False,
    ) -> Response | None:
        """From the store, nobody asked; None where the request has a condition that only the origin can judge."""
        ttl = int(stored.fresh_until - now)
        said = HIT if reuse is Reuse.HIT else STALE
        if reuse is Reuse.HIT and not from_disk:
            member = self._answers.fresh % ttl
        else:
            member = cache_status.hit(self._member, ttl, "disk" if reuse is Reuse.HIT else reuse.value)
        added: Fields = [(b"age", b"%d" % max(0, now - stored.born)), (b"cache-status", member), said]
        whole = Asked(stored.key, request, exchange, asked, reuse.value, stored)
        answer = self._answers.from_stored(stored, whole, added)
        if answer is None:
            return None
        self.store.used(stored)
        self._lookups.mark(exchange, reuse.value)
        if reuse is Reuse.WHILE_REVALIDATE:
            self._onward.refreshing.start(stored, request, exchange)
        return answer
