"""Finished exchanges as OpenTelemetry spans, in the JSON encoding of OTLP (opentelemetry-proto, trace/v1).

One server span for the request on this hop, under the span that `traceparent` named, and one internal span below it for
each step. Attributes are those of the HTTP semantic conventions; what is ours begins with `hopstack.`.
"""

from __future__ import annotations

import json
from binascii import hexlify
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

import msgspec

from stack.http.message import Peer, Request
from stack.telemetry.access_log import without_secrets
from stack.telemetry.exchange import Exchange, Mark
from stack.telemetry.requests import METHODS

LONGEST: Final = 1024
"""Characters of an attribute's value; the rest is cut off."""

_INTERNAL: Final = 1
_SERVER: Final = 2
_ERROR: Final = 2
_SAMPLED: Final = 0x01
_KNOWN: Final = 0x100  # SpanFlags: the next bit says whether the parent is in another process
_REMOTE: Final = 0x200
_BITS: Final = 56

_FAILED: Final = frozenset({"failed", "refused", "timeout", "bad-status", "unhealthy"})
"""Words of a step (`stack.path.STEPS`) that make its span an error."""
_OUR_FAULT: Final = frozenset({"upstream-cut", "failed", "drained"})
"""Ways to end that are errors of the server's side; a client that goes away is none."""


