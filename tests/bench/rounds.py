"""Alternating rounds: what each target's requests cost, and how they compare round by round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.bench.drivers import Driven
from tests.bench.meter import cpu, tree


@dataclass(frozen=True, slots=True)
class Load:
    """A start until the first answer."""

    name: str
    seconds: float
    cpu: float
    """Seconds on a CPU of all processes by then."""
    bytes: int
    """Resident then, what processes share counted once."""
    limit: float | None = None
    """Seconds that it may take."""


class Driver(Protocol):
    def drive(self, url: str, seconds: int) -> Driven: ...


@dataclass
class Target:
    """A server under measurement, or several that one request passes; the first of a bench is the peer."""

    name: str
    pids: tuple[int, ...]
    url: str
    micros: list[float] = field(default_factory=list)
    """CPU microseconds a request, one for each round."""
    rates: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    busiest: bool = False
    """Count the process that worked most alone: what each could answer with a core of its own, it limits."""
    held: bool = False
    """Held to the ratio that the second of the bench may have, too."""
    loads: tuple[Load, ...] = ()
    """How long it took to start, where that is of interest."""

    @property
    def median(self) -> float:
        return statistics.median(self.micros) if self.micros else float("nan")

    @property
    def rate(self) -> float:
        return statistics.median(self.rates) if self.rates else 0.0


def compare(targets: Sequence[Target], driver: Driver, *, rounds: int, seconds: int) -> None:
    """A second for each to warm up, then the rounds; every other one goes the other way round, as drift does not."""
    for target in targets:
        measure(target, driver, 1, count=False)
    for number in range(rounds):
        for target in targets if number % 2 == 0 else list(reversed(targets)):
            measure(target, driver, seconds)


def measure(target: Target, driver: Driver, seconds: int, *, count: bool = True) -> None:
    pids = tree(*target.pids)
    before = {pid: cpu([pid]) for pid in pids}
    driven = driver.drive(target.url, seconds)
    each = [cpu([pid]) - was for pid, was in before.items()]
    spent = max(each) if target.busiest else sum(each)
    if driven.fault:
        target.faults.append(driven.fault)
    if not driven.requests:
        if not driven.fault:
            target.faults.append("no request was answered")
    elif count:
        target.micros.append(spent / driven.requests * 1e6)
        target.rates.append(driven.requests / seconds)


def ratio(ours: Sequence[float], peers: Sequence[float]) -> float:
    """The median of the ratios of each round: what disturbed one round disturbed both of its sides."""
    pairs = [mine / theirs for mine, theirs in zip(ours, peers, strict=False) if theirs > 0]
    return statistics.median(pairs) if pairs else float("nan")


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that `part` of all are not above (nearest rank)."""
    ranked = sorted(values)
    rank = -(-len(ranked) * part // 1)  # rounded up
    return ranked[max(0, min(len(ranked), int(rank)) - 1)]
