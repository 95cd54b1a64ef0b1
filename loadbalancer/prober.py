"""Active checks: one task a backend looks at it again and again, sooner while something is in doubt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from random import Random
from typing import Final

from loadbalancer.backends import Backend, Backends
from loadbalancer.probes import Probe, Result, word
from loadbalancer.rules.health import pause
from stack.clock import Clock, Handle
from stack.errors import HopError
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.loadbalancer")

SPREAD: Final = 0.1
"""Each pause is up to this part longer or shorter, lest many balancers look in the same moment."""


class Prober:
    """Checks every backend that has a probe. `timeout` in seconds bounds one look as a whole."""

    def __init__(
        self,
        backends: Backends,
        probes: Mapping[str, Probe],
        *,
        timeout: float,
        clock: Clock,
        random: Random,
        tasks: Tasks,
    ) -> None:
        self._backends = backends
        self._probes = dict(probes)
        self._timeout = timeout
        self._clock, self._random, self._tasks = clock, random, tasks
        self._alarms = {name: _Alarm(clock) for name in self._probes}
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._backends.suspected = self.hurry
        for backend in self._backends.members:
            if (probe := self._probes.get(backend.name)) is not None:
                self._running.append(self._tasks.spawn(self._watch(backend, probe), name=f"check.{backend.name}"))

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    def hurry(self, backend: Backend) -> None:
        """Look at it as soon as may be: at once, but no oftener than the fast pace."""
        if (alarm := self._alarms.get(backend.name)) is not None:
            rest = self._backends.policy.fast
            if backend.checked_at is None:
                rest = 0.0
            else:
                rest -= self._clock.now() - backend.checked_at
            alarm.within(max(0.0, rest))

    async def _watch(self, backend: Backend, probe: Probe) -> None:
        policy, alarm = self._backends.policy, self._alarms[backend.name]
        await alarm.wait(min(policy.fast, policy.interval) * self._random.random())
        while True:
            result = await self._look(backend, probe)
            self._backends.checked(backend, result.passed, result.word, result.detail)
            seconds = pause(
                backend.health,
                backend.streak,
                policy,
                seen_up=backend.seen_up,
                age=self._clock.now() - self._backends.started_at,
            )
            if alarm.asked:
                seconds = min(seconds, policy.fast)
            await alarm.wait(seconds * self._random.uniform(1 - SPREAD, 1 + SPREAD))

    async def _look(self, backend: Backend, probe: Probe) -> Result:
        try:
            async with self._clock.timeout(self._timeout):
                return await probe()
        except TimeoutError:
            return Result(False, "timeout", f"not within {self._timeout:g} s")
        except HopError as error:
            return Result(False, word(error), (error.private or str(error)).removeprefix(f"{backend.name}: "))
        except Exception as error:  # a check that dies would leave its backend as it is for ever
            log.exception("the check of %s failed", backend.name)
            return Result(False, "failed", repr(error))


class _Alarm:
    """Rings after a time, or sooner when somebody asks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung: asyncio.Future[None] | None = None
        self._timer: Handle | None = None
        self._due = 0.0
        self.asked = False
        """Somebody asked while nobody waited: the next wait should be a short one."""

    async def wait(self, seconds: float) -> None:
        self.asked = False
        self._rung = asyncio.get_running_loop().create_future()
        self._set(seconds)
        try:
            await self._rung
        finally:
            self._rung = None
            if self._timer is not None:
                self._timer.cancel()

    def within(self, seconds: float) -> None:
        if self._rung is None:
            self.asked = True
        elif self._clock.now() + seconds < self._due:
            self._set(seconds)

    def _set(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._clock.now() + seconds
        self._timer = self._clock.call_later(seconds, self._ring)

    def _ring(self) -> None:
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)