class Sampler:
    """Decides which requests are exported, before the next hop is told: its `traceparent` carries the decision.

    Parent-based: what a trusted peer decided holds. Where none did, `share` of the traces, chosen by the last 56 bits
    of their ids (W3C Trace Context Level 2, random trace-id), so that whoever is asked comes to the same answer.
    """

    def __init__(self, share: float) -> None:
        self._below = int(share * (1 << _BITS))

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.parent_span:
            exchange.sampled = int(exchange.trace_id[-_BITS // 4 :], 16) < self._below


class Finished:
    """What an exchange came to, without its content: cheap to keep until somebody has time to write it."""

    __slots__ = (
        "attempts", "authority", "began", "bytes_out", "client", "detail", "ended", "faults", "marks", "method",
        "parent_span", "peer", "proxy_status", "request_id", "scheme", "span_id", "status", "target", "termination",
        "trace_id", "tried", "upstream", "user_agent", "version", "wall",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, ended: float, wall: float) -> None:
        """`ended` on the exchange's clock, `wall` the same moment as Unix time."""
        self.began, self.ended, self.wall = exchange.began, ended, wall
        self.trace_id, self.span_id, self.parent_span = exchange.trace_id, exchange.span_id, exchange.parent_span
        self.request_id, self.client = exchange.request_id, exchange.client
        self.marks: Sequence[Mark] = exchange.marks
        self.status, self.bytes_out = exchange.status, exchange.bytes_out
        self.upstream, self.attempts, self.tried = exchange.upstream, exchange.attempts, exchange.tried
        self.faults = exchange.faults
        self.proxy_status, self.detail, self.termination = exchange.proxy_status, exchange.detail, exchange.termination
        request: Request | None = exchange.request
        self.method = self.target = self.authority = self.scheme = self.version = b""
        self.peer: Peer | None = None
        self.user_agent: bytes | None = None
        if request is not None:
            self.method, self.target, self.authority = request.method, request.target, request.authority
            self.scheme, self.version, self.peer = request.scheme, request.version, request.peer
            self.user_agent = request.get(b"user-agent")


class Spans:
    """Writes batches for one hop, whose resource they all share."""

    def __init__(self, hop: str, *, kind: str, instance: str, version: str, random: Random) -> None:
        """`hop` is `service.name`; `instance` tells its workers apart."""
        self._random = random
        resource = {
            "service.name": hop,
            "service.namespace": "hopstack",
            "service.instance.id": instance,
            "service.version": version,
            "telemetry.sdk.name": "hopstack",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": version,
            "hopstack.kind": kind,
        }
        self._resource = {"attributes": _attributes(resource)}
        self._scope = {"name": "hopstack", "version": version}

    def request(self, batch: Sequence[Finished]) -> bytes:
        """An ExportTraceServiceRequest in JSON, where ids are hexadecimal and 64-bit integers are strings."""
        spans = [span for finished in batch for span in self._spans(finished)]
        scoped = {"scope": self._scope, "spans": spans}
        message = {"resourceSpans": [{"resource": self._resource, "scopeSpans": [scoped]}]}
        try:
            return msgspec.json.encode(message)
        except UnicodeEncodeError:  # half a surrogate pair, in the words of an app's error
            return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")

    def _spans(self, finished: Finished) -> Iterator[dict[str, Any]]:
        trace_id, span_id = finished.trace_id.decode(), finished.span_id.decode()
        epoch = finished.wall - finished.ended
        method = finished.method.decode("latin-1") if finished.method in METHODS else ""
        error = _error(finished)
        server: dict[str, Any] = {
            "traceId": trace_id,
            "spanId": span_id,
            "name": method or "HTTP",
            "kind": _SERVER,
            "startTimeUnixNano": _nanoseconds(epoch + finished.began),
            "endTimeUnixNano": _nanoseconds(epoch + finished.ended),
            "attributes": _attributes(_described(finished, method, error)),
            "flags": _SAMPLED,
        }
        if finished.parent_span:
            server["parentSpanId"] = finished.parent_span.decode()
            server["flags"] = _SAMPLED | _KNOWN | _REMOTE
        if error:
            server["status"] = {"code": _ERROR, "message": finished.detail[:LONGEST] or error}
        yield server
        last, tried = finished.began, iter(finished.tried)
        for step, word, at in finished.marks:
            upstream = next(tried, "") if step == "attempt" else ""
            span: dict[str, Any] = {
                "traceId": trace_id,
                "spanId": hexlify(self._random.randbytes(8)).decode(),
                "parentSpanId": span_id,
                "name": f"{step} {word}",
                "kind": _INTERNAL,
                "startTimeUnixNano": _nanoseconds(epoch + last),
                "endTimeUnixNano": _nanoseconds(epoch + at),
                "attributes": _attributes(
                    {"hopstack.step": step, "hopstack.word": word, "hopstack.upstream": upstream}
                ),
                "flags": _SAMPLED | _KNOWN,
            }
            if word in _FAILED:
                span["status"] = {"code": _ERROR, "message": word}
            yield span
            last = at


def _error(finished: Finished) -> str:
    """`error.type`: low in cardinality, empty for what is no error of the server's side (4xx is the client's)."""
    if finished.status >= 500:
        return finished.proxy_status or str(finished.status)
    return finished.termination if finished.termination in _OUR_FAULT else ""


def _described(finished: Finished, method: str, error: str) -> dict[str, str | int | None]:
    """The attributes of the server span; None and empty ones are left out."""
    peer = finished.peer
    path, _, query = _text(finished.target).partition("?")
    host, port = _host_port(_text(finished.authority))
    return {
        "http.request.method": method or "_OTHER",
        "http.request.method_original": None if method else _text(finished.method),
        "http.response.status_code": finished.status or None,
        "http.response.body.size": finished.bytes_out,
        "url.scheme": _text(finished.scheme),
        "url.path": path,
        "url.query": without_secrets(query),
        "server.address": host,
        "server.port": port,
        "client.address": finished.client,
        "network.peer.address": None if peer is None else peer.address,
        "network.peer.port": None if peer is None else peer.port or None,
        "network.protocol.version": _text(finished.version),
        "tls.protocol.version": None if peer is None or peer.tls is None else peer.tls.version.removeprefix("TLSv"),
        "user_agent.original": None if finished.user_agent is None else _text(finished.user_agent),
        "error.type": error,
        "hopstack.request_id": _text(finished.request_id),
        "hopstack.upstream": finished.upstream,
        "hopstack.attempts": finished.attempts or None,
        "hopstack.proxy_status": finished.proxy_status,
        "hopstack.fault": ", ".join(finished.faults),
        "hopstack.termination": finished.termination,
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value[:LONGEST]}}
        for key, value in values.items()
        if value is not None and value != ""
    ]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _host_port(authority: str) -> tuple[str, int | None]:
    """Of `shop.test:8443`, `[::1]:80`, `shop.test`."""
    host, mark, port = authority.rpartition(":")
    if not mark or port.endswith("]"):
        host, port = authority, ""
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _nanoseconds(seconds: float) -> str:
    """Whole microseconds: a double has no more at Unix times."""
    return f"{int(seconds * 1_000_000)}000"
