"""The metrics that every HTTP hop has: what was asked, how it ended, how long it took, what each step came to."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Final

from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Labels, Metrics

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. From a cache hit to a time-out."""

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"})


class RequestMetrics:
    """Call it with each finished exchange. Half a microsecond: it counts, and formats when scraped."""

    def __init__(self, metrics: Metrics, hop: str) -> None:
        self._hop = hop
        requests = metrics.counter(
            "hopstack_requests_total", "Requests answered, by method and class of status.", ("hop", "method", "status")
        )
        steps = metrics.counter("hopstack_steps_total", "What each step of a request came to.", ("hop", "step", "word"))
        sent = metrics.counter("hopstack_response_bytes_total", "Content bytes sent to clients.", ("hop",))
        self._steps: defaultdict[Labels, float] = defaultdict(float)
        steps.values = self._steps
        self._requests = requests.values
        self._labels: dict[tuple[bytes, int], Labels] = {}
        self._sent = sent.values
        self._sent_labels = (hop,)
        self._sent[self._sent_labels] = 0
        self._seconds = metrics.histogram(
            "hopstack_request_seconds", "From the end of a request's head to the last byte of its answer.",
            ("hop",), (hop,), BOUNDS,
        )  # fmt: skip

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        key = (b"" if request is None else request.method, exchange.status)
        labels = self._labels.get(key) or self._new(key)
        requests = self._requests
        requests[labels] = requests.get(labels, 0) + 1
        hop, steps = self._hop, self._steps
        for step, word, _ in exchange.marks:
            steps[hop, step, word] += 1
        self._sent[self._sent_labels] += exchange.bytes_out
        seconds = (exchange.ended or exchange.now()) - exchange.began
        histogram = self._seconds
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1
        histogram.total += seconds

    def _new(self, key: tuple[bytes, int]) -> Labels:
        """Bounded: a client chooses methods, and a label for each would be a leak."""
        method, status = key
        known = method.decode("ascii") if method in METHODS else "other"
        labels = (self._hop, known, f"{status // 100}xx" if status else "none")
        if method in METHODS:
            self._labels[key] = labels
        return labels
