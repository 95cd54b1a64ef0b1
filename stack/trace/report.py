"""A trace as JSON: the form that docs/trace.md describes and docs/trace.schema.json holds it to."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stack.http.message import get
from stack.trace.model import Span, Trace
from stack.trace.run import Outcome

VERSION: Final = 1
"""Goes up when a key changes its meaning or goes away; keys may be added without."""

_CONTROLS: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""DEL and C1: JSON lets them stand, but 0x9B is to a terminal what ESC [ is."""


def document(outcomes: Sequence[Outcome]) -> bytes:
    """All requests, in order."""
    return encoded({"version": VERSION, "requests": [_request(one) for one in outcomes if one.trace is not None]})


def encoded(value: object) -> bytes:
    """JSON on several lines, of which no terminal obeys anything that a server sent."""
    written = msgspec.json.format(msgspec.json.encode(value))
    return written.decode().translate(_CONTROLS).encode()


def _request(outcome: Outcome) -> dict[str, Any]:
    trace = outcome.trace
    assert trace is not None
    return {"started": moment(outcome.began), **of(trace)} | {
        "failure": outcome.failure.name.lower().replace("_", "-") if outcome.failure is not None else None,
        "traceparent": _traceparent(outcome),
    }


def of(trace: Trace) -> dict[str, Any]:
    """What of it does not depend on who sent the request."""
    return {
        "method": trace.method,
        "url": trace.url,
        "status": trace.status,
        "protocol": trace.protocol,
        "edge": trace.edge,
        "address": trace.address,
        "size": trace.size,
        "coding": trace.coding,
        "location": trace.location,
        "total_ms": _ms(trace.total_ms),
        "trace_id": trace.trace_id,
        "request_id": trace.request_id,
        "reused": trace.reused,
        "spans": [_span(span) for span in trace.spans],
        "cache": [
            {
                "cache": said.cache,
                "result": said.result,
                "why": said.why,
                "fwd": said.fwd,
                "stored": said.stored,
                "ttl": said.ttl,
                "detail": said.detail,
            }
            for said in trace.cache
        ],
        "proxy_status": [{"hop": said.hop, "error": said.error, "why": said.why} for said in trace.proxy_status],
        "budget": [
            {"name": row.name, "ms": None if row.ms is None else _ms(row.ms), "typical_ms": list(row.typical)}
            for row in trace.budget
        ],
        "error": trace.error,
        "notes": list(trace.notes),
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind,
        "start_ms": _ms(span.start_ms),
        "total_ms": _ms(span.total_ms),
        "own_ms": _ms(span.own_ms),
        "busy_ms": [[_ms(start), _ms(length)] for start, length in span.busy],
        "decision": span.decision,
        "error": span.error,
        "injected": span.injected,
        "faults_ms": [[_ms(start), _ms(length)] for start, length in span.faults],
        "depth": span.depth,
    }


def _traceparent(outcome: Outcome) -> str:
    value = None if outcome.request is None else get(outcome.request.fields, b"traceparent")
    return "" if value is None else value.decode("latin-1")


def _ms(value: float) -> float:
    return round(max(0.0, value), 3)


def moment(seconds: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
