"""Metrics that are asked for when they are scraped: sockets, zones, the cache, walks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from dns_server.book import Book, Change
from dns_server.resolver import Resolver
from dns_server.rules.names import to_text
from stack.telemetry.metrics import Metrics
from stack.telemetry.requests import BOUNDS


def of_sockets(metrics: Metrics, sockets: Callable[[], Mapping[str, Any]]) -> None:
    """`sockets`: the listener's statistics."""
    for name, help, key in (
        ("hopstack_dns_connections", "Open connections of DNS over TCP and TLS.", "connections"),
        ("hopstack_dns_connections_total", "Those that were accepted.", "connections_accepted"),
        ("hopstack_dns_waiting", "Datagrams that wait for their answers.", "waiting"),
        ("hopstack_dns_dropped_total", "Datagrams that were dropped: too many waited, or nobody to answer.", "dropped"),
    ):
        metrics.gauge(name, help, (), lambda key=key: [((), float(sockets().get(key, 0)))])  # type: ignore[misc]


def of_zones(metrics: Metrics, book: Book, time: Callable[[], float]) -> None:
    """Serials and faults are told by who transfers and who reads zones."""
    changed: dict[bytes, float] = {}

    def note(change: Change) -> None:
        if change.after is not None:
            changed[change.after.key] = time()
        elif change.before is not None:
            changed.pop(change.before.key, None)

    book.watchers.append(note)
    metrics.gauge(
        "hopstack_dns_zone_names", "Names of a zone.", ("zone",),
        lambda: [((to_text(zone.key),), float(len(zone))) for zone in book.zones.by_key.values()],
    )  # fmt: skip
    metrics.gauge(
        "hopstack_dns_zone_changed_seconds", "When a zone was last loaded or changed, in seconds since 1970.",
        ("zone",), lambda: [((to_text(key),), at) for key, at in changed.items()],
    )  # fmt: skip


def of_resolver(metrics: Metrics, resolver: Resolver) -> None:
    walks = metrics.counter("hopstack_dns_walks_total", "Walks from the root or a known zone down.", ("word",)).values
    took = metrics.histogram("hopstack_dns_walk_seconds", "What a walk took.", (), (), BOUNDS)

    def walked(word: str, seconds: float) -> None:
        walks[word,] = walks.get((word,), 0) + 1
        took.counts[bisect_left(BOUNDS, seconds)] += 1
        took.total += seconds

    resolver.walked = walked
    metrics.gauge(
        "hopstack_dns_walks_in_flight", "Walks under way.", (), lambda: [((), resolver.statistics()["in_flight"])]
    )
    for key, help in (
        ("entries", "RRsets and absences in the cache."),
        ("bytes", "Octets that the cache takes."),
        ("evicted", "Entries that gave way to others."),
    ):
        metrics.gauge(
            f"hopstack_dns_cache_{key}", help, (),
            lambda key=key: [((), float(resolver.cache.statistics()[key]))],  # type: ignore[misc]
        )  # fmt: skip
