"""Server-Timing, read back into hops: who had the request, for how long, and what each step came to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from stack.http.message import Fields, combined
from stack.path import STEPS
from stack.trace.fields import items

WAITS: Final[Mapping[str, str]] = {"cdn_edge": "fetch", "loadbalancer": "attempt", "proxy": "forward"}
"""The step in which a hop of that kind waits for the next one."""
ANSWERED: Final = frozenset({"fetched", "revalidated", "answered", "bad-status", "stale-if-error"})
"""Words of those steps after which the next hop had answered."""

_KINDS: Final[Mapping[str, str]] = {
    step: kind for kind in STEPS for step in STEPS[kind] if sum(step in steps for steps in STEPS.values()) == 1
}
_PREFIXES: Final[Mapping[str, str]] = {"edge": "cdn_edge", "lb": "loadbalancer", "proxy": "proxy", "app": "appserver"}
FAULT: Final = "fault"
"""The step of an injected fault, on any hop."""
MOST: Final = 40
"""Hops, and foreign entries, that are shown of one response."""
_AFTER: Final = frozenset({"bandwidth", "corrupt", "reset", "slow-close", "truncate"})
"""Faults that are marked when the next hop's answer is there: the time until then was spent waiting for it."""


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    ms: float
    word: str = ""
    to: str = ""
    """The backend that was tried."""


@dataclass(slots=True)
class Hop:
    """One hop's entries: its steps one after the other, from its beginning until it sent the head of its response."""

    name: str
    kind: str
    steps: list[Step] = field(default_factory=list)

    @property
    def total(self) -> float:
        return sum(step.ms for step in self.steps)

    @property
    def waits(self) -> list[Step]:
        wanted = WAITS.get(self.kind)
        return [step for step in self.steps if step.name == wanted]

    def word(self, step: str) -> str:
        """What the step came to, in the end."""
        return next((one.word for one in reversed(self.steps) if one.name == step), "")


@dataclass(frozen=True, slots=True)
class Said:
    """An entry of somebody else: a name, perhaps a duration, perhaps a description."""

    name: str
    ms: float | None
    description: str


def read(fields: Fields) -> tuple[list[Hop], list[Said]]:
    """The hops, outermost first, and what others said. Each hop adds its entries behind those of the hops behind it."""
    hops: list[Hop] = []
    said: list[Said] = []
    value = combined(fields, b"server-timing")
    for item in items("" if value is None else value.decode("latin-1")):
        ms, description = item.number("dur"), item.params.get("desc", "")
        name, _, step = item.name.rpartition(".")
        if not name or ms is None or ms < 0 or not (step == FAULT or step in _KINDS):
            said.append(Said(item.name, ms, description))
            continue
        if not hops or hops[-1].name != name:
            hops.append(Hop(name, ""))
        hops[-1].steps.append(Step(step, ms, description, item.params.get("to", "")))
    del hops[:-MOST]  # no path is so long; the outermost are those that the client knows
    for hop in hops:
        hop.kind = _kind(hop.name, (step.name for step in hop.steps))
        hop.steps = _settled(hop.steps, WAITS.get(hop.kind, ""))
    hops.reverse()
    return hops, said[:MOST]


def _settled(steps: list[Step], waits: str) -> list[Step]:
    """Faults of an answer's content give their time to the step that waited for it."""
    out: list[Step] = []
    owed = 0.0
    for step in steps:
        if step.name == FAULT and step.word in _AFTER:
            owed += step.ms
            out.append(replace(step, ms=0.0))
            continue
        if (
            owed and step.name != waits and step.name != FAULT
        ):  # they were met while this hop served, not while it asked
            out[-1] = replace(out[-1], ms=owed)
            owed = 0.0
        elif step.name == waits:
            step, owed = replace(step, ms=step.ms + owed), 0.0
        out.append(step)
    if owed:
        out[-1] = replace(out[-1], ms=owed)
    return out


def _kind(name: str, steps: Iterable[str]) -> str:
    """By what it did; a hop that did nothing but meet a fault is known by its name, as `edge-fra`."""
    for step in steps:
        if step in _KINDS:
            return _KINDS[step]
    return _PREFIXES.get(name.partition("-")[0], "")
