"""The only source of time: a `Clock` is handed in, so that a test can move a virtual one by a day."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """All times in seconds. `now` is monotonic and starts anywhere; `time` is Unix time."""

    @property
    def now(self) -> Callable[[], float]:
        """Monotonic seconds: `clock.now()`. A property, so that a hot path can keep the bare callable."""

    def time(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Cancels the body after `seconds` and raises TimeoutError; None waits for ever."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Handle: ...


class SystemClock:
    """The machine's clocks and the running loop's timers."""

    now = staticmethod(time.monotonic)

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Handle:
        return asyncio.get_running_loop().call_later(seconds, callback)


class VirtualClock:
    """Stands still until `advance`. Timers fire in order of their time, each at its own time."""

    def __init__(self, *, time: float = 1_700_000_000.0) -> None:
        self._now = 1_000.0
        self._wall = time - self._now
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self.guarded: dict[object, asyncio.Task[object] | None] = {}
        """Bodies of `timeout` that are under way, and whose: who moves time may want to let them end first."""

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return self._wall + self._now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(seconds, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return _VirtualTimeout(self, seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Handle:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._now + max(0.0, seconds), next(self._order), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move time forward, firing what falls due and letting the loop settle after each timer."""
        target = self._now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= target:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            timer.fire()
            await settle()
        self._now = target
        await settle()

    def due(self) -> float | None:
        """When the next timer fires; None: nothing is waited for."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def leap(self, until: float) -> None:
        """Move time to `until` (as of `now`) and fire what is due by then, in order and each once, without settling.

        A timer that fires late because of it finds the time it is, as after a machine's sleep.
        """
        self._now = max(self._now, until)
        due = []
        while self._timers and self._timers[0][0] <= until:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            timer.fire()


class _Timer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def fire(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class _VirtualTimeout:
    def __init__(self, clock: VirtualClock, seconds: float | None) -> None:
        self._inner = asyncio.timeout(None)
        self._clock, self._seconds = clock, seconds
        self._handle: Handle | None = None

    async def __aenter__(self) -> asyncio.Timeout:
        entered = await self._inner.__aenter__()
        if self._seconds is not None:
            self._handle = self._clock.call_later(self._seconds, self._expire)
            self._clock.guarded[self] = asyncio.current_task()
        return entered

    def _expire(self) -> None:
        self._inner.reschedule(0.0)  # in the past of the loop's own clock: expires at once

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._handle is not None:
            self._handle.cancel()
            self._clock.guarded.pop(self, None)
        await self._inner.__aexit__(kind, error, trace)  # raises TimeoutError itself
        return None


async def settle(rounds: int = 20) -> None:
    """Let ready callbacks of the loop run. Bounded: a busy loop does not hold a test."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within: float = 10.0, every: float = 0.02
) -> None:
    """Poll `condition` on the machine's clock; TimeoutError when it did not hold within `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        held = condition()
        if not isinstance(held, bool):
            held = await held
        if held:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s: {condition!r}")
        await asyncio.sleep(every)
