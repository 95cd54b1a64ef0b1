"""The backends and what is known of them: who takes requests, whose turn it is, what became of attempts.

No I/O and no await: every change is made whole, and whoever asks next sees it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loadbalancer.rules.balance import Wheel, least_connections
from loadbalancer.rules.blame import Blame
from loadbalancer.rules.health import HEALTH, TAKES, CheckPolicy, Health, Sign, counted, verdict
from stack.clock import Clock, Handle
from stack.http.message import Request, Response
from stack.path import STEPS
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.loadbalancer")

ATTEMPTS: Final = STEPS["loadbalancer"]["attempt"]
EXPLAINED: Final = frozenset({"certificate", "tls", "dns"})
"""Words of a check whose detail stands in the backend's reason."""


class Sender(Protocol):
    """The part of a pool that a backend needs."""

    def send(self, request: Request, exchange: Exchange) -> Awaitable[Response]: ...


@dataclass(frozen=True, slots=True)
class BalanceOptions:
    """How backends are chosen and how traffic marks them. Seconds."""

    balance: str = "round-robin"
    checked: bool = True
    """Whether active checks run; without them only requests tell."""
    panic: bool = True
    passive_fall: int = 3
    passive_hold: float = 10.0


class Backend:
    """One backend. Changed by `Backends` only, except for `in_flight`, which the handler counts."""

    __slots__ = (
        "address", "answered", "check", "check_detail", "checked_at", "failures", "health", "in_flight", "name", "pool",
        "reason", "seen_up", "settled", "since", "streak", "takes", "weight",
    )  # fmt: skip

    def __init__(self, name: str, address: str, pool: Sender, *, weight: int = 1, now: float = 0.0) -> None:
        self.name = name
        self.address = address
        self.pool = pool
        self.weight = weight
        self.health = Health.UNKNOWN
        self.takes = True
        """Whether it is given new requests."""
        self.reason = "not checked yet"
        self.since = now
        self.seen_up = False
        self.streak = 0
        """Checks passed in a row, or failed in a row below zero."""
        self.failures = 0
        """Attempts failed in a row, as far as they count against it."""
        self.settled = False
        """An answer would change nothing: it is up, and nothing counts against it."""
        self.in_flight = 0
        self.answered = (name, "answered")
        """The key of its good attempts in `Backends.outcomes`."""
        self.checked_at: float | None = None
        self.check = ""
        self.check_detail = ""

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.health.value}>"


