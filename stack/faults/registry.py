"""The faults of one process: which there are, where each acts, how long somebody still waits for one."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stack.clock import Clock
from stack.errors import ConfigError, HopError
from stack.faults.active import Active, Question
from stack.faults.link import Link
from stack.faults.places import DNS, PASSIVE, Standing
from stack.faults.serving import Hindrance
from stack.faults.spec import Fault, parse, show
from stack.http.message import Request
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Counter, Metrics

if TYPE_CHECKING:
    from stack.net.context import Context
    from stack.net.pool import Pool

log = logging.getLogger("hopstack.faults")

E = TypeVar("E", bound=HopError)


class Asked(Protocol):
    """What answers queries."""

    def use(self, actives: Sequence[Active]) -> None: ...


class Asking(Protocol):
    """What asks other DNS servers. `targets` are those with a name."""

    @property
    def targets(self) -> tuple[str, ...]: ...

    def use(self, actives: Sequence[Active]) -> None: ...


class Faults:
    """Off until something is added: then pools and the server's service get a hindrance, and lose it at the end.

    A fault `A>B` acts in process A on its pool to B. `client>B`, and a fault on the hop B, act in process B on what
    it serves; on an app they act in the proxy before it, which knows it by name.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.name = self.kind = ""
        self._active: dict[str, Active] = {}
        self._links: list[Link] = []
        self._serving: Hindrance | None = None
        self._asked: Asked | None = None
        self._asking: Asking | None = None
        self._injected: Counter | None = None
        self._waits: dict[int, float] = {}
        self._swallowed: dict[str, set[asyncio.Future[None]]] = {}
        self._numbers = itertools.count()
        self._stopping = False

    # What a process is made of.

    def serve(
        self, name: str, kind: str, context: Context, *, metrics: Metrics, configured: Iterable[str] = ()
    ) -> None:
        """The hop itself, once its context is there. `configured` is the option `fault`; ConfigError names it."""
        self.name, self.kind = name, kind
        self._serving = None if kind in PASSIVE or kind == DNS else Hindrance(self, context)
        self._injected = metrics.counter(
            "hopstack_faults_injected_total", "Requests that met an injected fault, by what it did.", ("fault", "kind")
        )
        for text in configured:
            try:
                fault = parse(text)
            except ConfigError as error:
                raise ConfigError(f"--fault {text!r}: {error}") from None
            if fault.name in self._active:
                raise ConfigError(f"--fault {text!r}: another is called {fault.name} too; tell them apart by name=NAME")
            self._active[fault.name] = Active(fault, now=self.clock.now(), configured=True)
        # one file tells all hops of all faults: what is for others is only checked here
        self._active = {name: active for name, active in self._active.items() if self.places(active.fault)}
        for active in self._active.values():
            log.info("fault %s: on at %s", active.fault.name, ", ".join(self.places(active.fault)))
        self._apply()

    def join(self, pool: Pool, *, checks: bool) -> None:
        """A next hop. Its name is the right end of the link."""
        self._links.append(Link(self, pool, checks=checks))
        self._apply()

    def join_dns(self, asked: Asked, asking: Asking | None) -> None:
        """What a DNS server answers with, and what it asks others with if it does."""
        self._asked, self._asking = asked, asking

    @property
    def links(self) -> tuple[str, ...]:
        """Names of the next hops."""
        asking = () if self._asking is None else self._asking.targets
        return tuple(dict.fromkeys((*(link.target for link in self._links), *asking)))

    # What is asked of it.

    def add(self, fault: Fault) -> bool:
        """At once, for requests on kept-alive connections too. Whether one of that name gave way to it."""
        replaced = self._drop(fault.name)
        self._active[fault.name] = Active(fault, now=self.clock.now())
        self._apply()
        return replaced

    def remove(self, name: str) -> bool:
        """Whether it was there. Requests that it swallowed are let go, as failures."""
        found = self._drop(name)
        self._apply()
        return found

    def clear(self) -> int:
        """How many there were."""
        names = list(self._active)
        for name in names:
            self._drop(name)
        self._apply()
        return len(names)

    @property
    def standing(self) -> Standing:
        return Standing(self.name, self.kind, self.links)

    def let_go(self) -> None:
        """The hop is to stop: what a black hole holds ends now, and what it is still to get ends at once."""
        self._stopping = True
        for name in list(self._swallowed):
            self._release(name)

    def places(self, fault: Fault) -> list[str]:
        """Where it acts in this process: `lb-a>proxy-2`, `client>edge-fra`, `proxy-2`."""
        return self.standing.places(fault)

    def described(self) -> dict[str, Any]:
        """For `/-/faults`: this hop, its next hops, and each fault with its counts."""
        self._forget_the_past()
        now = self.clock.now()
        return {
            "name": self.name,
            "kind": self.kind,
            "links": list(self.links),
            "faults": [
                {**active.described(now), "here": self.places(active.fault)} for active in self._active.values()
            ],
        }

    def waiting(self) -> float | None:
        """Monotonic seconds of the earliest end of what now waits by injection; None while nothing does."""
        return min(self._waits.values(), default=None)

    def __len__(self) -> int:
        return len(self._active)

    # What its links and its server do.

    def hit(self, actives: Sequence[Active], request: Request | None, *, check: bool = False) -> list[Active]:
        """Those that this request meets."""
        now = self.clock.now()
        if any(now >= active.ends for active in actives):
            self._forget_the_past()
        return [active for active in actives if active.hit(request, now, check=check)]

    def met(self, actives: Sequence[Active], question: Question) -> list[Active]:
        """Those that this query meets."""
        now = self.clock.now()
        if any(now >= active.ends for active in actives):
            self._forget_the_past()
        return [active for active in actives if active.asked(question, now)]

    async def wait(self, seconds: float) -> None:
        number = next(self._numbers)
        self._waits[number] = self.clock.now() + seconds
        try:
            await self.clock.sleep(seconds)
        finally:
            del self._waits[number]

    async def swallow(self, active: Active, seconds: float | None) -> None:
        """Returns when the fault has gone, by its own time too, or after `seconds`; at once when the hop is to stop."""
        if self._stopping or self._active.get(active.fault.name) is not active:  # gone while something else was awaited
            return
        left = max(0.0, active.ends - self.clock.now())
        seconds = left if seconds is None else min(seconds, left)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held = self._swallowed.setdefault(active.fault.name, set())
        held.add(gone)
        number = next(self._numbers)
        endless = seconds == float("inf")
        if not endless:
            self._waits[number] = self.clock.now() + seconds
        try:
            async with self.clock.timeout(None if endless else seconds):
                await gone
        except TimeoutError:
            pass
        finally:
            held.discard(gone)
            self._waits.pop(number, None)

    def note(self, active: Active, exchange: Exchange | None, kind: str) -> None:
        """It did `kind` to this exchange: for the log, Server-Timing and metrics."""
        name = active.fault.name
        if self._injected is not None:
            self._injected.inc(name, kind)
        if exchange is not None:
            exchange.mark("fault", kind)
            if name not in exchange.faults:
                exchange.faults += (name,)

    def error(self, kind: type[E], active: Active, place: str, what: str) -> E:
        """What the real thing would raise, marked as injected."""
        name = active.fault.name
        error = kind(f"injected: {name}", private=f"{place}: {what}, injected: {name} ({show(active.fault)})")
        error.injected = name
        return error

    # Within.

    def _drop(self, name: str) -> bool:
        self._release(name)
        return self._active.pop(name, None) is not None

    def _release(self, name: str) -> None:
        for future in self._swallowed.pop(name, ()):
            if not future.done():
                future.set_result(None)

    def _forget_the_past(self) -> None:
        now = self.clock.now()
        if past := [name for name, active in self._active.items() if now >= active.ends]:
            for name in past:
                self._drop(name)
            self._apply()

    def _apply(self) -> None:
        """Hand each place its faults; one without gets its plain way back."""
        actives, standing = list(self._active.values()), self.standing
        for link in self._links:
            link.use([active for active in actives if standing.on_link(active.fault, link.target)])
        if self._serving is not None:
            self._serving.use(
                [active for active in actives if standing.serving(active.fault)],
                [active for active in actives if standing.from_client(active.fault)],
            )

        if self._asked is not None:
            served = (active for active in actives if not active.fault.unfit(dns=True, link=False))
            self._asked.use([one for one in served if standing.serving(one.fault) or standing.from_client(one.fault)])
        if self._asking is not None:
            asks = [active for active in actives if standing.asks(active.fault)]
            self._asking.use([active for active in asks if not active.fault.unfit(dns=True, link=True)])

    def on_link_named(self, target: str) -> list[Active]:
        standing = self.standing
        return [active for active in self._active.values() if standing.on_link(active.fault, target)]
