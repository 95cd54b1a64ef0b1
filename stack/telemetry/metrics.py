"""Counters as plain integers, formatted as Prometheus text (exposition format 0.0.4) when scraped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

Labels = tuple[str, ...]


class Counter:
    """One metric with a fixed set of label names. `values` may be bumped directly on a hot path."""

    __slots__ = ("help", "kind", "labels", "name", "values")

    def __init__(self, name: str, help: str, labels: Labels = (), kind: str = "counter") -> None:
        self.name, self.help, self.labels, self.kind = name, help, labels, kind
        self.values: dict[Labels, float] = {}

    def inc(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by


class Histogram:
    """Counts by upper bound. `counts` (one more than bounds: the rest) and `total` may be bumped on a hot path."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """(le, how many up to it), as the exposition format wants it."""
        so_far = 0
        for bound, count in zip((*map("{:g}".format, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            yield bound, so_far


class Metrics:
    """All metrics of one process. Names start with `hopstack_`; a gauge is asked for when scraped."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: list[tuple[str, str, Labels, Callable[[], Iterable[tuple[Labels, float]]]]] = []
        self._histograms: list[tuple[str, str, Labels, Labels, Histogram]] = []
        self.refreshes: list[Callable[[], object]] = []
        """Called before anything is read, for who counts in a form of its own."""

    def counter(self, name: str, help: str, labels: Labels = ()) -> Counter:
        """The counter of that name, made on first use."""
        if (known := self._counters.get(name)) is not None:
            return known
        counter = self._counters[name] = Counter(name, help, labels)
        return counter

    def gauge(self, name: str, help: str, labels: Labels, read: Callable[[], Iterable[tuple[Labels, float]]]) -> None:
        """`read` yields (label values, value) at every scrape."""
        self._gauges.append((name, help, labels, read))

    def histogram(self, name: str, help: str, labels: Labels, values: Labels, bounds: tuple[float, ...]) -> Histogram:
        """One series of a histogram, with its label values."""
        histogram = Histogram(bounds)
        self._histograms.append((name, help, labels, values, histogram))
        return histogram

    def samples(self) -> dict[str, float]:
        """All values by their sample line's left side; workers' are summed by their master."""
        found: dict[str, float] = {}
        self._refresh()
        for name, _, _, labels, values in self._all():
            for label_values, value in values:
                found[_left(name, labels, label_values)] = value
        for name, _, labels, label_values, histogram in self._histograms:
            found.update(_series(name, labels, label_values, histogram))
        return found

    def text(self) -> str:
        lines: list[str] = []
        self._refresh()
        for name, help, kind, labels, values in self._all():
            lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
            lines += [f"{_left(name, labels, label_values)} {number(value)}" for label_values, value in values]
        described: set[str] = set()
        for name, help, labels, label_values, histogram in self._histograms:
            if name not in described:
                described.add(name)
                lines += [f"# HELP {name} {help}", f"# TYPE {name} histogram"]
            lines += [f"{left} {number(value)}" for left, value in _series(name, labels, label_values, histogram)]
        return "\n".join(lines) + "\n"

    def _refresh(self) -> None:
        for refresh in self.refreshes:
            refresh()

    def _all(self) -> Iterator[tuple[str, str, str, Labels, list[tuple[Labels, float]]]]:
        for counter in self._counters.values():
            yield counter.name, counter.help, counter.kind, counter.labels, sorted(counter.values.items())
        for name, help, labels, read in self._gauges:
            yield name, help, "gauge", labels, sorted(read())


def _series(name: str, labels: Labels, values: Labels, histogram: Histogram) -> Iterator[tuple[str, float]]:
    count = 0
    for bound, count in histogram.cumulative():
        yield _left(f"{name}_bucket", (*labels, "le"), (*values, bound)), count
    yield _left(f"{name}_sum", labels, values), histogram.total
    yield _left(f"{name}_count", labels, values), count


def number(value: float) -> str:
    """Whole numbers in full: `{:g}` would round a counter above a million."""
    if not math.isfinite(value):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _left(name: str, labels: Labels, values: Labels) -> str:
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in zip(labels, values, strict=True)) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
