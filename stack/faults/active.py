"""A fault at work in one process: which requests it hits, in an order that its seed decides."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from stack.faults.spec import Fault, as_table, show
from stack.http.message import Request
from stack.http.trust import is_within


@dataclass(frozen=True, slots=True)
class Question:
    """A DNS query, as far as a fault looks at it."""

    name: str
    """In lower case, without the final dot but for the root."""
    type: str
    """As `A` or `TYPE65280`."""
    client: str = ""
    proto: str = ""


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
        self._families = {"AAAA" if ":" in address else "A" for address in fault.wrong_address}
        self._networks = [ipaddress.ip_network(text, strict=False) for text in fault.source]

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
        return self._drawn()

    def asked(self, question: Question, now: float) -> bool:
        """Whether this query meets it. One draw for each that it fits."""
        fault = self.fault
        if (
            now >= self.ends
            or (fault.qname and not fnmatchcase(question.name, fault.qname))
            or (fault.qtype and question.type not in fault.qtype)
            or (fault.proto and question.proto not in fault.proto)
            or not self._can_act(question)
            or (self._networks and not is_within(question.client, self._networks))
        ):
            return False
        return self._drawn()

    def _can_act(self, question: Question) -> bool:
        """Only datagrams are truncated, only streams are slow, and there are addresses to put in place of others."""
        fault, proto = self.fault, question.proto
        if fault.truncate is not None and proto not in ("", "udp"):
            return False
        if proto in ("udp", "https") and not set(fault.kinds) - {"bandwidth", "down"}:
            return False
        return not self._families or question.type == "ANY" or question.type in self._families

    def _drawn(self) -> bool:
        fault = self.fault
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
