"""What the benches found, as lines of a table and as records for JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from tests.bench.benches import Bench
from tests.bench.latency import Timed, added
from tests.bench.meter import rss
from tests.bench.rounds import Target, ratio
from tests.bench.startup import LIMIT, Started

Record = dict[str, Any]

HEADING = f"{'':24}{'us/request':>12}{'range':>18}{'ratio':>8}{'at most':>9}{'req/s':>10}{'MB':>7}"


def compared(name: str, bench: Bench, targets: Sequence[Target]) -> list[Record]:
    """A record for each target; the limit is of the second, ours, and of who is held to it."""
    records = []
    for number, target in enumerate(targets):
        found = 1.0 if number == 0 else ratio(target.micros, targets[0].micros)
        limit = bench.limit if number == 1 or target.held else None
        records.append(
            {
                "bench": name,
                "about": bench.about,
                "target": target.name,
                "us_per_request": _rounded(target.median, 2),
                "rounds": [round(one, 2) for one in target.micros],
                "ratio": _rounded(found, 3),
                "limit": limit,
                "met": None if limit is None else bool(found <= limit),
                "requests_per_second": round(target.rate),
                "rss_bytes": rss(*target.pids),
                "faults": target.faults,
            }
        )
    return records


def line(record: Record) -> str:
    rounds = record["rounds"] or [math.nan]
    span = f"{min(rounds):.1f}..{max(rounds):.1f}"
    verdict = "" if record["limit"] is None else f"{record['limit']:.2f} {'ok' if record['met'] else '!!'}"
    return (
        f"{record['target']:24}{_number(record['us_per_request'], 1):>12}{span:>18}{_number(record['ratio'], 2):>8}"
        f"{verdict:>9}{record['requests_per_second']:10.0f}{record['rss_bytes'] / 1e6:7.0f}"
    )


LATENCY_HEADING = f"{'':24}{'median us':>12}{'p99 us':>12}{'adds (median)':>16}{'adds (p99)':>12}"


def timed(name: str, rate: int, base: Timed | None, found: Sequence[Timed]) -> list[Record]:
    records = []
    for one in found:
        records.append(
            {
                "bench": "latency",
                "about": name,
                "target": one.target.name,
                "rate": rate,
                "p50_us": _rounded(added(one.p50, ()), 1),
                "p99_us": _rounded(added(one.p99, ()), 1),
                "added_p50_us": _rounded(added(one.p50, base.p50 if base else ()), 1),
                "added_p99_us": _rounded(added(one.p99, base.p99 if base else ()), 1),
                "faults": one.faults,
            }
        )
    return records


def latency_line(record: Record) -> str:
    return (
        f"{record['target']:24}{_number(record['p50_us'], 0):>12}{_number(record['p99_us'], 0):>12}"
        f"{_number(record['added_p50_us'], 0):>16}{_number(record['added_p99_us'], 0):>12}"
    )


def started(found: Sequence[Started]) -> list[Record]:
    records = []
    for first in (True, False):
        ones = [one for one in found if one.first is first]
        if ones:
            seconds = statistics.median(one.seconds for one in ones)
            records.append(
                {
                    "bench": "startup",
                    "about": f"the default stack, {ones[0].hops} hops",
                    "target": "first start" if first else "start",
                    "seconds": round(seconds, 3),
                    "cpu_seconds": round(statistics.median(one.cpu for one in ones), 3),
                    "range": [round(min(one.seconds for one in ones), 3), round(max(one.seconds for one in ones), 3)],
                    "limit": LIMIT,
                    "met": seconds <= LIMIT,
                    "rss_bytes": ones[-1].rss,
                    "faults": [],
                }
            )
    return records


STARTUP_HEADING = f"{'':24}{'seconds':>12}{'range':>18}{'CPU s':>8}{'at most':>9}{'':10}{'MB':>7}"


def startup_line(record: Record) -> str:
    low, high = record["range"]
    verdict = "" if record["limit"] is None else f"{record['limit']:.2f} {'ok' if record['met'] else '!!'}"
    return (
        f"{record['target']:24}{record['seconds']:12.2f}{f'{low:.2f}..{high:.2f}':>18}{record['cpu_seconds']:8.2f}"
        f"{verdict:>9}{'':10}{record['rss_bytes'] / 1e6:7.0f}"
    )


def loaded(name: str, targets: Sequence[Target]) -> list[Record]:
    """A record for each start that is of interest."""
    return [
        {
            "bench": name,
            "about": "until the first answer",
            "target": load.name,
            "seconds": round(load.seconds, 3),
            "cpu_seconds": round(load.cpu, 3),
            "range": [round(load.seconds, 3)] * 2,
            "limit": load.limit,
            "met": None if load.limit is None else load.seconds <= load.limit,
            "rss_bytes": load.bytes,
            "faults": [],
        }
        for target in targets
        for load in target.loads
    ]


def _rounded(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
