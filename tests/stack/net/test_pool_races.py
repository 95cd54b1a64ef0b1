"""What happens in the same turn of the loop as a request takes its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stack.clock import eventually, settle
from stack.errors import HopError
from tests.support.memory import End, Network
from tests.support.origin import OK, Link, origin
from tests.support.pools import content, get, pool, send


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_connection_that_dies_as_it_is_handed_over_costs_no_request(streamed: bool) -> None:
    """RFC 9110 9.2.2: nothing of the POST was sent, so it goes out on another connection."""
    bodies: list[bytes] = []

    async def script(link: Link) -> None:
        while head := await link.head():
            if head.startswith(b"POST"):
                bodies.append(head)
            link.send(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"hello"

    async with origin(script) as server:
        upstream = pool(server.port, connections=1)
        await content(await send(upstream))
        [connection] = upstream._open
        held = upstream._take()
        assert held is connection
        post = get(b"POST", b"hello")
        if streamed:
            post.body = pieces()  # type: ignore[assignment]
        waiting = asyncio.create_task(send(upstream, post))
        await settle()
        assert upstream.statistics().waiting == 1
        upstream._on_idle(connection)  # the waiter has its turn, and has not woken
        connection.close()
        async with asyncio.timeout(5):
            assert (await waiting).status == 200
        assert len(bodies) == 1
        await upstream.close()


async def test_a_waiter_that_is_cancelled_as_the_pool_closes_stays_cancelled() -> None:
    async def hang(link: Link) -> None:
        await asyncio.Event().wait()

    async with origin(hang) as server:
        upstream = pool(server.port, connections=1)
        first = asyncio.create_task(send(upstream))
        await eventually(lambda: upstream.statistics().open == 1)
        second = asyncio.create_task(send(upstream))
        await settle()
        await upstream.close()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        with pytest.raises(HopError):
            await first


async def test_many_requests_on_a_connection_that_closes_now_and_then() -> None:
    """Keep-alive with an origin that says so: nobody is told that the connection closed."""

    async def script(link: Link) -> None:
        for _ in range(3):
            if not await link.head():
                return
            link.send(OK)
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    async with origin(script) as server:
        upstream = pool(server.port, connections=2, waiting=100)
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(send(upstream, get(b"POST", b"x")) for _ in range(40)))
        assert {answer.status for answer in answers} == {200}
        await upstream.close()


@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_an_answer_and_the_end_of_its_connection_in_one_read(end: str) -> None:
    """The next POST would be written where nobody reads any more, and could not be repeated."""
    loop = asyncio.get_running_loop()
    posts: list[bytes] = []

    class Last(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, End)
            self.end = transport

        def data_received(self, data: bytes) -> None:
            posts.append(data)
            self.end.write(OK)
            if len(posts) == 1:
                self.end.link.move(self.end, 10**6)
                self.end.close() if end == "fin" else self.end.other.fail(ConnectionResetError())
                self.end.link.move(self.end, 10**6)

    net = Network(loop, Last)
    upstream = pool(80, connections=1)
    try:
        requests = [asyncio.create_task(send(upstream, get(b"POST", b"%d" % number))) for number in range(3)]
        for _ in range(20):
            await settle()
            for link in net.links:
                link.move(link.client, 10**6)
                link.move(link.server, 10**6)
        async with asyncio.timeout(5):
            assert [answer.status for answer in await asyncio.gather(*requests)] == [200] * 3
        assert len(posts) == 3
    finally:
        del loop.create_connection
        await upstream.close()