class Backends:
    """All of them. `suspected` is called when a check should look soon; the prober puts itself there."""

    def __init__(
        self,
        members: Sequence[Backend],
        options: BalanceOptions,
        policy: CheckPolicy,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.members = tuple(members)
        self.options = options
        self.policy = policy
        self.suspected: Callable[[Backend], object] = lambda backend: None
        self.started_at = clock.now()
        self._clock = clock
        self._by_load = options.balance == "least-connections"
        self._turn = 0
        self._holds: dict[str, Handle] = {}
        self._changes = metrics.counter(
            "hopstack_lb_state_changes_total", "Changes of a backend's state.", ("backend", "state")
        )
        self.outcomes = metrics.counter(
            "hopstack_lb_attempts_total", "Attempts by what they came to.", ("backend", "outcome")
        ).values
        self.outcomes.update({(backend.name, outcome): 0 for backend in self.members for outcome in ATTEMPTS})
        self._checks = metrics.counter(
            "hopstack_lb_checks_total", "Health checks by their result.", ("backend", "result")
        )
        metrics.gauge(
            "hopstack_lb_backend_up",
            "Whether a backend takes new requests.",
            ("backend",),
            lambda: (((backend.name,), float(backend.takes)) for backend in self.members),
        )
        metrics.gauge(
            "hopstack_lb_backend_in_flight",
            "Requests a backend has not answered in full.",
            ("backend",),
            lambda: (((backend.name,), float(backend.in_flight)) for backend in self.members),
        )
        self._all = [backend for backend in self.members if backend.weight > 0]
        self._all_wheel = Wheel([backend.weight for backend in self._all])
        self._lay_out()

    # Who is next.

    def preference(self) -> Iterator[Backend]:
        """Every backend that a request may go to, best first; failover is the next item.

        Computed as far as it is asked for: what has been learnt meanwhile counts. At the end stand the backends that
        are down (option `panic`): a check may be wrong, and an attempt costs less than a certain error.
        """
        turn = self._turn
        self._turn = turn + 1
        takers, wheel = self._takers, self._wheel
        tried: list[Backend] = []
        if takers:
            if self._by_load:
                order = least_connections(wheel.order(turn), [one.in_flight for one in takers], wheel.weights)
                yield takers[order[0]]
            else:
                yield takers[wheel.ring[turn % wheel.places]]
                order = wheel.order(turn)
            tried.append(takers[order[0]])
            for index in order[1:]:
                if takers[index].takes:
                    tried.append(takers[index])
                    yield takers[index]
        for index in self._all_wheel.order(turn):
            backend = self._all[index]
            if backend not in tried and (backend.takes or (self.options.panic and backend.health is Health.DOWN)):
                yield backend

    def _lay_out(self) -> None:
        self._takers = [backend for backend in self._all if backend.takes]
        self._wheel = Wheel([backend.weight for backend in self._takers])

    # What traffic says.

    def count(self, backend: Backend, outcome: str) -> None:
        self.outcomes[backend.name, outcome] += 1

    def answered(self, backend: Backend) -> None:
        """It answered, whatever the status. Only asked for a backend that is not `settled`."""
        backend.failures = 0
        if self.options.checked:
            backend.settled = backend.health is Health.UP
        else:
            self._sign(backend, Sign.ROSE, "traffic: answered")

    def failed(self, backend: Backend, blame: Blame, word: str) -> None:
        """An attempt failed. What counts against the backend may take it out, and has a check look at it soon."""
        if blame is Blame.NONE:
            return
        backend.failures += 1
        backend.settled = False
        if blame is Blame.DEAD or backend.failures >= self.options.passive_fall:
            backend.streak = min(backend.streak, 0)
            self._sign(backend, Sign.FELL, f"traffic: {word}")
        self.suspected(backend)

    def doubtful(self, backend: Backend) -> None:
        """It answered 502, 503 or 504: no proof against it, but worth a look."""
        if self.options.checked:
            self.suspected(backend)

    # What checks say.

    def checked(self, backend: Backend, passed: bool, word: str, detail: str = "") -> None:
        backend.checked_at = self._clock.now()
        backend.check, backend.check_detail = word, detail
        backend.streak = counted(backend.streak, passed)
        self._checks.inc(backend.name, "passed" if passed else "failed")
        sign = verdict(backend.health, backend.streak, self.policy, seen_up=backend.seen_up)
        if sign is not None:
            # a status and a refusal speak for themselves; which certificate or name is wrong does not
            self._sign(backend, sign, f"check: {word}: {detail}" if detail and word in EXPLAINED else f"check: {word}")

    # What an operator says.

    def drain(self, backend: Backend) -> None:
        """No new requests; those in flight finish."""
        self._sign(backend, Sign.DRAIN, "operator: drain")

    def ready(self, backend: Backend) -> None:
        """End of draining; the next check decides alone, and is made at once."""
        if backend.health is Health.DRAINING:
            backend.streak = backend.failures = 0
        self._sign(backend, Sign.READY, "operator: ready")
        self.suspected(backend)

    def _sign(self, backend: Backend, sign: Sign, reason: str) -> None:
        before, after = backend.health, HEALTH[backend.health][sign]
        if after is before:
            backend.settled = after is Health.UP and not backend.failures
            return
        backend.health, backend.reason, backend.since = after, reason, self._clock.now()
        backend.takes = after in TAKES
        if after is Health.UP:
            backend.seen_up = True
            backend.failures = 0
        backend.settled = after is Health.UP
        self._changes.inc(backend.name, after.value)
        if (hold := self._holds.pop(backend.name, None)) is not None:
            hold.cancel()
        if after is Health.DOWN and not self.options.checked:
            self._holds[backend.name] = self._clock.call_later(self.options.passive_hold, lambda: self._held(backend))
        log.log(
            logging.WARNING if after is Health.DOWN else logging.INFO,
            "backend %s is %s (%s), was %s",
            backend.name,
            after.value,
            reason,
            before.value,
        )
        self._lay_out()

    def _held(self, backend: Backend) -> None:
        # on trial: the first failure takes it out again, the first answer acquits it
        backend.failures = max(0, self.options.passive_fall - 1)
        self._sign(backend, Sign.HELD, f"out for {self.options.passive_hold:g} s, on trial")

    # For others to read.

    def named(self, name: str) -> Backend | None:
        return next((backend for backend in self.members if backend.name == name), None)

    def statistics(self) -> list[dict[str, Any]]:
        return [self.state_of(backend) for backend in self.members]

    def state_of(self, backend: Backend) -> dict[str, Any]:
        now = self._clock.now()
        last: dict[str, Any] | None = None
        if backend.checked_at is not None:
            last = {"result": backend.check, "ago_seconds": round(now - backend.checked_at, 3)}
            if backend.check_detail:
                last["detail"] = backend.check_detail
        return {
            "name": backend.name,
            "address": backend.address,
            "weight": backend.weight,
            "state": backend.health.value,
            "reason": backend.reason,
            "since_seconds": round(now - backend.since, 3),
            "in_flight": backend.in_flight,
            "attempts": {outcome: int(self.outcomes[backend.name, outcome]) for outcome in ATTEMPTS},
            "last_check": last,
        }

    def close(self) -> None:
        for hold in self._holds.values():
            hold.cancel()
        self._holds.clear()
