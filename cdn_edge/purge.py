"""`POST /-/purge`: everything stored under one URL goes, all its variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs

from cdn_edge.orders import read_json
from cdn_edge.rules.key import Keying
from cdn_edge.store import Store
from stack.errors import BadRequest
from stack.hop.admin import as_json
from stack.http.message import Request, Response

if TYPE_CHECKING:
    from cdn_edge.disk import Disk

_WRITTEN: Final = 'Send {"url": "https://host/path"} as JSON, or ?url= in the query, percent-encoded.'


class Purge:
    """An `AdminHandler`."""

    def __init__(self, store: Store, keying: Keying | None = None, disk: Disk | None = None) -> None:
        self._store = store
        self._keying = keying or Keying()
        self._disk = disk

    async def __call__(self, request: Request) -> Response:
        key = await purged_key(request, self._keying)
        return as_json(said(key, [await self.purge(key)]))

    async def purge(self, key: bytes, by: bytes = b"") -> Purged:
        """`key` as `Keying.exact` has it; `by` as for `Store.invalidate`. Raises `disk.NotForgotten`."""
        amiss, count = "", 0
        for one in self._keying.invalid(key):
            if self._disk is None:
                count += self._store.invalidate(one, by)
            else:
                if by:
                    self._store.invalidate(one, by)
                gone, amiss = await self._disk.purge(one)
                count += gone
        # scheme and port are part of the key, and easily forgotten
        return Purged(count, amiss, () if count or by else tuple(self._store.elsewhere(key)))


class Purged(NamedTuple):
    """What came of it in one store."""

    gone: int
    disk: str = ""
    """What is amiss with the disk."""
    others: Sequence[bytes] = ()
    """Keys that may have been meant, where nothing was found."""


async def purged_key(request: Request, keying: Keying) -> bytes:
    """As `Keying.exact` has it. BadRequest for what names no URL."""
    try:
        return keying.of_url(await _url(request))
    except ValueError as error:
        raise BadRequest(f"{error}.") from None


def said(key: bytes, purged: Sequence[Purged]) -> dict[str, object]:
    """The answer, of one store or of several."""
    answer: dict[str, object] = {"url": key.decode("ascii"), "purged": sum(one.gone for one in purged)}
    if amiss := "; ".join(dict.fromkeys(one.disk for one in purged if one.disk)):
        answer["disk"] = amiss
    if not answer["purged"] and (others := dict.fromkeys(other for one in purged for other in one.others)):
        # latin-1, as keys are made of any bytes
        named = ", ".join(other.decode("latin-1") for other in others)
        answer["hint"] = f"There is {named}: scheme and port are part of the URL."
    return answer


async def _url(request: Request) -> str:
    given = parse_qs((request.query or b"").decode("latin-1")).get("url", [])
    if not given:
        document = await read_json(request, _WRITTEN)
        if isinstance(document, dict) and isinstance(document.get("url"), str):
            given = [document["url"]]
    if len(given) != 1:
        raise BadRequest(_WRITTEN)
    return given[0]
