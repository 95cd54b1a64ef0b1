"""The clock of a stack in a test: it stands still, and moves when the test says so or an injected fault waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from stack.clock import Handle, SystemClock, VirtualClock, settle
from stack.net.tasks import Tasks

PATIENCE: Final = 0.25
"""Seconds of the machine's time that something under way may make no progress in before time moves on without it."""
EXACT: Final = 10.0
"""Seconds at the beginning and at the end of a long way in which every timer fires at its own time."""
SPINS: Final = 200
"""Turns of the loop before waiting gives the processor to others: threads, other processes."""
TURNS: Final = SPINS + 50
"""And turns without progress: a machine that gave this process no time is no reason to lose patience."""


class Instant(float):
    """A moment of the stack that knows the machine's own time too: how long something really took."""

    __slots__ = ("machine",)
    machine: float


class Begun:
    """Something that is under way already. Await it for its end; the stack's next call does so by itself."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task

    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.shield(self.task).__await__()

    def done(self) -> bool:
        return self.task.done()


class StackClock:
    """A `Clock`. Starts at a whole second near the machine's time, so that ages and times to live are round."""

    def __init__(self, *, time: float | None = None) -> None:
        self._machine = SystemClock()
        self._given = time
        self.begin()
        self._tasks = Tasks()
        self._moving: asyncio.Task[None] | None = None
        self._stuck: set[object] = set()
        self._idle_load = 0
        self.load: Callable[[], int] = lambda: 0
        """How many requests are being answered; the stack puts itself there."""
        self.injected: set[asyncio.Task[Any] | None] = set()
        """Tasks that an injected fault holds: they wait for this clock alone."""
        self.held: Callable[[], None] = lambda: None
        """Called when one begins to."""

    def begin(self) -> None:
        """Now, before anybody has asked it for the time."""
        self._virtual = VirtualClock(time=float(int(self._machine.time() if self._given is None else self._given)))

    # A `Clock`.

    def now(self) -> float:
        instant = Instant(self._virtual.now())
        instant.machine = self._machine.now()
        return instant

    def time(self) -> float:
        return self._virtual.time()

    async def sleep(self, seconds: float) -> None:
        await self._virtual.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return self._virtual.timeout(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Handle:
        return self._virtual.call_later(seconds, callback)

    # What moves it.

    def advance(self, seconds: float) -> Begun:
        """Move time forward by `seconds`. Timers fire in order, and what they begin is let to its end.

        It begins at once; the next call of the stack waits for it, and so does `await`. On a way of more than twice
        EXACT every timer fires once at most between the first and the last EXACT seconds: health checks of an hour do
        not take an hour's work.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: advance({seconds:g})")
        before = self._moving
        self._moving = task = self._tasks.spawn(self._move(seconds, before), name="advance")
        return Begun(task)

    async def caught_up(self) -> None:
        """Wait until every move that was begun has ended."""
        while (moving := self._moving) is not None:
            await asyncio.wait([moving])  # which many may do at once, and none of them ends it by giving up
            if self._moving is moving:
                self._moving = None
                moving.result()

    async def advance_to(self, moment: float) -> None:
        """For the stack itself: on to a moment as of `now`, for requests that wait for it."""
        self._idle_load = self.load()  # it is known what they wait for
        await self._travel(moment)

    def behind(self) -> float:
        """Seconds that the machine's wall clock is behind this one."""
        return self.time() - self._machine.time()

    async def close(self) -> None:
        await self._tasks.close()

    async def _move(self, seconds: float, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        target = self._virtual.now() + seconds
        if seconds > 2 * EXACT:
            await self._travel(self._virtual.now() + EXACT)
            self._virtual.leap(target - EXACT)
            await self.quiet()
        await self._travel(target)

    async def _travel(self, target: float) -> None:
        await self.quiet()
        while (due := self._virtual.due()) is not None and due <= target:
            self._virtual.leap(due)
            await self.quiet()
        self._virtual.leap(target)
        await self.quiet()

    # When it may move.

    async def quiet(self) -> None:
        """Let what is under way end: real sockets need the machine's time, and no time-out may fire meanwhile.

        What makes no progress for PATIENCE seconds waits for time itself, or for the test, and is not waited for again.
        """
        await settle(5)
        progress = self._under_way()
        if not progress:
            return
        turns, since, until = 0, 0, self._machine.now() + PATIENCE
        while (seen := self._under_way()) and (since < TURNS or self._machine.now() < until):
            if seen != progress:
                progress, since, until = seen, 0, self._machine.now() + PATIENCE
            turns, since = turns + 1, since + 1
            await (settle(1) if turns < SPINS else self._machine.sleep(0.001))
        self._stuck = set(self._virtual.guarded)
        self._idle_load = self.load()

    def _under_way(self) -> tuple[object, ...]:
        """What is in progress but for what is known to be stuck; empty when nothing is."""
        self._stuck &= self._virtual.guarded.keys()
        load = self.load()
        self._idle_load = min(self._idle_load, load)
        guarded = [
            guard
            for guard, task in self._virtual.guarded.items()
            if guard not in self._stuck and task not in self.injected
        ]
        return (load, *map(id, guarded)) if guarded or load > self._idle_load else ()
