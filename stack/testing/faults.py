"""Faults of a test: handed to every hop that they act in."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stack.errors import ConfigError
from stack.faults.active import Active
from stack.faults.registry import Faults
from stack.faults.spec import CLIENT, Fault, from_table
from stack.testing.clock import StackClock

if TYPE_CHECKING:
    from stack.testing.members import Member, Members


class Known(Faults):
    """Faults whose clock knows which tasks they hold, and does not wait for those."""

    clock: StackClock

    async def wait(self, seconds: float) -> None:
        with self._held():
            await super().wait(seconds)

    async def swallow(self, active: Active, seconds: float | None) -> None:
        with self._held():
            await super().swallow(active, seconds)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        task = asyncio.current_task()
        self.clock.injected.add(task)
        self.clock.held()
        try:
            yield
        finally:
            self.clock.injected.discard(task)


class Ordered:
    """A fault that acts already. `clear()` ends it, and so does the end of a `with` or `async with` block."""

    def __init__(self, fault: Fault, members: list[Member]) -> None:
        self.fault = fault
        self._members = members

    @property
    def hits(self) -> int:
        """Requests that met it."""
        return sum(
            int(one["hits"]) for member in self._members if member.net is not None
            for one in member.net.faults.described()["faults"] if one["name"] == self.fault.name
        )  # fmt: skip

    def clear(self) -> None:
        for member in self._members:
            if member.net is not None:
                member.net.faults.remove(self.fault.name)

    def __enter__(self) -> Ordered:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    async def __aenter__(self) -> Ordered:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


def order(members: Members, on: str, kinds: Mapping[str, Any]) -> Ordered:
    """ConfigError for one that acts nowhere: nothing would be tested."""
    table = dict(kinds)
    fault = from_table(str(table.pop("name", "")), {"on": on, **table})
    if fault.begin != CLIENT:
        _check(members, fault.begin, "begins")
    _check(members, fault.target, "ends")
    found = [member for member in members if member.net is not None and member.net.faults.places(fault)]
    if not found:
        for member in members:
            if member.net is not None and (reason := member.net.faults.standing.refusal(fault)):
                raise ConfigError(reason)
        raise ConfigError(f"{on}: no hop that runs has such a link, so the fault would act nowhere")
    for member in found:
        assert member.net is not None
        member.net.faults.add(fault)
    return Ordered(fault, found)


def _check(members: Members, pattern: str, what: str) -> None:
    names = [member.name for member in members]
    if pattern and not fnmatch.filter(names, pattern):
        raise ConfigError(f"the fault {what} at {pattern!r}, and no hop is called so; there is {', '.join(names)}")
