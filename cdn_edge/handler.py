"""The edge's part of the path: key, look up, and answer at once; else ask the origin, store, deliver (RFC 9111)."""

from __future__ import annotations

from collections.abc import Awaitable
from random import Random
from typing import Final

from cdn_edge.answers import HIT, MISS, Answers, NotCached, passed
from cdn_edge.asked import Asked
from cdn_edge.keeping import Keeper, close, recorded
from cdn_edge.origin import Fetched, Origin, Send
from cdn_edge.recording import Recording, Tee
from cdn_edge.rules import answering, asking, cache_status, validation
from cdn_edge.rules.asking import PLAIN, Asking
from cdn_edge.rules.invalidation import invalidated
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.key import key as key_of
from cdn_edge.rules.reuse import Failure, Reuse, decide, on_error
from cdn_edge.rules.storing import NotStored
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from stack.clock import Clock
from stack.errors import ClientGone, HopError, Side
from stack.http.conditional import Condition
from stack.http.message import Fields, Request, Response
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

_HIT_LABEL: Final = ("hit",)
_ORIGIN_FAILED: Final = frozenset({500, 502, 503, 504})  # RFC 5861 §4


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
    ) -> None:
        metrics = metrics or Metrics()
        self.store = store
        self._origin = Origin(fetch, name=name, upstream=upstream, clock=clock)
        self._policy = policy or Policy()
        self._keeper = Keeper(store, self._policy, metrics)
        self._answers = Answers(name, clock, random)
        self._member = self._answers.member
        self._clock = clock
        self._tasks = tasks
        self._name = name
        self._lookups = metrics.counter("hopstack_cache_lookups_total", "Requests by what lookup came to.", ("result",))
        self._counts = self._lookups.values
        self._counts[_HIT_LABEL] = 0

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        """A stored response that may be reused is answered at once; anything else is awaited."""
        key = key_of(request.scheme, request.authority, request.target)
        if request.method not in (b"GET", b"HEAD"):
            return self._pass(Asked(key, request, exchange, PLAIN, "method"), NotStored.METHOD)
        if request.body:
            refused = NotStored.CONTENT if request.upgrade is None else NotStored.TUNNEL
            return self._pass(Asked(key, request, exchange, PLAIN, "bypass"), refused)
        asked = asking.read(request.fields)
        stored, known = self.store.find(key, request.fields)
        if stored is None:
            why = "vary-miss" if known else "uri-miss"
        else:
            now = exchange.began
            if asked is PLAIN and now < stored.fresh_until:
                return self._fresh_hit(stored, exchange, now)
            reuse = decide(stored.terms, now - stored.born, asked)
            if reuse.answers and (answer := self._hit(stored, request, asked, exchange, reuse)) is not None:
                return answer
            why = "request" if reuse.answers else reuse.value
        if asked.cc.only_if_cached:
            self._looked_up(exchange, "only-if-cached")
            member = cache_status.unanswered(self._member, "only-if-cached")
            return self._answers.problem(request, exchange, NotCached(), member)
        return self._forward(Asked(key, request, exchange, asked, why, stored))

    def _fresh_hit(self, stored: Stored, exchange: Exchange, now: float) -> Response:
        """What most requests come to, so nothing is done here that can be done before."""
        self.store.used(stored)
        exchange.mark("lookup", "hit")
        self._counts[_HIT_LABEL] += 1
        if now >= stored.hit_until:
            self._answers.renew(stored, now)
        return Response(stored.status, [], stored.body, block=stored.hit)

    def _hit(
        self, stored: Stored, request: Request, asked: Asking, exchange: Exchange, reuse: Reuse
    ) -> Response | None:
        """From the store, nobody asked; None where the request has a condition that only the origin can judge."""
        now = exchange.began
        ttl = int(stored.fresh_until - now)
        member = self._answers.fresh % ttl if reuse is Reuse.HIT else cache_status.hit(self._member, ttl, reuse.value)
        added: Fields = [(b"age", b"%d" % (now - stored.born)), (b"cache-status", member), HIT]
        answer = self._answers.from_stored(stored, request, asked, added)
        if answer is None:
            return None
        self.store.used(stored)
        self._looked_up(exchange, reuse.value)
        if reuse is Reuse.WHILE_REVALIDATE and not stored.refreshing:
            stored.refreshing = True
            self._tasks.spawn(self._refresh(stored, request, exchange), name=f"{self._name}.refresh")
        return answer

    async def _forward(self, asked: Asked) -> Response:
        """To the origin, with the validators of what is stored, if anything is."""
        self._looked_up(asked.exchange, asked.why)
        recording = self.store.record(asked.key)
        try:
            if asked.stored is None:
                fetched = await self._origin.fetch(asked.request, asked.exchange, drop=asked.dropped)
                asked.exchange.mark("fetch", "fetched")
            else:
                fetched = await self._validate(asked, asked.stored)
            if fetched.validated:
                return self._validated(asked, fetched, recording)
            if fetched.response.status in _ORIGIN_FAILED and (
                stale := self._stale(asked, Failure.ANSWERED, fetched.response.status)
            ):
                recording.abandon()
                await close(fetched.response)
                return stale
            return await self._deliver(asked, fetched, recording)
        except HopError as error:
            recording.abandon()
            return self._failed(asked, error)
        except BaseException:
            recording.abandon()
            raise

    async def _validate(self, asked: Asked, stored: Stored) -> Fetched:
        """The origin's answer. After a 304 that speaks of something else than what is stored, without conditions."""
        conditions = validation.conditions(stored.block.fields, self._clock.time())
        fetched = await self._origin.fetch(asked.request, asked.exchange, drop=asked.dropped, add=conditions)
        if fetched.response.status == 304 and conditions:
            if validation.same_representation(stored.block.fields, fetched.response.fields):
                asked.exchange.mark("fetch", "revalidated")
                return fetched.as_validation()
            await close(fetched.response)
            fetched = await self._origin.fetch(asked.request, asked.exchange, drop=asked.dropped)
        asked.exchange.mark("fetch", "fetched")
        return fetched

    def _validated(self, asked: Asked, fetched: Fetched, recording: Recording) -> Response:
        """304: what is stored holds, its head is brought up to date (RFC 9111 §4.3.4), and it answers."""
        stored, ttl = self._keeper.freshen(asked, fetched, recording)
        member = cache_status.forwarded(self._member, asked.why, status=304, ttl=ttl)
        added: Fields = [
            (b"age", b"%d" % max(0, fetched.received - stored.born)),
            *[field for field in fetched.response.fields if field[0] == b"server-timing"],
            (b"cache-status", member),
            MISS,
        ]
        answer = self._answers.from_stored(stored, asked.request, asked.asking, added)
        return answering.failed(added) if answer is None else answer

    async def _deliver(self, asked: Asked, fetched: Fetched, recording: Recording) -> Response:
        """A full response: stored on its way, if it may be. The client's conditions are held against it."""
        response = fetched.response
        status = response.status
        condition = Condition.PROCEED
        if asked.asking.conditional and asked.dropped:
            condition = answering.condition(asked.request, status, response.fields, fetched.at)
        unread = condition is not Condition.PROCEED
        refused, ttl = self._keeper.keep(asked, fetched, recording, unread=unread)
        detail = "" if refused is None else refused.value
        member = cache_status.forwarded(
            self._member, asked.why, status=status, stored=refused is None, ttl=ttl, detail=detail
        )
        if not unread:
            return self._answers.stamped(response, member)
        if isinstance(response.body, Tee):
            self._tasks.spawn(self._keeper.fill(asked.key, response), name=f"{self._name}.fill")
        else:
            await close(response)
        added: Fields = [(b"cache-status", member), MISS]
        if condition is Condition.NOT_MODIFIED:
            return answering.not_modified(passed(response.fields), added)
        return answering.failed(added)

    def _failed(self, asked: Asked, error: HopError) -> Response:
        """What is stale, where that is allowed now; else what went wrong."""
        if isinstance(error, ClientGone):
            raise error
        if error.side is Side.UPSTREAM and (stale := self._stale(asked, Failure.UNREACHABLE)) is not None:
            asked.exchange.detail = error.private or error.detail
            return stale
        member = cache_status.unanswered(self._member, error.proxy_status)  # a loop, Max-Forwards
        if asked.exchange.attempts:
            asked.exchange.mark("fetch", "failed")
            member = cache_status.forwarded(self._member, asked.why, detail=error.proxy_status)
        return self._answers.problem(asked.request, asked.exchange, error, member)

    def _stale(self, asked: Asked, failure: Failure, status: int | None = None) -> Response | None:
        """The stale response rather than the origin's failure, where that is allowed. `status` is the origin's."""
        stored = asked.stored
        now = self._clock.now()
        if stored is None or asked.why != "stale":
            return None
        if not on_error(stored.terms, now - stored.born, asked.asking, failure, self._policy.stale_if_unreachable):
            return None
        ttl = int(stored.fresh_until - now)
        member = cache_status.forwarded(self._member, asked.why, status=status, ttl=ttl, detail=failure.value)
        added: Fields = [(b"age", b"%d" % (now - stored.born)), (b"cache-status", member), MISS]
        answer = self._answers.from_stored(stored, asked.request, asked.asking, added)
        if answer is not None:
            asked.exchange.mark("fetch", failure.value)
        return answer

    async def _pass(self, asked: Asked, refused: NotStored) -> Response:
        """What this cache never answers: on to the origin, and what it changes there is forgotten here."""
        self._looked_up(asked.exchange, asked.why)
        try:
            fetched = await self._origin.fetch(asked.request, asked.exchange)
        except HopError as error:
            return self._failed(asked, error)
        asked.exchange.mark("fetch", "fetched")
        response = fetched.response
        for key in invalidated(asked.request.method, asked.key, response.status, response.fields):
            self.store.invalidate(key)
        stored, ttl = self._keeper.keep_post(asked, fetched, refused)
        detail = "" if stored else refused.value
        member = cache_status.forwarded(
            self._member, asked.why, status=response.status, stored=stored, ttl=ttl, detail=detail
        )
        return self._answers.stamped(response, member)

    async def _refresh(self, stored: Stored, request: Request, exchange: Exchange) -> None:
        """RFC 5861 §3: one validation behind the client's back; the next request tries again if it fails."""
        try:
            await recorded(await self._forward(Asked.behind(stored, request, exchange)))
        finally:
            stored.refreshing = False

    def _looked_up(self, exchange: Exchange, word: str) -> None:
        exchange.mark("lookup", word)
        self._lookups.inc(word)
