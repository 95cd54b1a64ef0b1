"""What looking into the store came to: a word in the exchange, and a count of it."""

from __future__ import annotations

from typing import Final

from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

HIT: Final = ("hit",)


class Lookups:
    def __init__(self, metrics: Metrics) -> None:
        self._counter = metrics.counter("hopstack_cache_lookups_total", "Requests by what lookup came to.", ("result",))
        self.counts = self._counter.values
        """For who counts the commonest word itself."""
        self.counts[HIT] = 0

    def mark(self, exchange: Exchange, word: str) -> None:
        exchange.mark("lookup", word)
        self._counter.inc(word)
