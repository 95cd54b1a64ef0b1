"""An edge that stands behind proxies it trusts: what they say of a request is part of what is stored for it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from cdn_edge.handler import Edge
from cdn_edge.rules import asking
from cdn_edge.rules.vary import SAID_BY_PROXIES
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from cdn_edge.disk_tier import Brought


class BelievingEdge(Edge):
    """The origin is told a trusted peer's X-Forwarded-Proto, and may answer by it; another peer's it is not told.

    So the former is told apart as if Vary named it, and the latter is as good as not sent. An edge that trusts nobody
    needs none of this.
    """

    said = asking.TOLD | SAID_BY_PROXIES

    def handle(
        self, request: Request, exchange: Exchange, brought: Brought | None = None
    ) -> Response | Awaitable[Response]:
        peer = request.peer
        if (peer is None or not peer.trusted) and any(name in SAID_BY_PROXIES for name, _ in request.fields):
            request = _without_claims(request)
        return super().handle(request, exchange, brought)


def _without_claims(request: Request) -> Request:
    fields = [field for field in request.fields if field[0] not in SAID_BY_PROXIES]
    anew = Request(
        request.method,
        request.target,
        fields,
        authority=request.authority,
        scheme=request.scheme,
        version=request.version,
        body=request.body,
        trailers=request.trailers,
        peer=request.peer,
        interim=request.interim,
        upgrade=request.upgrade,
    )
    if request.noted is not None:
        anew.noted = [field for field in request.noted if field[0] not in SAID_BY_PROXIES]
    return anew
