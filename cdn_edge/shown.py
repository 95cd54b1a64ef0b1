"""Cache-Status where not everybody gets it, or with the key in it. Where all get it without, this is not in the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from cdn_edge.rules import cache_status
from stack.http.message import Fields, Request, Response
from stack.net.service import Service
from stack.telemetry.exchange import Exchange

To = Literal["all", "trusted", "none"]
"""Who gets Cache-Status and X-Cache: `trusted` are those of --trusted."""
_FIELDS: Final = frozenset({b"cache-status", b"x-cache"})
_Key = Callable[[bytes, bytes, bytes], bytes]


class Shown:
    """A `Service` around the edge's own. `key` makes the key of scheme, authority and target; None: it is not told."""

    def __init__(self, service: Service, *, to: To = "all", key: _Key | None = None) -> None:
        self._service = service
        self._to = to
        self._key = key

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        answer = self._service.handle(request, exchange)
        return self._shown(answer, request) if isinstance(answer, Response) else self._later(answer, request)

    async def _later(self, answer: Awaitable[Response], request: Request) -> Response:
        return self._shown(await answer, request)

    def _shown(self, response: Response, request: Request) -> Response:
        fields = response.fields if response.block is None else [*response.block.fields, *response.fields]
        if not self._sees(request):
            fields = [field for field in fields if field[0] not in _FIELDS]
        elif self._key is not None:
            fields = _with_key(fields, self._key(request.scheme, request.authority, request.target))
        response.fields, response.block = fields, None
        return response

    def _sees(self, request: Request) -> bool:
        return self._to == "all" or (self._to == "trusted" and request.peer is not None and request.peer.trusted)


def _with_key(fields: Fields, key: bytes) -> Fields:
    """This cache's own member is the last one of the last line (RFC 9211 §2)."""
    found = list(fields)
    for at in range(len(found) - 1, -1, -1):
        name, value = found[at]
        if name == b"cache-status":
            found[at] = (name, cache_status.with_key(value, key))
            break
    return found
