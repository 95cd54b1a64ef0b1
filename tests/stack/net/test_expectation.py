"""Expect: 100-continue to a next hop of either protocol: no content is read before it is wanted (RFC 9110 §10.1.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal

import pytest

from stack.clock import SystemClock, VirtualClock, settle
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.http.message import Request, Response
from stack.net.expectation import Expectation
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.pools import content
from tests.support.wire import serving

Protocol = Literal["h1", "h2"]


class Upload:
    def __init__(self) -> None:
        self.asked = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        self.asked = True
        yield b"hello"


async def send(
    protocol: Protocol, handler: Callable[[Request, Exchange], Response | Awaitable[Response]]
) -> tuple[Upload, int, bytes]:
    upload = Upload()
    async with serving(handler) as (service, _):
        pool = Pool(
            Upstream("next", "127.0.0.1", service.port, protocol=protocol),
            limits=PoolLimits(),
            timeouts=UpstreamTimeouts(expect=60.0),  # who waits for that long is told by the test's own time-out
            clock=SystemClock(),
            tasks=Tasks(),
        )
        fields = [(b"expect", b"100-continue"), (b"content-length", b"5")]
        request = Request(b"POST", b"/", fields, authority=b"a.test", body=upload.pieces())
        async with asyncio.timeout(20):
            response = await pool.send(request, Exchange("t", SystemClock.now))
            found = await content(response)
        await pool.close()
    return upload, response.status, found


@pytest.mark.parametrize("protocol", ["h1", "h2"])
async def test_content_goes_when_the_next_hop_reads(protocol: Protocol) -> None:
    async def reads(request: Request, exchange: Exchange) -> Response:
        assert not isinstance(request.body, bytes)
        return Response(200, [], b"".join([piece async for piece in request.body]))

    upload, status, found = await send(protocol, reads)
    assert (upload.asked, status, found) == (True, 200, b"hello")


@pytest.mark.parametrize("protocol", ["h1", "h2"])
async def test_a_final_answer_leaves_it_unread(protocol: Protocol) -> None:
    upload, status, found = await send(protocol, lambda request, exchange: Response(413, [], b"no"))
    assert (upload.asked, status, found) == (False, 413, b"no")


async def test_silence_ends_after_a_while() -> None:
    clock, expectation = VirtualClock(), Expectation()
    met = asyncio.create_task(expectation.met(clock, 1.0))
    await settle()
    await clock.advance(0.9)
    assert not met.done()
    await clock.advance(0.2)
    assert await met
    expectation.tell(False)  # too late to count, and no error


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_first_answer_counts(wanted: bool) -> None:
    expectation = Expectation()
    expectation.tell(wanted)
    expectation.tell(not wanted)
    assert await expectation.met(VirtualClock(), 1.0) is wanted
