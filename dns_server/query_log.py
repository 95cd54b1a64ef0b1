"""One line of JSON for every query, and the counters of the same words."""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec

from dns_server.rules import types
from dns_server.rules.names import to_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer
from stack.clock import Clock
from stack.telemetry.exchange import Exchange
from stack.telemetry.line_log import LineLog
from stack.telemetry.metrics import Histogram, Labels, Metrics
from stack.telemetry.requests import BOUNDS

SLOW: Final = 0.5
"""Seconds from which a query has its line, sampled or not."""


class Cell:
    """Queries that count alike: `count` may be bumped directly."""

    __slots__ = ("count", "labels", "truncated")

    def __init__(self, labels: Labels, *, truncated: bool = False) -> None:
        self.labels = labels
        """Type, rcode, protocol, zone, word."""
        self.truncated = truncated
        self.count = 0


_OPCODES: Final = {4: "notify", 5: "update"}


class QueryLog:
    """Told of every finished query. Keys of a line, in this order: time, hop, client, proto, name, type, zone, rcode,
    flags, marks as [step, word]; and where there is something to say: edns (octets the client takes), ede (code and
    text), fault (names of those injected), walk (whom it asked), cookie; then bytes, ms, and sample if it was drawn."""

    def __init__(
        self,
        target: str,
        *,
        hop: str,
        clock: Clock,
        metrics: Metrics,
        share: float = 1.0,
        random: Random | None = None,
        zone_of: Callable[[bytes, int], bytes | None] | None = None,
    ) -> None:
        """`share` of the lines is written, and every line of a failure, a fault and a slow answer. `zone_of`: the key
        of the zone that answers for a name and type."""
        self.lines = LineLog(target, clock)
        self._share = share
        self._random = random or Random(hop)  # noqa: S311 - a sample, no secret
        self._sample = f',"sample":{share:g}' if share < 1 else ""
        self._zone_of = zone_of
        self.made = 0
        """Responses that were made; all others were kept from before."""
        self.ignored = 0
        """Messages without an answer: too short, or responses."""
        self._hop = msgspec.json.encode(hop).decode()
        self._until = float("-inf")
        self._prefix = ""
        self._clock = clock
        self._now: Callable[[], float] = clock.now
        self._cells: dict[tuple[int, int, str, str, bytes, bool], Cell] = {}
        self._metrics = metrics
        self._queries = metrics.counter(
            "hopstack_dns_queries_total",
            "Queries, by what they came to.",
            ("type", "rcode", "protocol", "zone", "word"),
        ).values
        self._truncated = metrics.counter(
            "hopstack_dns_truncated_total", "Responses with TC: the client is to ask over TCP.", ("protocol",)
        ).values
        self._limited = metrics.counter(
            "hopstack_dns_rate_limited_total", "Queries whose answer was withheld by rate limiting.", ("protocol",)
        ).values
        self._responses = metrics.counter(
            "hopstack_dns_responses_total", "Responses made, and given again as they were.", ("how",)
        ).values
        metrics.refreshes.append(self._refresh)
        self._took: dict[str, Histogram] = {}
        for protocol in ("udp", "tcp"):
            self._histogram(protocol)
        metrics.gauge(
            "hopstack_dns_ignored",
            "Messages without an answer: too short, or responses.",
            (),
            lambda: [((), self.ignored)],
        )

    def cell(self, query: Query, answer: Answer, protocol: str, *, truncated: bool = False, made: bool = True) -> Cell:
        """Where such queries are counted. `made`: whether the response was made for this one."""
        zone = self._zone_of(query.key, query.type) if self._zone_of is not None and query.key else None
        self.made -= not made
        return self.cell_of(query.type, answer.rcode, protocol, answer.word, zone or b"", truncated=truncated)

    def cell_of(
        self, type: int, rcode: int, protocol: str, word: str, zone: bytes = b"", *, truncated: bool = False
    ) -> Cell:
        """`zone`: its key; empty for a name that no zone has, and of a resolver."""
        self.made += 1
        # unknown types share a label: a client must not be able to make series
        key = (type if type in types.TYPES else 0, rcode, protocol, word, zone, truncated)
        cell = self._cells.get(key)
        if cell is None:
            labels = (
                types.TYPES.get(type, "other"), types.rcode_name(rcode), protocol, to_text(zone) if zone else "", word,
            )  # fmt: skip
            cell = self._cells[key] = Cell(labels, truncated=truncated)
        return cell

    def told(self, count: int, seconds: float, protocol: str) -> None:
        """Of queries that were counted in their cells and have no lines: how many, and what they took together."""
        histogram = self._took.get(protocol) or self._histogram(protocol)
        histogram.counts[bisect_left(BOUNDS, seconds / count)] += count
        histogram.total += seconds

    def _histogram(self, protocol: str) -> Histogram:
        histogram = self._took[protocol] = self._metrics.histogram(
            "hopstack_dns_seconds", "From a query read to its response handed on, waiting included.",
            ("protocol",), (protocol,), BOUNDS,
        )  # fmt: skip
        return histogram

    def finished(
        self,
        query: Query,
        answer: Answer,
        client: str,
        protocol: str,
        began: float,
        size: int,
        exchange: Exchange | None = None,
        cell: Cell | None = None,
    ) -> None:
        """`cell`: that of such queries, where it is known."""
        if cell is None:
            cell = self.cell(query, answer, protocol, truncated=answer.truncated)
        cell.count += 1
        took = self._now() - began
        histogram = self._took.get(protocol) or self._histogram(protocol)
        histogram.counts[bisect_left(BOUNDS, took)] += 1
        histogram.total += took
        if exchange is not None:
            marked = {mark[:2] for mark in exchange.marks}  # before a walk, at its time
            for mark in (*answer.marks, ("answer", answer.word)):
                if mark not in marked:
                    exchange.mark(*mark)
            exchange.faults += tuple(name for name in answer.faults if name not in exchange.faults)
        if self.lines.enabled:
            if self._share >= 1 or took >= SLOW or _is_notable(answer):
                self.lines.add(self._line(query, answer, client, protocol, took, size, cell, ""))
            elif self._random.random() < self._share:
                self.lines.add(self._line(query, answer, client, protocol, took, size, cell, self._sample))

    def _line(
        self, query: Query, answer: Answer, client: str, protocol: str, took: float, size: int, cell: Cell, tail: str
    ) -> str:
        now = self._now()
        if now >= self._until:
            self._tick(now)
        # what is the same every time the answer is given is written once
        said = answer.said or _said(query, answer, cell)
        if query.vouched:
            tail = f',"cookie":"valid"{tail}'
        return (
            f'{self._prefix}"client":"{client}","proto":"{protocol}",{said},"bytes":{size},"ms":{took * 1000:.3f}'
            f"{tail}}}\n"
        )

    def _tick(self, now: float) -> None:
        """Time (RFC 3339, UTC) and hop: the same for all lines of one millisecond."""
        wall = self._clock.time()
        self._until = now + 0.001 - wall % 0.001
        time = datetime.datetime.fromtimestamp(wall, datetime.UTC)
        self._prefix = f'{{"time":"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z","hop":{self._hop},'

    # Of a worker, to the process that metrics are asked of.

    def taken(self) -> list[Any]:
        """What was counted since the last call, for `add`; empty for nothing. From then on it is somebody else's."""
        cells = [(key, cell.count) for key, cell in self._cells.items() if cell.count]
        if not cells and not self.ignored:
            return []
        took = [(protocol, histogram.counts[:], histogram.total) for protocol, histogram in self._took.items()]
        tally = [cells, took, self.made, self.ignored]
        for cell in self._cells.values():
            cell.count = 0
        for histogram in self._took.values():
            histogram.counts[:] = [0] * len(histogram.counts)
            histogram.total = 0.0
        self.made = self.ignored = 0
        return tally

    def add(self, tally: Sequence[Any]) -> int:
        """What a worker has `taken`. Gives how many queries that were."""
        cells, took, made, ignored = tally
        for (type, rcode, protocol, word, zone, truncated), count in cells:
            self.cell_of(type, rcode, protocol, word, zone, truncated=truncated).count += count
        for protocol, counts, total in took:
            histogram = self._took.get(protocol) or self._histogram(protocol)
            histogram.counts[:] = map(sum, zip(histogram.counts, counts, strict=True))
            histogram.total += total
        self.made += made - len(cells)  # those that finding the cells has counted
        self.ignored += ignored
        return sum(count for _, count in cells)

    def _refresh(self) -> None:
        queries: dict[Labels, float] = {}
        truncated, limited = Counter[Labels](), Counter[Labels]()
        for cell in self._cells.values():
            queries[cell.labels] = queries.get(cell.labels, 0) + cell.count
            _, _, protocol, _, word = cell.labels
            truncated[protocol,] += cell.count if cell.truncated else 0
            limited[protocol,] += cell.count if word == "rate-limited" else 0
        self._queries.update(queries)
        self._truncated.update(truncated)
        self._limited.update(limited)
        self._responses["made",] = self.made
        self._responses["kept",] = max(0.0, sum(queries.values()) - self.made)

    def statistics(self) -> dict[str, Any]:
        by_word: dict[str, int] = {}
        for cell in self._cells.values():
            by_word[cell.labels[4]] = by_word.get(cell.labels[4], 0) + cell.count
        return {
            "queries": sum(by_word.values()),
            "words": by_word,
            "ignored": self.ignored,
            "log": {"written": self.lines.written, "dropped": self.lines.dropped, "share": self._share},
        }


