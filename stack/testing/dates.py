"""An app has the machine's clock, and the stack may be an hour ahead: what it dates is dated by the stack's clock."""

from __future__ import annotations

from typing import Any

from stack.faults.net import FaultyNet
from stack.http.dates import http_date, parse_http_date
from stack.http.message import Fields, Request, Response
from stack.net.pool import Pool, Upstream
from stack.telemetry.exchange import Exchange
from stack.testing.clock import StackClock


class OnTime(FaultyNet):
    """A proxy's network: the Date and Expires of its app's responses are moved by what the clocks are apart."""

    clock: StackClock

    def pool(self, upstream: Upstream, **how: Any) -> Pool:
        pool = super().pool(upstream, **how)
        send, clock = pool.send, self.clock

        async def sent(request: Request, exchange: Exchange, *, plain: bool = False) -> Response:
            response = await send(request, exchange, plain=plain)
            # a hindered send comes through here once more, as a plain one
            if (plain or pool.hindered is None) and (behind := clock.behind()) >= 1.0:
                response.fields = moved(response.fields, behind, clock.time())
            return response

        pool.send = sent  # type: ignore[method-assign]
        return pool


def moved(fields: Fields, behind: float, now: float) -> Fields:
    """`behind`: seconds that the app's clock is behind. A Date that is right already was set by a hop, and stays."""
    return [(name, _moved(name, value, behind, now)) for name, value in fields]


def _moved(name: bytes, value: bytes, behind: float, now: float) -> bytes:
    if name not in (b"date", b"expires") or (moment := parse_http_date(value, now)) is None:
        return value
    if name == b"date" and abs(moment - now) < abs(moment + behind - now):
        return value
    return http_date(moment + behind)
