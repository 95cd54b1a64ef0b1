"""Two groups of targets, HTTP and DNS: each has its corpus, and as many inputs as the other. Imported when needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.fuzz.mutator import Target

HTTP: Final = (
    "request-head", "response-head", "chunked", "h2-server", "h2-client", "h1-connection", "h2-connection", "hpack",
    "downgrade", "field-lists", "field-values", "forwarded",
)  # fmt: skip
DNS: Final = ("dns-query", "dns-reply", "dns-stream")
NAMES: Final = (*HTTP, *DNS)


def sources(name: str) -> str:
    """The package that the target is to reach every corner of."""
    return "dns_server.rules" if name in DNS else "stack.http"


def target_of(name: str) -> Target:
    if name in DNS:
        from tests.fuzz import dns_targets

        return dns_targets.TARGETS[name]
    from tests.fuzz import targets

    return targets.TARGETS[name]


def corpus_of(name: str) -> tuple[list[bytes], Sequence[bytes]]:
    """Inputs to begin with, and pieces to put into them."""
    if name in DNS:
        from tests.fuzz import dns_corpus

        return dns_corpus.seeds(name), dns_corpus.TOKENS
    from tests.fuzz import corpus

    return corpus.seeds(name), corpus.TOKENS


def shares(inputs: int) -> dict[str, int]:
    """Inputs of each target when each group has so many."""
    return {name: -(-inputs // len(group)) for group in (HTTP, DNS) for name in group}
