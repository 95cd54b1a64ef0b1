"""Where the time went, in the six parts that people budget, beside what is typical on the public internet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stack.trace.hops import WAITS, Hop
from stack.trace.model import BudgetRow, Span

TYPICAL: Final = {
    "DNS": ((20.0, 120.0), "cold; 0 when cached"),
    "TCP and TLS": ((30.0, 100.0), "0 on a connection in use"),
    "edge": ((5.0, 20.0), ""),
    "edge to origin": ((50.0, 150.0), "0 on a hit"),
    "server": ((20.0, 200.0), "0 on a hit"),
    "response": ((10.0, 100.0), "to and from the edge"),
}
"""Milliseconds. docs/trace.md says what each contains and where the figures are from."""


def budget(spans: Sequence[Span], hops: Sequence[Hop], total_ms: float) -> tuple[BudgetRow, ...]:
    """The six parts add up to the whole time: nothing is counted twice, nothing is left out."""
    own: dict[str, float | None] = dict.fromkeys(TYPICAL)
    for span in spans:
        match span.kind:
            case "dns":
                own["DNS"] = (own["DNS"] or 0.0) + span.own_ms
            case "tcp" | "tls":
                own["TCP and TLS"] = (own["TCP and TLS"] or 0.0) + span.own_ms
    outer = next((span for span in spans if span.kind not in ("dns", "tcp", "tls", "http")), None)
    server = next((span for span in spans if span.kind in ("appserver", "origin")), None)
    if server is not None:
        own["server"] = server.total_ms
    first = hops[0] if hops else None
    if first is not None and first.kind == "cdn_edge" and outer is not None:
        own["edge"] = edge = sum(step.ms for step in first.steps if step.name != WAITS["cdn_edge"])
        if first.waits:
            own["edge to origin"] = max(0.0, outer.total_ms - edge - (own["server"] or 0.0))
    elif outer is not None and outer is not server:
        own["edge to origin"] = max(0.0, outer.total_ms - (own["server"] or 0.0))
    if any(span.kind == "http" for span in spans):
        own["response"] = max(0.0, total_ms - sum(took or 0.0 for took in own.values()))
    return tuple(BudgetRow(name, own[name], typical, note) for name, (typical, note) in TYPICAL.items())
