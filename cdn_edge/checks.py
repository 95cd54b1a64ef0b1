"""What the options of the cache must be like beyond their types: told of a file, and when an edge starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from cdn_edge.config import Cache, parse_targets
from cdn_edge.rules.key import Keying
from stack.config.base import MIB
from stack.errors import ConfigError

LEAST_DISK: Final = 16 * MIB
LEAST_SLICE: Final = 16 * 1024
"""Bytes. Each slice is an object in the store and may be a request to the origin: of a byte each, they are millions."""


def faults(cache: Cache) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each with the option that it is about, as `("key", "headers")`."""
    if cache.slice and cache.slice < LEAST_SLICE:
        yield ("slice",), "wanted at least 16K, since each slice may be a request to the origin, or 0 for none"
    if cache.disk and cache.disk_size < LEAST_DISK:
        yield ("disk_size",), "wanted at least 16M, of which the index takes its part"
    tests: list[tuple[str, Callable[[tuple[str, ...]], object]]] = [
        ("ignore_query", lambda names: Keying(ignore_query=names)),
        ("only_query", lambda names: Keying(only_query=names)),
        ("headers", lambda names: Keying(headers=names)),
        ("cookies", lambda names: Keying(cookies=names)),
    ]
    for option, test in tests:
        try:
            test(getattr(cache.key, option))
        except ValueError as error:
            yield ("key", option), str(error)
    if cache.key.only_query and cache.key.ignore_query:
        yield ("key", "only_query"), "with ignore_query beside it, which excludes it; give one of them"
    try:
        parse_targets(cache.targets)
    except ConfigError as error:
        yield ("targets",), str(error)


def check(cache: Cache) -> None:
    """ConfigError for the first of the `faults`."""
    for path, text in faults(cache):
        raise ConfigError(f"--cache-{'-'.join(path).replace('_', '-')}: {text}")
