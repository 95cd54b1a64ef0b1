"""What is known of one traced request: its spans, in the order of the path, and what the hops decided.

All times are milliseconds since the trace began. The same names stand in `--json` (docs/trace.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Interval = tuple[float, float]
"""Start and length."""

CLIENT_KINDS: Final = ("dns", "tcp", "tls")
"""Spans that the client measured itself; those of hops have the hop's kind (`stack.path.HOPS`)."""


@dataclass(frozen=True, slots=True)
class Span:
    """One line of the waterfall: where time was spent, and what was decided there.

    `start_ms` to `start_ms + total_ms` is the whole stay, waiting for the next hop included; `busy` are the parts of
    it that are this span's own and add up to `own_ms`. A hop's own time includes the link to the next one: to open a
    connection, to send, to read.
    """

    name: str
    """The process (`edge-fra`, `dns-root`), or `tcp`, `tls`, `origin`."""
    kind: str
    """`dns`, `tcp`, `tls`, a kind of `stack.path.HOPS`, `attempt`, `database`, `origin`, or `said`: a foreign entry of
    Server-Timing, whose place in time is not known."""
    start_ms: float
    total_ms: float
    own_ms: float
    decision: str = ""
    """In words of the path, such as `MISS: nothing stored under this URL`."""
    busy: tuple[Interval, ...] = ()
    error: bool = False
    """The decision is a failure."""
    injected: bool = False
    """A fault that was ordered took effect here; `faults` are the parts of `busy` that it took."""
    faults: tuple[Interval, ...] = ()
    depth: int = 0
    """1 for a part of the span above: an attempt of a load balancer, an app's database."""

    @property
    def end_ms(self) -> float:
        return self.start_ms + self.total_ms


@dataclass(frozen=True, slots=True)
class CacheDecision:
    """One member of Cache-Status (RFC 9211)."""

    cache: str
    result: str
    """`hit`, `stale` (a hit past its freshness), `revalidated`, `miss` or `none` (neither a hit nor forwarded)."""
    why: str
    """In words."""
    fwd: str = ""
    stored: bool = False
    ttl: int | None = None
    """Seconds of freshness left; below 0 when stale."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProxyError:
    """One member of Proxy-Status (RFC 9209) that has an error: the hop, its error type, and that in words."""

    hop: str
    error: str
    why: str


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A share of the whole time, beside what is typical of it on the public internet. docs/trace.md has the sources."""

    name: str
    ms: float | None
    """None: this part had no work in this request."""
    typical: tuple[float, float]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """One request. `status` is 0 when no response came; `error` then says why, in one line."""

    method: str
    url: str
    spans: tuple[Span, ...]
    total_ms: float
    status: int = 0
    protocol: str = ""
    """As in a status line: `HTTP/2`, `HTTP/1.1`."""
    edge: str = ""
    """The first hop, in its own words."""
    address: str = ""
    """Where the client connected to, with its port."""
    size: int = 0
    """Bytes of content as received."""
    coding: str = ""
    """Content-Encoding."""
    location: str = ""
    """Where a redirect leads: shown, not followed."""
    trace_id: str = ""
    """32 hex digits (W3C Trace Context): what the hops' logs have. Empty where the first hop does not tell."""
    request_id: str = ""
    cache: tuple[CacheDecision, ...] = ()
    """The cache nearest to the origin first, as in the field."""
    proxy_status: tuple[ProxyError, ...] = ()
    budget: tuple[BudgetRow, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    """What the reader should know about the figures."""
    reused: bool = False
    """The connection had served a request before."""

    def span(self, name: str) -> Span | None:
        """The span of that name, or of that kind: `span("appserver")`."""
        return next((span for span in self.spans if name in (span.name, span.kind)), None)

    def __str__(self) -> str:
        from stack.trace.render import render

        return render(self)
