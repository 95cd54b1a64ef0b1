"""A connection that is taken by the next request before the task of the last one has woken."""

from __future__ import annotations

import asyncio

import pytest

from stack.clock import SystemClock
from stack.config.base import UpstreamTimeouts
from stack.http.message import Request, Response
from stack.net.h1_client import H1ClientConnection
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.origin import OK


class Transport(asyncio.Transport):
    aborted = False

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        pass


@pytest.fixture
async def connection() -> H1ClientConnection:
    made = H1ClientConnection(
        name="up", timeouts=UpstreamTimeouts(), clock=SystemClock(), tasks=Tasks(), max_buffer=1024,
        on_idle=lambda _: None, on_closed=lambda _: None,
    )  # fmt: skip
    made.connection_made(Transport())
    return made


def send(connection: H1ClientConnection) -> asyncio.Task[Response]:
    request = Request(b"GET", b"/", [], authority=b"shop.test")
    return asyncio.ensure_future(connection.send(request, Exchange("hop", lambda: 0.0)))


@pytest.mark.parametrize("first_leaves", [False, True])
async def test_the_next_request_keeps_its_answer(connection: H1ClientConnection, first_leaves: bool) -> None:
    first = send(connection)
    await asyncio.sleep(0)
    second = send(connection)  # its first step comes before the first one's task wakes
    connection.data_received(OK)
    if first_leaves:
        asyncio.get_running_loop().call_soon(first.cancel)
    for _ in range(5):
        await asyncio.sleep(0)
    connection.data_received(OK)
    async with asyncio.timeout(5):
        assert (await second).body == b"ok"
    assert not connection.closed
    assert first.cancelled() or (await first).status == 200


async def test_a_response_with_trailers_that_comes_in_one_read_frees_its_connection(
    connection: H1ClientConnection,
) -> None:
    request = Request(b"GET", b"/", [], authority=b"a.test")
    asked = asyncio.ensure_future(connection.send(request, Exchange("t", SystemClock.now)))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert connection.idle
    response = await asked
    assert not isinstance(response.body, bytes)
    assert [piece async for piece in response.body] == [b"ok"]
    assert response.trailers == [(b"x-sum", b"1")]
