"""What a link and a server do alike: wait, slow a request's content, alter a response's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from stack.errors import HopError
from stack.faults.active import Active
from stack.faults.content import Altered
from stack.http.message import Request, Response, has_no_content
from stack.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from stack.faults.registry import Faults

Cut = Callable[[Active, str], HopError]
"""The error that ends content early: by (fault, `reset` or `truncate`)."""
_UNKNOWN: Final = float("inf")


async def slow_upload(faults: Faults, hits: Sequence[Active], request: Request, exchange: Exchange) -> Request:
    """The request, with content that comes at the narrowest rate."""
    narrow = _narrowest(hits, "up")
    if narrow is None or not request.body:
        return request
    active, rate = narrow
    faults.note(active, exchange, "bandwidth")
    if isinstance(request.body, bytes):
        await faults.wait(len(request.body) / rate)  # as a whole: so it can be sent again
        return request
    return Request(
        request.method,
        request.target,
        request.fields,
        authority=request.authority,
        scheme=request.scheme,
        version=request.version,
        body=Altered(request.body, wait=faults.wait, rate=rate),
        trailers=request.trailers,
        peer=request.peer,
        interim=request.interim,
        upgrade=request.upgrade,
    )


async def alter(
    faults: Faults, hits: Sequence[Active], request: Request, response: Response, exchange: Exchange, cut: Cut
) -> Response:
    """The response, with content that the faults touch as it is read. Offsets beyond its end touch nothing."""
    length = _length(response)
    late = [active for active in hits if active.fault.slow_close]
    if not length or (has_no_content(request.method, response.status) and response.status != 101):
        for active in late:  # no last byte to hold back: then it is the head
            await faults.wait(active.fault.slow_close or 0.0)
            faults.note(active, exchange, "slow-close")
        return response
    body, framed = response.body, isinstance(response.body, bytes)
    for active in hits:
        fault = active.fault
        if fault.corrupt is not None and fault.corrupt < length:
            body = Altered(body, wait=faults.wait, corrupt=fault.corrupt)
            faults.note(active, exchange, "corrupt")
        for what in ("truncate", "reset"):
            after = getattr(fault, what)
            if after is not None and after < length:
                body = Altered(body, wait=faults.wait, ends_after=after, end=_End(cut, active, what))
                faults.note(active, exchange, what)
        if fault.slow_close:
            body = Altered(body, wait=faults.wait, late=fault.slow_close)
            faults.note(active, exchange, "slow-close")
    if (narrow := _narrowest(hits, "down")) is not None:
        body = Altered(body, wait=faults.wait, rate=narrow[1])
        faults.note(narrow[0], exchange, "bandwidth")
    if body is not response.body:
        response.body = body
        if framed and response.get(b"content-length") is None:
            response.fields = [*response.fields, (b"content-length", b"%d" % int(length))]
    return response


class _End:
    def __init__(self, cut: Cut, active: Active, what: str) -> None:
        self._cut, self._active, self._what = cut, active, what

    def __call__(self) -> HopError:
        return self._cut(self._active, self._what)


def _narrowest(hits: Sequence[Active], direction: str) -> tuple[Active, int] | None:
    rates = [(active, getattr(active.fault, direction) or active.fault.bandwidth) for active in hits]
    return min(((active, rate) for active, rate in rates if rate), key=lambda found: found[1], default=None)


def _length(response: Response) -> float:
    if isinstance(response.body, bytes):
        return len(response.body)
    declared = response.get(b"content-length")
    return int(declared) if declared is not None and declared.isdigit() else _UNKNOWN
