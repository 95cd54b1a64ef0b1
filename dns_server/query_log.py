"""One line of JSON for every query, and the counters of the same words."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from random import Random
from typing import TYPE_CHECKING, Any, Final

from dns_server import query_lines
from dns_server.query_lines import Beginnings
from dns_server.rules import types
from dns_server.rules.names import plain_text, to_text
from dns_server.rules.query import Query, parse
from dns_server.rules.rrset import Answer
from stack.clock import Clock
from stack.telemetry.exchange import Exchange
from stack.telemetry.line_log import LineLog
from stack.telemetry.metrics import Histogram, Labels, Metrics
from stack.telemetry.requests import BOUNDS

if TYPE_CHECKING:
    from dns_server.responses import Finished

SLOW: Final = 0.5
"""Seconds from which a query has its line, sampled or not."""
_BARE: Final = 64
"""Ways to ask bare questions, by flags and OPT, whose text is remembered for what is counted in one cell."""


_MS: Final = tuple(f"{micros / 1000:.3f}" for micros in range(1000))
"""Milliseconds, by microseconds."""


class Cell:
    """Queries that count alike: `count` may be bumped directly."""

    __slots__ = ("bare", "count", "labels", "truncated")

    def __init__(self, labels: Labels, *, truncated: bool = False) -> None:
        self.labels = labels
        """Type, rcode, protocol, zone, word."""
        self.truncated = truncated
        self.count = 0
        self.bare: dict[bytes, tuple[str, str]] = {}
        """What lines of bare questions say before and behind the name, by what else is in the question."""


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
        self._beginnings = Beginnings(hop, clock)
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
        took = self._count(cell, protocol, began)
        if exchange is not None:
            _mark(exchange, answer)
        if self.lines.enabled and (drawn := self._drawn(answer, took)) is not None:
            said = query_lines.said(query, answer, zone=cell.labels[3], truncated=cell.truncated)
            cookie = ',"cookie":"valid"' if query.vouched else ""
            self.lines.add(
                f'{self._beginnings.at(began + took)}{client}","proto":"{protocol}",{said}{cookie},"bytes":{size},'
                f'"ms":{took * 1000:.3f}{drawn}}}\n'
            )

    def again(
        self, known: Finished, client: str, protocol: str, began: float, size: int, exchange: Exchange | None,
        *, vouched: bool = False,
    ) -> None:  # fmt: skip
        """A finished response was given again, with options of the client's if `size` says so."""
        if vouched or size != len(known.tail) + 2 or exchange is not None:
            query = copy(known.query)
            query.vouched = vouched
            self.finished(query, known.answer, client, protocol, began, size, exchange, known.cell)
            return
        took = self._count(known.cell, protocol, began)
        if self.lines.enabled and (drawn := self._drawn(known.answer, took)) is not None:
            line = known.line or _behind_client(known)
            self.lines.add(f"{self._beginnings.at(began + took)}{client}{line}{took * 1000:.3f}{drawn}}}\n")

    def burst(self, found: Sequence[Finished], clients: Sequence[str], took: float) -> None:
        """Finished responses were given to a burst of datagrams, and counted in their cells. `clients`: who asked, in
        the same order; needed if there are lines. `took`: seconds, for each."""
        histogram = self._took["udp"]
        histogram.counts[bisect_left(BOUNDS, took)] += len(found)
        histogram.total += took * len(found)
        if not self.lines.enabled:
            return
        begun, ms = self._beginnings.at(self._now()), f"{took * 1000:.3f}"
        if self._share >= 1 or took >= SLOW:
            pieces = [begun]
            between = f"{ms}}}\n{begun}"
            for known, client in zip(found, clients, strict=True):
                pieces += client, known.line or _behind_client(known), between
            pieces[-1] = f"{ms}}}\n"
            self.lines.add_many("".join(pieces), len(found))
            return
        for known, client in zip(found, clients, strict=True):
            if (drawn := self._drawn(known.answer, took)) is not None:
                self.lines.add(f"{begun}{client}{known.line or _behind_client(known)}{ms}{drawn}}}\n")

    def bare(
        self, message: bytes, labels: int, client: str, protocol: str, began: float, size: int, cell: Cell, rcode: int
    ) -> None:
        """Of one question, with a bare OPT or nothing behind it, that is answered by a zone and not by a failure.
        `labels`: how many its name has."""
        took = self._count(cell, protocol, began)
        if not self.lines.enabled:
            return
        drawn = ""
        if self._share < 1 and took < SLOW:
            if self._random.random() >= self._share:
                return
            drawn = self._sample
        end = len(message) - (15 if message[11] else 4)
        name = message[12:end]
        key = message[2:4] + message[end:]
        behind = cell.bare.get(key) or _behind_name(message, cell, key, rcode)
        text = plain_text(name, labels) or query_lines.name(name)[1:-1]
        micros = int(took * 1e6 + 0.5)
        ms = _MS[micros] if micros < 1000 else f"{took * 1000:.3f}"
        self.lines.add(
            f'{self._beginnings.at(began + took)}{client}{behind[0]}{text}{behind[1]}{size},"ms":{ms}{drawn}}}\n'
        )

    def _count(self, cell: Cell, protocol: str, began: float) -> float:
        """Seconds that it took."""
        cell.count += 1
        took = self._now() - began
        histogram = self._took.get(protocol) or self._histogram(protocol)
        histogram.counts[bisect_left(BOUNDS, took)] += 1
        histogram.total += took
        return took

    def _drawn(self, answer: Answer, took: float) -> str | None:
        """What ends the line; None for no line. Who looks for a failure or a fault looks for each."""
        if self._share >= 1 or took >= SLOW or answer.rcode in _FAILURES or answer.faults:
            return ""
        return self._sample if self._random.random() < self._share else None

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


_FAILURES: Final = frozenset({types.SERVFAIL, types.FORMERR, types.NO_RCODE})


def _mark(exchange: Exchange, answer: Answer) -> None:
    marked = {mark[:2] for mark in exchange.marks}  # before a walk, at its time
    for mark in (*answer.marks, ("answer", answer.word)):
        if mark not in marked:
            exchange.mark(*mark)
    exchange.faults += tuple(name for name in answer.faults if name not in exchange.faults)


def _behind_client(known: Finished) -> str:
    """What lines of a finished response say, up to the time that it took."""
    cell = known.cell
    said = query_lines.said(known.query, known.answer, zone=cell.labels[3], truncated=cell.truncated)
    known.line = f'","proto":"{cell.labels[2]}",{said},"bytes":{len(known.tail) + 2},"ms":'
    return known.line


def _behind_name(message: bytes, cell: Cell, key: bytes, rcode: int) -> tuple[str, str]:
    query = parse(message)
    assert query is not None
    if len(cell.bare) >= _BARE:
        cell.bare.clear()
    answer = Answer(cell.labels[4], rcode, authoritative=True)
    behind = query_lines.behind_name(query, answer, zone=cell.labels[3], truncated=False)
    parts = f'","proto":"{cell.labels[2]}","name":"', f'",{behind},"bytes":'
    cell.bare[key] = parts
    return parts
