"""From the plan that runs to another one, without losing a request: all of it, or nothing.

The new processes of changed hops start beside the old ones and on the same sockets, from the app outwards, each kind
when the one behind it is ready. When all are, they take over, and the old ones finish what they have, from the edge
inwards; last go the hops that are no longer in the plan.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any, Final, Literal

import msgspec

from stack.config.base import Timeouts
from stack.errors import ConfigError
from stack.hop.child import Child
from stack.hop.master import Master
from stack.plan.model import HopPlan, StackPlan
from stack.supervisor.changes import Change
from stack.supervisor.sockets import Sockets

START_ORDER: Final = ("appserver", "proxy", "loadbalancer", "cdn_edge", "dns_server")
"""Nobody is told of a hop that does not serve yet; the zone names an edge last."""
STOP_ORDER: Final = ("cdn_edge", "loadbalancer", "proxy", "appserver", "dns_server")
"""What a hop has in flight needs the hops behind it."""
START: Final = 30.0
"""Seconds that the hops of one kind have to become ready; at the first start, all together."""
DRAIN: Final = Timeouts().drain
STOP: Final = 2 * DRAIN + 5.0
"""Seconds that one hop has to end what it does: requests in flight, then the application's own shutdown."""
STOP_ALL: Final = 45.0
"""Seconds that all of them have together; `hopstack down` waits longer than that."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a wish to reload. Anything but `done` and `unchanged` leaves all as it was."""

    outcome: Literal["done", "unchanged", "refused", "failed", "stopping"]
    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What works, and may surprise."""

    @property
    def ok(self) -> bool:
        return self.outcome in ("done", "unchanged")

    def lines(self) -> list[str]:
        match self.outcome:
            case "done":
                return [*(line for change in self.changes for line in change.lines()), *self.notes]
            case "unchanged":
                return ["Nothing has changed.", *self.notes]
            case "stopping":
                return ["The stack was told to stop; nothing was changed."]
            case _:
                return [*self.problems, "Nothing was changed; the stack runs on as before."]


class Switch:
    """Carries out one change of plan."""

    def __init__(
        self,
        master: Master,
        sockets: Sockets,
        *,
        prepare: Callable[[StackPlan], object],
        child: Callable[[HopPlan], Child],
        excused: Callable[[StackPlan], Collection[str]],
    ) -> None:
        self._master, self._sockets = master, sockets
        self._prepare, self._child, self._excused = prepare, child, excused

    async def to(
        self,
        old: StackPlan,
        new: StackPlan,
        changes: Collection[Change],
        *,
        committed: Callable[[], object],
    ) -> None:
        """ConfigError when a hop of `new` cannot run: then `old` runs as before. `committed`: no way back from now."""
        coming = {change.hop for change in changes if change.what != "removed"}
        removed = [change.hop for change in changes if change.what == "removed"]
        fresh = self._sockets.bind(new.hops)
        generation = self._master.generation()
        try:
            self._prepare(new)
            excused = self._excused(new)
            for kind in START_ORDER:
                children = [self._child(hop) for hop in new.of(kind) if hop.name in coming]
                if children:
                    await generation.start(*children, timeout=START, excused=excused)
        except BaseException:
            # they serve already on the sockets that they share: what they have in flight is finished
            await generation.undo(by_kind(new), timeout=STOP, within=STOP_ALL)
            self._sockets.close(fresh)
            with contextlib.suppress(ConfigError):
                self._prepare(old)
                for hop in old.hops:
                    if hop.name in coming:
                        self._child(hop)  # its certificate, for when it is started again
            raise
        generation.commit(without=removed)
        # before the old ones stop: whoever comes to an address that is given up is refused, and does not wait
        self._sockets.keep(new.hops)
        committed()
        relieved = by_kind(old, without=removed)
        await generation.retire([*relieved, *by_kind(old, only=removed)], timeout=STOP, within=STOP_ALL)


def by_kind(plan: StackPlan, *, without: Collection[str] = (), only: Collection[str] | None = None) -> list[list[str]]:
    """Names to stop together, outermost first."""
    return [
        [hop.name for hop in plan.of(kind) if hop.name not in without and (only is None or hop.name in only)]
        for kind in STOP_ORDER
    ]


def outcome_of(message: dict[str, Any]) -> Outcome:
    """As it came over the channel."""
    return msgspec.convert(message, Outcome, strict=False)
