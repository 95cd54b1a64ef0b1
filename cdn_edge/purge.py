"""`POST /-/purge`: everything stored under one URL goes, all its variants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
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
        url = await _url(request)
        try:
            key = self._keying.of_url(url)
        except ValueError as error:
            raise BadRequest(f"{error}.") from None
        amiss, purged = "", 0
        for one in self._keying.invalid(key):
            if self._disk is None:
                purged += self._store.invalidate(one)
            else:
                count, amiss = await self._disk.purge(one)
                purged += count
        answer: dict[str, object] = {"url": key.decode("ascii"), "purged": purged}
        if amiss:
            answer["disk"] = amiss
        if not answer["purged"] and (others := self._store.elsewhere(key)):
            # scheme and port are part of the key, and easily forgotten; latin-1, as keys are made of any bytes
            named = ", ".join(other.decode("latin-1") for other in others)
            answer["hint"] = f"There is {named}: scheme and port are part of the URL."
        return as_json(answer)


async def _url(request: Request) -> str:
    given = parse_qs((request.query or b"").decode("latin-1")).get("url", [])
    if not given:
        document = await read_json(request, _WRITTEN)
        if isinstance(document, dict) and isinstance(document.get("url"), str):
            given = [document["url"]]
    if len(given) != 1:
        raise BadRequest(_WRITTEN)
    return given[0]
