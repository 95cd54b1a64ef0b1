"""From a response's fields and the client's own times to a `Trace`. Pure: no sockets, no clock.

Hops give durations, not moments, so no two clocks need agree. A hop's steps follow one another from its beginning; the
step that waits for the next hop contains that hop's whole stay, which is put into its middle: the way there and the way
back are taken as equally long. docs/trace.md says what follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stack.http.message import Fields, get
from stack.trace import caches, words
from stack.trace.budget import budget
from stack.trace.decisions import decision, failed
from stack.trace.hops import ANSWERED, FAULT, Hop, Said, Step, read
from stack.trace.model import CacheDecision, Interval, Span, Trace


def from_response(
    *,
    method: str,
    url: str,
    status: int,
    fields: Fields,
    sent_ms: float,
    first_ms: float,
    last_ms: float,
    before: Sequence[Span] = (),
    protocol: str = "",
    address: str = "",
    size: int = 0,
    reused: bool = False,
    notes: Sequence[str] = (),
    error: str = "",
) -> Trace:
    """`fields` are the final response's, names in lower case. `before`: spans of DNS, TCP and TLS, in order.

    Milliseconds since the trace began: `sent_ms` when the request was written, `first_ms` when the head of the response
    was there, `last_ms` when its content had ended. `size`: bytes of content as received. `error`: the content broke
    off, and how.
    """
    hops, said = read(fields)
    cache = caches.decisions(fields)
    inner, outer = _path(hops, said, cache, sent_ms, max(0.0, first_ms - sent_ms), url, status)
    http = Span(
        "http",
        "http",
        sent_ms,
        last_ms - sent_ms,
        (last_ms - sent_ms) - outer.total_ms,
        _answer(status, protocol, size, fields, error),
        busy=((sent_ms, outer.start_ms - sent_ms), (outer.end_ms, last_ms - outer.end_ms)),
        error=bool(error),
    )
    spans = (*before, http, *inner)
    request_id = _text(get(fields, b"x-request-id"))
    return Trace(
        method,
        url,
        spans,
        last_ms,
        status=status,
        protocol=protocol,
        edge=hops[0].name if hops else "",
        address=address,
        size=size,
        coding=_text(get(fields, b"content-encoding")),
        location=_text(get(fields, b"location")) if 300 <= status < 400 or status == 201 else "",
        trace_id=request_id if len(request_id) == 32 and set(request_id) <= set("0123456789abcdef") else "",
        request_id=request_id,
        cache=cache,
        proxy_status=caches.errors(fields),
        budget=budget(spans, hops, last_ms),
        error=error,
        notes=tuple(notes),
        reused=reused,
    )


def without_response(
    *,
    method: str,
    url: str,
    spans: Sequence[Span],
    total_ms: float,
    error: str,
    protocol: str = "",
    address: str = "",
    notes: Sequence[str] = (),
) -> Trace:
    """What there is of a request that got no response: `spans` as far as it came, and `error`, one line."""
    return Trace(
        method,
        url,
        tuple(spans),
        total_ms,
        protocol=protocol,
        address=address,
        budget=budget(spans, [], total_ms),
        error=error,
        notes=tuple(notes),
    )


def _path(
    hops: list[Hop],
    said: list[Said],
    cache: Sequence[CacheDecision],
    start: float,
    window: float,
    url: str,
    status: int,
) -> tuple[list[Span], Span]:
    """The spans of the hops, in order, and the outermost. A server that says nothing of itself is one span."""
    if not hops:
        host = url.partition("://")[2].partition("/")[0]
        outer = Span("server", "origin", start, window, window, f"{host}: no times given", busy=((start, window),))
        spans = [outer]
    else:
        total = hops[0].total
        spans = _Placing(hops, {decision.cache: decision for decision in cache}).place(
            0, start + max(0.0, window - total) / 2
        )
        outer = spans[0]
        if outer.end_ms > start + window:  # rounded up: within the client's time all the same
            outer = replace(outer, total_ms=start + window - outer.start_ms)
    for entry in said:
        took = entry.ms or 0.0
        spans.append(Span(entry.name, "said", outer.start_ms, took, took, entry.description, depth=1))
    return spans, outer


@dataclass(frozen=True, slots=True)
class _Placing:
    """Puts each hop into the time in which the one before it waited."""

    hops: Sequence[Hop]
    cache: dict[str, CacheDecision]

    def place(self, index: int, start: float) -> list[Span]:
        hop = self.hops[index]
        behind = self.hops[index + 1] if index + 1 < len(self.hops) else None
        waits = hop.waits
        carrier = _carrier(waits, behind)
        apart = hop.kind == "loadbalancer" and len(waits) > 1
        own = _Share()
        database: list[Interval] = []
        attempts: list[Span] = []
        inner: list[Span] = []
        met: list[tuple[float, Step]] = []
        """Faults since the last other step: those of the attempt that follows."""
        at = start
        for step in hop.steps:
            if step.name == FAULT:
                met.append((at, step))
            elif step in waits:
                answered_here = any(fault.word == "status" for _, fault in met)
                link, within = self._wait(hop, step, at, index, behind if step is carrier else None, answered_here)
                share = _Share() if apart else own
                share.add_faults(met)
                share.busy += link
                if apart:
                    attempts += [_attempt(step, share, at + step.ms, len(attempts), at), *within]
                else:
                    inner += within
                met = []
            else:
                own.add_faults(met)
                met = []
                if step.name == "db":
                    database.append((at, step.ms))
                else:
                    own.busy.append((at, step.ms))
            at += step.ms
        own.add_faults(met)
        span = Span(
            hop.name,
            hop.kind,
            start,
            at - start,
            _sum(own.busy),
            "; ".join(filter(None, (own.named, decision(hop, self.cache.get(hop.name), behind)))),
            busy=_joined(own.busy),
            error=failed(hop),
            injected=bool(own.names),
            faults=_joined(own.faults),
        )
        spans = [span, *attempts, *inner]
        if database:
            queries = "1 query" if len(database) == 1 else f"{len(database)} queries"
            first, last = database[0], database[-1]
            stay = last[0] + last[1] - first[0]
            spans.append(Span("db", "database", first[0], stay, _sum(database), queries, busy=tuple(database), depth=1))
        return spans

    def _wait(
        self, hop: Hop, step: Step, at: float, index: int, behind: Hop | None, answered_here: bool
    ) -> tuple[list[Interval], list[Span]]:
        """The hop's own part of a step that waits, and what lies within."""
        if behind is not None:
            inside = min(behind.total, step.ms)
            link = (step.ms - inside) / 2
            return [(at, link), (at + link + inside, link)], self.place(index + 1, at + link)
        if step.word not in ANSWERED or hop.waits[-1] is not step or answered_here:
            return [(at, step.ms)], []
        # the next one says nothing of itself: all that is known is how long it took with the way there and back
        name = "origin" if not step.to or len(hop.waits) > 1 else step.to
        return [], [Span(name, "origin", at, step.ms, step.ms, "no times given", busy=((at, step.ms),))]


