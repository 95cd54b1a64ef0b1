"""A fault at work in one process: which requests it hits, in an order that its seed decides."""

from __future__ import annotations

from fnmatch import fnmatchcase
from random import Random
from typing import Any

from stack.faults.spec import Fault, as_table, show
from stack.http.message import Request


class Active:
    """The same seed and the same order of requests make the same decisions. Times are monotonic seconds."""

    def __init__(self, fault: Fault, *, now: float, configured: bool = False) -> None:
        self.fault = fault
        self.configured = configured
        """From the configuration, so that it is there again when the process is started again."""
        self.seen = 0
        """Requests that it fits, hit or not."""
        self.hits = 0
        self.ends = float("inf") if fault.lasts is None else now + fault.lasts
        seed = fault.name if fault.seed is None else fault.seed
        self._random = Random(seed)  # noqa: S311 - repeatable, that is the point
        self._path = fault.path
        self._methods = frozenset(method.encode() for method in fault.method)

    def hit(self, request: Request | None, now: float, *, check: bool = False) -> bool:
        """Whether this request meets it; None is a check that only connects. One draw for each that it fits."""
        fault = self.fault
        if now >= self.ends or (check and not fault.meets_checks):
            return False
        if request is not None:
            if self._methods and request.method not in self._methods:
                return False
            if self._path and not fnmatchcase(request.path.decode("latin-1"), self._path):
                return False
        self.seen += 1
        if fault.first is not None and self.seen > fault.first:
            return False
        drawn = fault.share < 1 and self._random.random() >= fault.share
        if drawn or (fault.count is not None and self.hits >= fault.count):
            return False
        self.hits += 1
        return True

    def delay(self) -> float:
        """Seconds of latency for this request, never below nothing."""
        latency = self.fault.latency or 0.0
        if self.fault.jitter is None:
            return latency
        return max(0.0, latency + self._random.uniform(-self.fault.jitter, self.fault.jitter))

    def state(self, now: float) -> str:
        """`active`, `spent` (its `first` or `count` are used up) or `over` (its time is)."""
        if now >= self.ends:
            return "over"
        first, count = self.fault.first, self.fault.count
        spent = (first is not None and self.seen >= first) or (count is not None and self.hits >= count)
        return "spent" if spent else "active"

    def described(self, now: float) -> dict[str, Any]:
        return {
            **as_table(self.fault),
            "text": show(self.fault),
            "state": self.state(now),
            "seen": self.seen,
            "hits": self.hits,
            "left_s": None if self.fault.lasts is None else round(max(0.0, self.ends - now), 3),
            "configured": self.configured,
        }
