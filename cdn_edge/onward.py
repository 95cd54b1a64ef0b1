"""What the store does not answer goes to the origin; what returns is stored, delivered, or replaced by what is stale.

RFC 9111 §4.3, §4.4, RFC 5861.
"""

from __future__ import annotations

from typing import Final

from cdn_edge.answers import BYPASS, MISS, REVALIDATED, STALE, Answers
from cdn_edge.asked import Asked
from cdn_edge.keeping import Keeper, close
from cdn_edge.lookups import Lookups
from cdn_edge.origin import Fetched, Origin
from cdn_edge.others import Others
from cdn_edge.parts import Parts
from cdn_edge.recording import Recording, Tee
from cdn_edge.refreshing import Refreshing
from cdn_edge.rules import answering, cache_status
from cdn_edge.rules.invalidation import invalidated
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.reuse import Failure, on_error
from cdn_edge.rules.storing import NotStored
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from cdn_edge.validating import Validating
from stack.clock import Clock
from stack.errors import ClientGone, HopError, Side
from stack.http.conditional import Condition
from stack.http.message import Fields, Response
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics

_ORIGIN_FAILED: Final = frozenset({500, 502, 503, 504})  # RFC 5861 §4


class Onward:
    """The way of one request to the origin and back."""

    def __init__(
        self,
        name: str,
        *,
        origin: Origin,
        store: Store,
        keeper: Keeper,
        answers: Answers,
        lookups: Lookups,
        policy: Policy,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
    ) -> None:
        self.others: Others | None = None
        self._name = name
        self._origin = origin
        self._validating = Validating(origin, store, clock)
        self._store = store
        self._keeper = keeper
        self._answers = answers
        self._member = answers.member
        self._lookups = lookups
        self._policy = policy
        self._clock = clock
        self._tasks = tasks
        self.refreshing = Refreshing(self.send, store=store, clock=clock, tasks=tasks, metrics=metrics, name=name)

    async def send(self, asked: Asked) -> Response:
        """To the origin, with the validators of what is stored, if anything is."""
        if asked.heard:
            self._lookups.mark(asked.exchange, asked.why)
            if asked.why == "stale" and (stale := self._known_unreachable(asked)) is not None:
                return stale
        if asked.why == "partial" and asked.stored is not None:
            answer = await self._completed(asked, asked.stored)
            if answer is not None:
                return answer
        recording = self._store.record(asked.key, self._policy.keying.changes)
        try:
            fetched = await self._validating.fetch(asked)
            if asked.stored is not None and fetched.response.status not in _ORIGIN_FAILED:
                self.refreshing.answered(asked.stored)
            if fetched.validated:
                return await self._validated(asked, fetched, recording)
            asked.outdated = recording.invalid
            if fetched.response.status in _ORIGIN_FAILED and (
                stale := self._stale(asked, Failure.ANSWERED, fetched.response.status)
            ):
                recording.abandon()
                await close(fetched.response)
                return stale
            return await self._deliver(asked, fetched, recording)
        except HopError as error:
            asked.outdated = recording.invalid
            recording.abandon()
            return self._failed(asked, error)
        except BaseException:
            recording.abandon()
            raise

    async def _completed(self, asked: Asked, stored: Stored) -> Response | None:
        """From what is held of it, and what is missing from the origin (RFC 9111 §3.4). None where that fails."""
        parts = stored.parts
        selected = self._answers.select(stored, asked.request, asked.asking)
        if parts is None or selected is None or self._answers.assembly is None:
            return None
        if not await self._answers.assembly.begin(asked, parts, selected):
            return None
        asked.exchange.upstream = self._origin.upstream
        asked.exchange.attempts += 1
        asked.exchange.mark("fetch", "fetched")
        stored = self._head(asked, parts) or stored
        now = self._clock.now()
        ttl = 0 if stored.terms.always_validate else int(stored.fresh_until - now)
        member = cache_status.forwarded(self._member, asked.why, status=206, ttl=ttl)
        added: Fields = [(b"age", b"%d" % max(0, now - stored.born)), (b"cache-status", member), MISS]
        return self._answers.from_stored(stored, asked, added, lacking=True)

    def _head(self, asked: Asked, parts: Parts) -> Stored | None:
        """With the fields of what was fetched last, also where it has become whole by that."""
        if parts.head is not None:
            return parts.head
        found, _ = self._store.find(asked.key, asked.request.fields)
        return found if found is not None and found.body is parts.whole else None

    async def _validated(self, asked: Asked, fetched: Fetched, recording: Recording) -> Response:
        """304: what is stored holds, its head is brought up to date (RFC 9111 §4.3.4), and it answers."""
        stored, ttl = self._keeper.freshen(asked, fetched, recording)
        member = cache_status.forwarded(self._member, asked.why, status=304, ttl=ttl)
        added: Fields = [
            (b"age", b"%d" % max(0, fetched.received - stored.born)),
            *[field for field in fetched.response.fields if field[0] == b"server-timing"],
            (b"cache-status", member),
            REVALIDATED,
        ]
        answer = self._answers.from_stored(stored, asked, added, lacking=not asked.heard)
        if answer is not None:
            return answer
        if stored.parts is None or self._answers.select(stored, asked.request, asked.asking) is None:
            return answering.failed(added)
        asked.stored = stored
        return await self._completed(asked, stored) or await self._afresh(asked)

    async def _afresh(self, asked: Asked) -> Response:
        """Without regard to what is stored, which could not be completed."""
        recording = self._store.record(asked.key, self._policy.keying.changes)
        try:
            fetched = await self._origin.fetch(asked.request, asked.exchange, drop=asked.dropped)
            asked.exchange.mark("fetch", "fetched")
            return await self._deliver(asked, fetched, recording)
        except BaseException:
            recording.abandon()
            raise

    async def _deliver(self, asked: Asked, fetched: Fetched, recording: Recording) -> Response:
        """A full response: stored on its way, if it may be. The client's conditions are held against it."""
        response = fetched.response
        status = response.status
        condition = Condition.PROCEED
        if asked.answers_conditions:
            condition = answering.condition(asked.request, status, response.fields, fetched.at)
        unread = condition is not Condition.PROCEED
        refused, ttl = self._keeper.keep(asked, fetched, recording, unread=unread)
        detail = fetched.note if refused is None else refused.value
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
            return answering.not_modified(self._answers.passed(response.fields), added)
        return answering.failed(added)

    def _failed(self, asked: Asked, error: HopError) -> Response:
        """What is stale, where that is allowed now; else what went wrong."""
        if isinstance(error, ClientGone):
            raise error
        if error.side is Side.UPSTREAM and (stale := self._stale(asked, Failure.UNREACHABLE)) is not None:
            asked.exchange.detail = error.private or error.detail
            assert asked.stored is not None
            self.refreshing.unreachable(asked.stored, self._clock.now() - asked.exchange.began)
            return stale
        member = cache_status.unanswered(self._member, error.proxy_status)  # a loop, Max-Forwards
        if asked.exchange.attempts:
            asked.exchange.mark("fetch", "failed")
            member = cache_status.forwarded(self._member, asked.why, detail=error.proxy_status)
        return self._answers.problem(asked.request, asked.exchange, error, member)

    def _known_unreachable(self, asked: Asked) -> Response | None:
        """At once, if somebody has just waited in vain for news of it: it is asked for behind the client's back."""
        stored = asked.stored
        if stored is None or not self.refreshing.silent(stored):
            return None
        stale = self._stale(asked, Failure.UNREACHABLE)
        if stale is not None:
            self.refreshing.start(stored, asked.request, asked.exchange)
        return stale

    def _stale(self, asked: Asked, failure: Failure, status: int | None = None) -> Response | None:
        """The stale response rather than the origin's failure, where that is allowed. `status` is the origin's."""
        stored = asked.stored
        now = self._clock.now()
        if stored is None or asked.why != "stale" or asked.outdated:
            return None
        if not on_error(stored.terms, now - stored.born, asked.asking, failure, self._policy.stale_if_unreachable):
            return None
        ttl = int(stored.fresh_until - now)
        if asked.exchange.attempts:
            member = cache_status.forwarded(self._member, asked.why, status=status, ttl=ttl, detail=failure.value)
        else:
            member = cache_status.hit(self._member, ttl, failure.value)
        added: Fields = [(b"age", b"%d" % (now - stored.born)), (b"cache-status", member), STALE]
        answer = self._answers.from_stored(stored, asked, added)
        if answer is not None:
            asked.exchange.mark("fetch", failure.value)
        return answer

    async def passing(self, asked: Asked, refused: NotStored) -> Response:
        """What this cache never answers: on to the origin, and what it changes there is forgotten here."""
        self._lookups.mark(asked.exchange, asked.why)
        posting = self._store.record(asked.key) if asked.request.method == b"POST" else None
        try:
            fetched = await self._origin.fetch(asked.request, asked.exchange)
        except HopError as error:
            return self._failed(asked, error)
        finally:
            if posting is not None:
                posting.abandon()
        overtaken = posting is not None and posting.invalid
        asked.exchange.mark("fetch", "fetched")
        response = fetched.response
        request, keying = asked.request, self._policy.keying
        exact = keying.exact(request.scheme, request.authority, request.target)
        changed = invalidated(request.method, exact, response.status, response.fields, keying)
        for key in (key for one in changed for key in keying.invalid(one)):
            self._store.invalidate(key, request.method)
        stored, ttl = self._keeper.keep_post(asked, fetched, refused, overtaken=overtaken)
        if changed and self.others is not None:  # behind what is stored of this: what changes it meanwhile is heard
            await self.others.invalidate(changed, request.method)
        detail = fetched.note if stored else refused.value
        member = cache_status.forwarded(
            self._member, asked.why, status=response.status, stored=stored, ttl=ttl, detail=detail
        )
        return self._answers.stamped(response, member, BYPASS)