def _is_notable(answer: Answer) -> bool:
    """Has its line whatever is drawn: who looks for it looks for each."""
    return answer.rcode in _FAILURES or bool(answer.faults)


_FAILURES: Final = frozenset({types.SERVFAIL, types.FORMERR, types.NO_RCODE})


def _said(query: Query, answer: Answer, cell: Cell) -> str:
    record: dict[str, Any] = {
        "name": to_text(query.name) if query.name else "",
        "type": types.type_name(query.type) if query.question else "",
        **({"zone": cell.labels[3]} if cell.labels[3] else {}),
        "rcode": types.rcode_name(answer.rcode),
        "flags": _flags(query, answer, cell),
        "marks": [*answer.marks, ("answer", answer.word)],
    }
    if query.edns:
        record["edns"] = query.payload
    if answer.explained is not None and query.edns:
        record["ede"] = answer.explained
    if answer.faults:
        record["fault"] = answer.faults
    if answer.walk:
        record["walk"] = answer.walk
    answer.said = msgspec.json.encode(record).decode()[1:-1]
    return answer.said


def _flags(query: Query, answer: Answer, cell: Cell) -> list[str]:
    flags = ["aa"] if answer.authoritative else []
    if cell.truncated:
        flags.append("tc")
    if (opcode := query.flags >> 11 & 0xF) in _OPCODES:
        flags.append(_OPCODES[opcode])
    if query.recursion_desired:
        flags.append("rd")
    if query.edns:
        flags.append("edns")
    if query.dnssec_ok:
        flags.append("do")
    if query.tsig is not None:
        flags.append("tsig")
    return flags