class _Share:
    """A span's own time, and what of it faults took."""

    def __init__(self) -> None:
        self.busy: list[Interval] = []
        self.faults: list[Interval] = []
        self.names: list[str] = []

    def add_faults(self, met: Sequence[tuple[float, Step]]) -> None:
        for at, step in met:
            self.busy.append((at, step.ms))
            self.faults.append((at, step.ms))
            self.names.append(step.word)

    @property
    def named(self) -> str:
        return f"fault: {', '.join(dict.fromkeys(self.names))}" if self.names else ""


def _carrier(waits: Sequence[Step], behind: Hop | None) -> Step | None:
    """Which of the steps that wait contains the hop behind: the one that was sent to it, else the last."""
    if behind is None or not waits:
        return None
    return next((step for step in waits if step.to == behind.name), waits[-1])


def _attempt(step: Step, share: _Share, end: float, before: int, at: float) -> Span:
    start = min([at, *(begin for begin, _ in share.faults)])
    came = f"attempt {before + 1}: {words.ATTEMPT.get(step.word, step.word)}"
    return Span(
        step.to or f"attempt {before + 1}",
        "attempt",
        start,
        end - start,
        _sum(share.busy),
        "; ".join(filter(None, (came, share.named))),
        busy=_joined(share.busy),
        error=step.word != "answered",
        injected=bool(share.names),
        faults=_joined(share.faults),
        depth=1,
    )


def _answer(status: int, protocol: str, size: int, fields: Fields, error: str) -> str:
    if error:
        return f"{protocol} {status}, then: {error}".strip()
    coding = _text(get(fields, b"content-encoding"))
    return f"{protocol} {status}, {amount(size)}{' ' if coding else ''}{coding}".strip()


def amount(size: int) -> str:
    """Bytes as people say them."""
    if size < 1000:
        return f"{size} bytes" if size != 1 else "1 byte"
    if size < 1_000_000:
        return f"{size / 1000:.1f} kB"
    return f"{size / 1_000_000:.1f} MB"


def _sum(intervals: Sequence[Interval]) -> float:
    return sum(length for _, length in intervals)


def _joined(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """What touches is one."""
    out: list[Interval] = []
    for start, length in intervals:
        if length <= 0:
            continue
        if out and abs(out[-1][0] + out[-1][1] - start) < 1e-6:
            out[-1] = (out[-1][0], out[-1][1] + length)
        else:
            out.append((start, length))
    return tuple(out)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")
