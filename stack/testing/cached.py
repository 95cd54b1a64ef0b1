"""What tests ask the edges' caches besides requests: to forget a URL, and to say why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from stack.testing.members import Member

At = Callable[[str, str], str]
"""The URL that is meant at the edge of a name: a key has the port in it, and every edge may have one of its own."""


async def purge(edges: Iterable[Member], url: str, at: At) -> int:
    """How many variants were thrown away."""
    count = 0
    for edge in edges:
        if edge.running:
            order = msgspec.json.encode({"url": at(edge.name, url)})
            count += int(_read((await edge.ask(b"POST", "/-/purge", order)).body)["purged"])
    return count


async def explain(edge: Member, url: str, at: At, *, method: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The record. ValueError for what cannot be asked."""
    from stack.errors import BadRequest

    order = msgspec.json.encode({"url": at(edge.name, url), "method": method, "headers": dict(headers)})
    try:
        return _read((await edge.ask(b"POST", "/-/explain", order)).body)
    except BadRequest as error:
        raise ValueError(error.detail) from None


def _read(content: Any) -> dict[str, Any]:
    return dict(msgspec.json.decode(content))
