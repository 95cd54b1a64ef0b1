"""One line of JSON for every query, and the counters of the same words."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

import msgspec

from dns_server.rules import types
from dns_server.rules.names import to_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer
from stack.clock import Clock
from stack.telemetry.exchange import Exchange
from stack.telemetry.line_log import LineLog
from stack.telemetry.metrics import Labels, Metrics


class Cell:
    """Queries that count alike: `count` may be bumped directly."""

    __slots__ = ("count", "labels")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.count = 0


_OPCODES: Final = {4: "notify", 5: "update"}


class QueryLog:
    """Told of every finished query. Keys of a line, in this order: time, hop, client, proto, name, type, rcode,
    flags, marks as [step, word], walk where it was walked, bytes, ms."""

    def __init__(self, target: str, *, hop: str, clock: Clock, metrics: Metrics) -> None:
        self.lines = LineLog(target, clock)
        self.ignored = 0
        """Messages without an answer: too short, or responses."""
        self._hop = msgspec.json.encode(hop).decode()
        self._until = float("-inf")
        self._prefix = ""
        self._clock = clock
        self._now: Callable[[], float] = clock.now
        self._cells: dict[tuple[int, int, str, str], Cell] = {}
        self._queries = metrics.counter(
            "hopstack_dns_queries_total", "Queries answered.", ("type", "rcode", "protocol", "word")
        ).values
        metrics.refreshes.append(self._refresh)
        self._seconds = metrics.counter(
            "hopstack_dns_seconds_total", "Seconds spent on queries, waiting included.", ("protocol",)
        ).values
        metrics.gauge(
            "hopstack_dns_ignored",
            "Messages without an answer: too short, or responses.",
            (),
            lambda: [((), self.ignored)],
        )

    def cell(self, query: Query, answer: Answer, protocol: str) -> Cell:
        """Where such queries are counted."""
        return self.cell_of(query.type, answer.rcode, protocol, answer.word)

    def cell_of(self, type: int, rcode: int, protocol: str, word: str) -> Cell:
        # unknown types share a label: a client must not be able to make series
        key = (type if type in types.TYPES else 0, rcode, protocol, word)
        cell = self._cells.get(key)
        if cell is None:
            labels = (types.TYPES.get(type, "other"), types.rcode_name(rcode), protocol, word)
            cell = self._cells[key] = Cell(labels)
        return cell

    def told(self, seconds: float, protocol: str) -> None:
        """Of queries that were counted in their cells and have no lines: what they took together."""
        self._seconds[protocol,] = self._seconds.get((protocol,), 0.0) + seconds

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
            cell = self.cell(query, answer, protocol)
        cell.count += 1
        took = self._now() - began
        seconds = self._seconds
        seconds[protocol,] = seconds.get((protocol,), 0.0) + took
        if exchange is not None:
            marked = {step for step, _, _ in exchange.marks}  # before a walk, at its time
            for step, word in (*answer.marks, ("answer", answer.word)):
                if step not in marked:
                    exchange.mark(step, word)
            exchange.faults += tuple(name for name in answer.faults if name not in exchange.faults)
        if self.lines.enabled:
            self.lines.add(self._line(query, answer, client, protocol, took, size))

    def _line(self, query: Query, answer: Answer, client: str, protocol: str, took: float, size: int) -> str:
        now = self._now()
        if now >= self._until:
            self._tick(now)
        # what is the same every time the answer is given is written once
        said = answer.said or _said(query, answer)
        return (
            f'{self._prefix}"client":"{client}","proto":"{protocol}",{said},"bytes":{size},"ms":{took * 1000:.3f}}}\n'
        )

    def _tick(self, now: float) -> None:
        """Time (RFC 3339, UTC) and hop: the same for all lines of one millisecond."""
        wall = self._clock.time()
        self._until = now + 0.001 - wall % 0.001
        time = datetime.datetime.fromtimestamp(wall, datetime.UTC)
        self._prefix = f'{{"time":"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z","hop":{self._hop},'

    def _refresh(self) -> None:
        for cell in self._cells.values():
            self._queries[cell.labels] = cell.count

    def statistics(self) -> dict[str, Any]:
        by_word: dict[str, int] = {}
        for cell in self._cells.values():
            by_word[cell.labels[3]] = by_word.get(cell.labels[3], 0) + cell.count
        return {"queries": sum(by_word.values()), "words": by_word, "ignored": self.ignored}


def _said(query: Query, answer: Answer) -> str:
    record: dict[str, Any] = {
        "name": to_text(query.name) if query.name else "",
        "type": types.type_name(query.type) if query.question else "",
        "rcode": types.rcode_name(answer.rcode),
        "flags": _flags(query, answer),
        "marks": [*answer.marks, ("answer", answer.word)],
    }
    if answer.faults:
        record["fault"] = answer.faults
    if answer.walk:
        record["walk"] = answer.walk
    answer.said = msgspec.json.encode(record).decode()[1:-1]
    return answer.said


def _flags(query: Query, answer: Answer) -> list[str]:
    flags = ["aa"] if answer.authoritative else []
    if (opcode := query.flags >> 11 & 0xF) in _OPCODES:
        flags.append(_OPCODES[opcode])
    if query.recursion_desired:
        flags.append("rd")
    if query.edns:
        flags.append("edns")
    if query.dnssec_ok:
        flags.append("do")
    return flags
