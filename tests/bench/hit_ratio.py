"""Hit ratios of the edge's eviction beside others': drawn streams, and nothing but arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.support.hit_ratios import POLICIES, ratios, zipf

OBJECTS: Final = 20_000
REQUESTS: Final = 400_000
STREAMS: Final[dict[str, dict[str, Any]]] = {
    "10 KB each": {},
    "10 KB each, 20 scans": {"scans": 20},
    "web-like sizes": {"web": True},
    "web-like sizes, 20 scans": {"web": True, "scans": 20},
}
"""Zipf 1.0, and what is special about each."""
SHARES: Final = (0.01, 0.1)
"""Room, of the bytes of all objects that are asked for again."""
HEADING: Final = f"{'stream':26}{'room':>6}" + "".join(f"{name:>16}" for name in POLICIES)


@dataclass(frozen=True, slots=True)
class Row:
    stream: str
    room: float
    found: dict[str, tuple[float, float]]
    """By policy: of the requests, of the bytes."""


def rows(objects: int = OBJECTS, requests: int = REQUESTS) -> Iterator[Row]:
    for name, drawn in STREAMS.items():
        stream = zipf(objects, requests, **drawn)
        known = sum(stream.sizes[:objects])
        for share in SHARES:
            limit = int(known * share)
            found = {policy: ratios(stream, make(limit), limit) for policy, make in POLICIES.items()}
            yield Row(name, share, found)


def line(row: Row) -> str:
    cells = "".join(f"{f'{hits * 100:.1f} ({size * 100:.1f})':>16}" for hits, size in row.found.values())
    return f"{row.stream:26}{row.room:>6.0%}{cells}"


def record(row: Row) -> dict[str, Any]:
    """Met, if ours is ahead of LRU."""
    return {
        "bench": "hit-ratio",
        "target": f"{row.stream}, room {row.room:.0%}",
        "faults": [],
        "hit ratios": row.found,
        "ratio": row.found["LRU"][0] / row.found["S3-FIFO"][0],
        "limit": 1.0,
        "met": row.found["S3-FIFO"][0] > row.found["LRU"][0],
    }
