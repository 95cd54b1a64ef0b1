"""What every hop of a stack saw: its access log as dicts, and the heads it received, by the trace they belong to."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from stack.clock import Clock
from stack.telemetry.access_log import AccessLog
from stack.telemetry.exchange import Exchange
from stack.testing.fields import Fields

MOST: Final = 10_000
"""Lines kept of each hop."""


@dataclass(frozen=True, slots=True)
class Received:
    """The head of a request as a hop received it, with what the hops before it added."""

    method: str
    target: str
    """Path and query, as sent."""
    host: str
    scheme: str
    headers: Fields
    client: str
    """The client's address, as far as this hop believes what it was told."""
    peer: str
    """Who really connected."""

    def __repr__(self) -> str:
        return f"<{self.method} {self.scheme}://{self.host}{self.target} from {self.client}>"


@dataclass(frozen=True, slots=True)
class Entry:
    """One request on one hop."""

    hop: str
    trace_id: str
    line: Mapping[str, Any]
    received: Received
    took: tuple[float, ...]
    """Milliseconds of each mark by the machine's clock, for the stack's own stands still; injected waits on top."""


class Logs(Mapping[str, list[dict[str, Any]]]):
    """`logs["edge-fra"]`: its access log, a dict for each request. `logs.of(r)`: the lines of one request."""

    def __init__(self) -> None:
        self._entries: dict[str, deque[Entry]] = {}
        self._lines: dict[str, deque[dict[str, Any]]] = {}

    def __getitem__(self, hop: str) -> list[dict[str, Any]]:
        if hop not in self._lines:
            raise KeyError(f"no hop is called {hop!r}; there is {', '.join(self._lines)}")
        return list(self._lines[hop])

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def of(self, response: Any) -> list[dict[str, Any]]:
        """Every line of this request, the hop nearest to the client first. Takes a response or a trace id."""
        return [dict(entry.line) for entry in self.entries(getattr(response, "trace_id", response))]

    def entries(self, trace_id: str) -> list[Entry]:
        return [entry for entries in self._entries.values() for entry in entries if entry.trace_id == trace_id]

    def clear(self) -> None:
        for entries in self._entries.values():
            entries.clear()
        for lines in self._lines.values():
            lines.clear()

    # Who fills it.

    def expect(self, hops: Iterable[str]) -> None:
        """In the order of the path, in which lines are given back."""
        for hop in hops:
            self._entries[hop] = deque(maxlen=MOST)
            self._lines[hop] = deque(maxlen=MOST)

    def observer(self, hop: str, clock: Clock, skip: tuple[str, ...]) -> Callable[[Exchange], None]:
        """To be called with every finished exchange of the hop; successful requests for `skip` are not kept."""
        log = AccessLog("off", hop=hop, clock=clock)
        entries, lines = self._entries[hop], self._lines[hop]
        skipped = {target.encode() for target in skip}

        def observe(exchange: Exchange) -> None:
            request = exchange.request
            if request is None or (request.target in skipped and exchange.status < 400 and not exchange.termination):
                return
            line = msgspec.json.decode(log.line(exchange))
            lines.append(line)
            entries.append(Entry(hop, exchange.trace_id.decode(), line, _received(exchange), _took(exchange)))

        return observe

    def line_log(self, hop: str) -> Lines:
        """Stands in for the log of a hop that has one of its own form: DNS."""
        return Lines(self._lines[hop])


class Lines:
    """A `LineLog` in memory."""

    enabled = True
    written = dropped = 0

    def __init__(self, lines: deque[dict[str, Any]]) -> None:
        self._lines = lines

    def add(self, line: str) -> None:
        self._lines.append(msgspec.json.decode(line))

    def add_many(self, lines: str, count: int) -> None:
        self._lines += msgspec.json.Decoder().decode_lines(lines)

    def flush(self, patience: float = 0.0) -> None: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


def _received(exchange: Exchange) -> Received:
    request = exchange.request
    assert request is not None
    return Received(
        request.method.decode("latin-1"),
        request.target.decode("latin-1"),
        request.authority.decode("latin-1"),
        request.scheme.decode("latin-1"),
        Fields(request.fields),
        exchange.client,
        request.peer.address if request.peer is not None else "",
    )


def _took(exchange: Exchange) -> tuple[float, ...]:
    moments = [exchange.began, *(at for _, _, at in exchange.marks)]
    return tuple(
        (after - before) * 1000 + max(0.0, getattr(after, "machine", 0.0) - getattr(before, "machine", 0.0)) * 1000
        for before, after in itertools.pairwise(moments)
    )
