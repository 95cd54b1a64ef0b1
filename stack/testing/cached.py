"""What tests ask the edges' caches besides requests: to forget a URL, and to say why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from stack.testing.members import Member

At = Callable[[str, str], str]
"""The URL that is meant at the edge of a name: a key has the port in it, and every edge may have one of its own."""


async def purge(edges: Iterable[Member], url: str, at: At) -> int:
    """How many variants were thrown away. ValueError for what is no URL."""
    count = 0
    for edge in edges:
        if edge.running:
            order = msgspec.json.encode({"url": at(edge.name, url)})
            count += int((await _asked(edge, "/-/purge", order))["purged"])
    return count


async def explain(edge: Member, url: str, at: At, *, method: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The record. ValueError for what cannot be asked."""
    order = msgspec.json.encode({"url": at(edge.name, url), "method": method, "headers": dict(headers)})
    return await _asked(edge, "/-/explain", order)


async def _asked(edge: Member, page: str, order: bytes) -> dict[str, Any]:
    from stack.errors import BadRequest

    try:
        content: Any = (await edge.ask(b"POST", page, order)).body
    except BadRequest as error:
        raise ValueError(error.detail) from None
    return dict(msgspec.json.decode(content))
