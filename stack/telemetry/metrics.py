"""Counters as plain integers, formatted as Prometheus text (exposition format 0.0.4) when scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

Labels = tuple[str, ...]
Sample = tuple[str, Labels, float]


class Counter:
    """One metric with a fixed set of label names. `values` may be bumped directly on a hot path."""

    __slots__ = ("help", "kind", "labels", "name", "values")

    def __init__(self, name: str, help: str, labels: Labels = (), kind: str = "counter") -> None:
        self.name, self.help, self.labels, self.kind = name, help, labels, kind
        self.values: dict[Labels, float] = {}

    def inc(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by


class Metrics:
    """All metrics of one process. Names start with `hopstack_`; a gauge is asked for when scraped."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: list[tuple[str, str, Labels, Callable[[], Iterable[tuple[Labels, float]]]]] = []

    def counter(self, name: str, help: str, labels: Labels = ()) -> Counter:
        """The counter of that name, made on first use."""
        if (known := self._counters.get(name)) is not None:
            return known
        counter = self._counters[name] = Counter(name, help, labels)
        return counter

    def gauge(self, name: str, help: str, labels: Labels, read: Callable[[], Iterable[tuple[Labels, float]]]) -> None:
        """`read` yields (label values, value) at every scrape."""
        self._gauges.append((name, help, labels, read))

    def samples(self) -> dict[str, float]:
        """All values by their sample line's left side; workers' are summed by their master."""
        found: dict[str, float] = {}
        for name, _, _, labels, values in self._all():
            for label_values, value in values:
                found[_left(name, labels, label_values)] = value
        return found

    def text(self) -> str:
        lines: list[str] = []
        for name, help, kind, labels, values in self._all():
            lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
            lines += [f"{_left(name, labels, label_values)} {value:g}" for label_values, value in values]
        return "\n".join(lines) + "\n"

    def _all(self) -> Iterator[tuple[str, str, str, Labels, list[tuple[Labels, float]]]]:
        for counter in self._counters.values():
            yield counter.name, counter.help, counter.kind, counter.labels, sorted(counter.values.items())
        for name, help, labels, read in self._gauges:
            yield name, help, "gauge", labels, sorted(read())


def _left(name: str, labels: Labels, values: Labels) -> str:
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in zip(labels, values, strict=True)) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
