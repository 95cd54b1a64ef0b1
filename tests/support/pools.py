"""A pool to an origin under test, and what is sent through it."""

from __future__ import annotations

from stack.clock import Clock, SystemClock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.http.message import Request, Response
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange


def pool(port: int, *, clock: Clock | None = None, connections: int = 8, idle: int = 8, waiting: int = 8) -> Pool:
    return Pool(
        Upstream("origin", "127.0.0.1", port),
        limits=PoolLimits(connections=connections, idle=idle, waiting=waiting),
        timeouts=UpstreamTimeouts(),
        clock=clock or SystemClock(),
        tasks=Tasks(),
    )


def get(method: bytes = b"GET", body: bytes = b"") -> Request:
    return Request(method, b"/x", [(b"accept", b"*/*")], authority=b"a.test", body=body)


async def send(through: Pool, request: Request | None = None) -> Response:
    return await through.send(request or get(), Exchange("t", SystemClock.now))


async def content(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([piece async for piece in response.body])
