"""The metrics that every HTTP hop has: what was asked, how it ended, how long it took, what each step came to."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from stack.telemetry.brief import FOUND, Brief
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. From a cache hit to a time-out."""

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"})

WORDS: Final = 1000
"""Pairs of step and word that have a label of their own. An app makes up words (`mark`), perhaps with an id in them."""


class RequestMetrics:
    """Counts exchanges that have ended. Half a microsecond: it counts, and labels what it counted when scraped."""

    def __init__(self, metrics: Metrics, hop: str) -> None:
        self._hop = hop
        requests = metrics.counter(
            "hopstack_requests_total", "Requests answered, by method and class of status.", ("hop", "method", "status")
        )
        steps = metrics.counter("hopstack_steps_total", "What each step of a request came to.", ("hop", "step", "word"))
        sent = metrics.counter("hopstack_response_bytes_total", "Content bytes sent to clients.", ("hop",))
        self._steps: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._requests: defaultdict[tuple[bytes, int], int] = defaultdict(int)
        self._bytes = 0
        self._counters = (requests.values, steps.values, sent.values)
        sent.values[(hop,)] = 0
        self._seconds = metrics.histogram(
            "hopstack_request_seconds", "From the end of a request's head to the last byte of its answer.",
            ("hop",), (hop,), BOUNDS,
        )  # fmt: skip
        metrics.refreshes.append(self._refresh)

    def count(self, ended: Sequence[Exchange | Brief]) -> None:
        requests, steps, histogram = self._requests, self._steps, self._seconds
        counts = histogram.counts
        for exchange in ended:
            if isinstance(exchange, tuple):
                _, _, _, began, _, at, status, size = exchange
                requests[b"GET", status] += 1
                steps[FOUND] += 1
                self._bytes += size
                counts[bisect_left(BOUNDS, at - began)] += 1
                histogram.total += at - began
                continue
            request = exchange.request
            method = b"" if request is None or request.method not in METHODS else request.method
            requests[method, exchange.status] += 1
            for step, word, _ in exchange.marks:
                steps[step, word] += 1
            self._bytes += exchange.bytes_out
            seconds = (exchange.ended or exchange.now()) - exchange.began
            counts[bisect_left(BOUNDS, seconds)] += 1
            histogram.total += seconds
        if len(steps) > WORDS:
            self._refresh()

    def _refresh(self) -> None:
        """Before the metrics are read: what was counted since then, under its labels."""
        hop = self._hop
        requests, steps, sent = self._counters
        for (method, status), count in self._requests.items():
            # bounded: a client chooses methods, and a label for each would be a leak
            labels = (hop, method.decode("ascii") or "other", f"{status // 100}xx" if status else "none")
            requests[labels] = requests.get(labels, 0) + count
        for (step, word), count in self._steps.items():
            known = (hop, step, word)
            if known not in steps and len(steps) >= WORDS:
                known = (hop, "other", "other")
            steps[known] = steps.get(known, 0) + count
        sent[(hop,)] += self._bytes
        self._requests.clear()
        self._steps.clear()
        self._bytes = 0
