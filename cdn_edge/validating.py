"""Asking the origin whether what is stored holds: what was selected, and what is stored for others (RFC 9111 §4.3)."""

from __future__ import annotations

from typing import Final

from cdn_edge.asked import Asked, storable
from cdn_edge.keeping import close
from cdn_edge.origin import Fetched, Origin
from cdn_edge.rules import validation
from cdn_edge.rules.asking import Asking
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from stack.clock import Clock
from stack.http.message import Request

_MOST_TAGS: Final = 8
"""Of other variants in one request."""


class Validating:
    """The question and how its answer is read."""

    def __init__(self, origin: Origin, store: Store, clock: Clock) -> None:
        self._origin = origin
        self._store = store
        self._clock = clock

    async def fetch(self, asked: Asked) -> Fetched:
        """The origin's answer. `validated` after a 304 for what is stored; `asked.stored` then is what it speaks of.

        After a 304 that speaks of something else, what comes without conditions.
        """
        stored = None if asked.why == "partial" else asked.stored
        conditions = [] if stored is None else validation.conditions(stored.fields, self._clock.time())
        others: dict[bytes, Stored] = {}
        if asked.why == "vary-miss" and (others := offers(self._store, asked.key, asked.request, asked.asking)):
            # alone: where something was selected, its tag stands alone, which the simplest of origins understand
            conditions = [(b"if-none-match", b", ".join(others))]
        fetched = await self._origin.fetch(asked.request, asked.exchange, drop=asked.dropped, add=conditions)
        if fetched.response.status == 304 and conditions:
            holds = validation.chosen(fetched.response.fields, others)
            if stored is not None and validation.same_representation(stored.fields, fetched.response.fields):
                holds = stored
            if holds is not None:
                asked.stored = holds
                asked.exchange.mark("fetch", "revalidated")
                return fetched.as_validation()
            await close(fetched.response)
            fetched = await self._origin.fetch(asked.request, asked.exchange, drop=asked.dropped)
        asked.exchange.mark("fetch", "fetched")
        return fetched


def offers(store: Store, key: bytes, request: Request, asked: Asking) -> dict[bytes, Stored]:
    """By strong validator: what is stored under the URL for other request fields, and might do for these too."""
    if not storable(request.method, asked):
        return {}
    found: dict[bytes, Stored] = {}
    for stored in store.variants(key):
        if stored.status == 200 and stored.parts is None:
            tag = validation.offered(stored.fields, request.fields)
            if tag is not None:
                found[tag] = stored
                if len(found) == _MOST_TAGS:
                    break
    return found
