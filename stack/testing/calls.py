"""What is asked of a stack: each call after what was ordered before it, with a deadline of the machine's time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from stack.clock import SystemClock
from stack.net.tasks import Tasks
from stack.testing.clock import Begun, StackClock
from stack.testing.members import Member

T = TypeVar("T")
PUMP: Final = 0.002
"""Seconds of the machine's time between two looks at whether an injected wait holds somebody up."""


class Late(TimeoutError):
    """The call took longer than its time; the message says what was waited for."""


class Calls:
    """Of one stack. While somebody outside waits for an injected fault, its clock moves on by itself."""

    def __init__(self, clock: StackClock, tasks: Tasks, deadline: float) -> None:
        self.clock, self._tasks, self._patience = clock, tasks, deadline
        self._machine = SystemClock()
        self.members: Iterable[Member] = ()
        self._begun: list[Begun] = []
        self._open = 0
        self._passing: asyncio.Task[None] | None = None
        clock.held = self._time_passes

    # What is asked.

    async def made(
        self, call: Callable[[], Awaitable[T]], *, what: str, within: float | None, settled: bool = True
    ) -> T:
        """The result of `call`. Late at its deadline. `settled`: after it the hops are let to their end."""
        async with self._deadline(within, f"{what}: no whole response") as stands:
            await self.caught_up()
            async with self._under_way(settled):
                try:
                    return await call()
                except asyncio.CancelledError:
                    stands.append(self.waiting())  # in a moment they have given up
                    raise
        raise AssertionError("a time-out was swallowed")

    @contextlib.asynccontextmanager
    async def step(self, what: str, within: float | None) -> AsyncIterator[None]:
        """A part of a call that goes on, with a deadline of its own."""
        async with self._deadline(within, what), self._under_way(False):
            yield

    async def settled(self) -> None:
        """The hops are let to their end, unless somebody else still waits for them."""
        if not self._open:
            await self.clock.quiet()

    @contextlib.asynccontextmanager
    async def _under_way(self, settled: bool) -> AsyncIterator[None]:
        """Somebody waits, so injected waits pass."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if settled:
                await self.settled()

    @contextlib.asynccontextmanager
    async def _deadline(self, within: float | None, what: str) -> AsyncIterator[list[str]]:
        """Late after `within` seconds of the machine's time, by default the stack's deadline.

        What is in the list first, and else what is under way then, is said to have been waited for.
        """
        seconds = self._patience if within is None else within
        stands: list[str] = []
        try:
            async with self._machine.timeout(seconds):
                yield stands
        except TimeoutError as error:
            if isinstance(error, Late):
                raise
            raise Late(f"{what} within {seconds:g} s: {stands[0] if stands else self.waiting()}") from None

    # What is ordered.

    def begin(self, work: Callable[[], Awaitable[Any]], name: str) -> Begun:
        """Start something that the next call waits for, after what was ordered before it."""
        before = list(self._begun)

        async def done() -> None:
            for one in before:
                await asyncio.wait([one.task])
            await work()

        begun = Begun(self._tasks.spawn(done(), name=name))
        self._begun.append(begun)
        return begun

    async def caught_up(self) -> None:
        """What was begun without waiting for it has ended, for whoever asks: calls may be made at once."""
        for one in list(self._begun):
            await asyncio.wait([one.task])
            if one in self._begun:  # its error is for the first who waited
                self._begun.remove(one)
                one.task.result()
        await self.clock.caught_up()

    # Injected waits.

    def _time_passes(self) -> None:
        if self._passing is None or self._passing.done():
            self._passing = self._tasks.spawn(self._pass_time(), name="faults")

    async def _pass_time(self) -> None:
        """On to the end of the next injected wait, while there is one and somebody outside waits for it.

        That is a call of the stack's, or any other client's request: those come to an edge. Health checks do not.
        """
        while waits := [
            at for member in self.members if member.net is not None and (at := member.net.faults.waiting()) is not None
        ]:
            if self._open or any(member.kind == "cdn_edge" and member.in_flight for member in self.members):
                await self.clock.advance_to(min(waits))
            await self._machine.sleep(PUMP)

    def waiting(self) -> str:
        """For a message: who has a request, and what was injected."""
        busy = [f"{member.name} answers {member.in_flight}" for member in self.members if member.in_flight]
        ordered = {
            fault for member in self.members if member.net is not None
            for fault in (one["text"] for one in member.net.faults.described()["faults"])
        }  # fmt: skip
        said = ", ".join(busy) or "no hop has a request"
        if ordered:
            said += f"; faults: {', '.join(sorted(ordered))}"
        return said + "; the stack's clock stands still unless web.clock.advance() moves it"
