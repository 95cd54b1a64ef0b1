"""The load balancer's part of the path: choose a backend, send, and where that fails and may, send to the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from loadbalancer.backends import Backend, Backends
from loadbalancer.content import Watched
from loadbalancer.rules.blame import blame, word
from loadbalancer.rules.retry import BEFORE_SENDING, RETRIED_STATUS, NotRetried, after_answer, after_error
from stack.clock import Clock
from stack.errors import HopError, NoBackend, ResponseTimeout
from stack.http.forwarding import inbound
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward
from stack.telemetry.metrics import Metrics


class LoadBalancer:
    """A `Service`. `retries`: attempts after the first, each on another backend. `date`: now, as an HTTP date.

    `total`: seconds for all attempts of a request, to the head of a response.
    """

    def __init__(
        self,
        backends: Backends,
        *,
        name: str,
        retries: int,
        total: float,
        clock: Clock,
        metrics: Metrics,
        date: Callable[[], bytes],
    ) -> None:
        self._backends = backends
        self._outcomes = backends.outcomes
        self._pseudonym = name.encode("ascii")
        self._retries = retries
        self._total = total
        self._clock = clock
        self._date = date
        self._retried = metrics.counter(
            "hopstack_lb_retries_total", "Attempts after the first, by what the one before came to.", ("after",)
        )
        self._given_up = metrics.counter(
            "hopstack_lb_given_up_total", "Requests whose last attempt failed, by why it was the last.", ("reason",)
        )

    async def handle(self, request: Request, exchange: Exchange) -> Response:
        """Nothing goes down before this returns, so until then another backend may be tried."""
        out = onward(request, exchange, self._pseudonym)
        failure: Failure | None = None
        panic = False
        for backend in self._backends.preference():
            if failure is None:
                panic = not backend.takes
                exchange.mark("choose", "panic" if panic else "chosen")
            elif failure.is_last(backend, self._spent(exchange)):
                break
            else:
                self._retried.inc(failure.word)
            exchange.attempts += 1
            exchange.upstream = backend.name
            exchange.tried += (backend.name,)
            backend.in_flight += 1
            try:
                if failure is None:
                    response = await backend.pool.send(out, exchange)
                else:
                    response = await self._again(backend, out, exchange)
            except HopError as error:
                backend.in_flight -= 1
                failure = self._failed(backend, error, request, exchange, failure)
            except BaseException:  # the client has gone
                backend.in_flight -= 1
                await _discard(failure)
                raise
            else:
                if response.status not in RETRIED_STATUS:
                    exchange.mark("attempt", "answered")
                    if isinstance(response.body, bytes):
                        backend.in_flight -= 1
                        self._outcomes[backend.answered] += 1
                        if not backend.settled:
                            self._backends.answered(backend)
                    else:
                        response.body = Watched(response.body, partial(self._ended, backend, "answered", request))
                    if failure is not None:
                        await _discard(failure)
                    return inbound(response, pseudonym=self._pseudonym, date=self._date())
                await _discard(failure)
                failure = self._unable(backend, response, request, exchange)
            if failure.why is not None:
                break
        return self._give_up(failure, exchange, panic)

    def _spent(self, exchange: Exchange) -> NotRetried | None:
        if exchange.attempts > self._retries:
            return NotRetried.SPENT
        return NotRetried.TIME if self._clock.now() - exchange.began >= self._total else None

    async def _again(self, backend: Backend, out: Request, exchange: Exchange) -> Response:
        """A further attempt, in what is left of the time of all. Content that the client still sends takes its own."""
        if not isinstance(out.body, bytes):
            return await backend.pool.send(out, exchange)
        try:
            async with self._clock.timeout(exchange.began + self._total - self._clock.now()):
                return await backend.pool.send(out, exchange)
        except TimeoutError:
            raise ResponseTimeout(
                private=f"{backend.name}: no response {self._total:g} s after the first of {exchange.attempts} attempts"
            ) from None

    def _failed(
        self, backend: Backend, error: HopError, request: Request, exchange: Exchange, before: Failure | None
    ) -> Failure:
        """No answer. A real one that came earlier is kept: it tells the client more than our own error."""
        came_to = word(error)
        exchange.mark("attempt", came_to)
        self._backends.count(backend, came_to)
        streamed = _streamed(request)
        self._backends.failed(backend, blame(error, streamed=streamed), came_to)
        why = after_error(error, request.method, replayable=not streamed)
        if before is not None and before.answer is not None:
            before.word, before.why = came_to, why
            return before
        return Failure(came_to, why, backend, error=error)

    def _unable(self, backend: Backend, response: Response, request: Request, exchange: Exchange) -> Failure:
        """A 502, 503 or 504: kept until a better answer comes, and passed on if none does."""
        exchange.mark("attempt", "bad-status")
        replayable = not _streamed(request)
        if isinstance(response.body, bytes):
            self._ended(backend, "bad-status", request, None)
        else:
            response.body = Watched(response.body, partial(self._ended, backend, "bad-status", request))
        self._backends.doubtful(backend)
        return Failure("bad-status", after_answer(request.method, replayable=replayable), backend, answer=response)

    def _ended(self, backend: Backend, came_to: str, request: Request, error: HopError | None) -> None:
        """The last byte of an answer is there, or nobody reads on, or the backend cut it (`error`)."""
        backend.in_flight -= 1
        if error is None:
            self._backends.count(backend, came_to)
            self._backends.answered(backend)
        else:
            self._backends.count(backend, "failed")
            streamed = not isinstance(request.body, bytes)
            self._backends.failed(backend, blame(error, streamed=streamed), "cut")

    def _give_up(self, failure: Failure | None, exchange: Exchange, panic: bool) -> Response:
        if failure is None:
            exchange.mark("choose", "none")
            self._given_up.inc(NotRetried.NO_OTHER.value)
            raise NoBackend(private="no backend takes requests")
        self._given_up.inc((failure.why or NotRetried.NO_OTHER).value)
        if failure.answer is not None:
            exchange.upstream = failure.backend.name
            return inbound(failure.answer, pseudonym=self._pseudonym, date=self._date())
        assert failure.error is not None
        if panic and isinstance(failure.error, BEFORE_SENDING):
            # the checks were right: say what they say, not what the last desperate attempt met
            raise NoBackend(private=f"every backend is down; {failure.error.private}") from failure.error
        raise failure.error


class Failure:
    """The attempts so far: what the client gets if no other succeeds, and why there is no other (None: may be)."""

    __slots__ = ("answer", "backend", "error", "why", "word")

    def __init__(
        self,
        word: str,
        why: NotRetried | None,
        backend: Backend,
        *,
        answer: Response | None = None,
        error: HopError | None = None,
    ) -> None:
        self.word, self.why, self.backend = word, why, backend
        self.answer, self.error = answer, error

    def is_last(self, following: Backend, spent: NotRetried | None) -> bool:
        """Whether to stop before `following`: no more may be tried, or there is a real answer and that one is down."""
        if spent is not None:
            self.why = spent
        elif self.answer is not None and not following.takes:
            self.why = NotRetried.NO_OTHER
        return self.why is not None


def _streamed(request: Request) -> bool:
    """Whether content may have gone that is not kept. A tunnel's body is sent once the tunnel is open."""
    return not isinstance(request.body, bytes) and request.upgrade is None


async def _discard(failure: Failure | None) -> None:
    """An answer that is not passed on: closing it frees its connection, or ends it if there is more to come."""
    if failure is not None and failure.answer is not None and not isinstance(failure.answer.body, bytes):
        await failure.answer.body.aclose()
