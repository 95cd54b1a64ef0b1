"""Streams of an upstream HTTP/2 connection that end early, and room that nobody may lose."""

from __future__ import annotations

import asyncio

import pytest

from stack.clock import VirtualClock, eventually, settle
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import HopError, ResponseIncomplete, ResponseTimeout
from stack.http import h2_wire as wire
from stack.http.message import Request
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from tests.stack.net.test_h2_client import OK, connected, content, get, send
from tests.support.h2_peer import Peer, request_on, server
from tests.support.pools import send as send_through


def h2_pool(port: int, *, connections: int = 1) -> Pool:
    return Pool(
        Upstream("origin", "127.0.0.1", port, protocol="h2"),
        limits=PoolLimits(connections=connections),
        timeouts=UpstreamTimeouts(),
        clock=VirtualClock(),
        tasks=Tasks(),
    )


async def test_an_early_answer_to_a_whole_content_leaves_nothing_to_send() -> None:
    """RFC 9113 8.1: the window never opened; when its time is over nobody looks for the stream any more."""
    clock = VirtualClock()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, [(b":status", b"413")]))
        await peer.reset_of(stream)
        second = await request_on(peer)
        peer.send(peer.headers(second, OK))
        await peer.next()

    async with server(script) as port, connected(port, clock) as (connection, _):
        answer = await send(connection, Request(b"POST", b"/", [], authority=b"a.test", body=bytes(300_000)))
        assert answer.status == 413
        assert len(connection._outbox) == 0
        assert (await send(connection)).status == 200
        clock.leap(clock.now() + 29)
        connection.expire()
        clock.leap(clock.now() + 2)
        connection.expire()  # idle, not stalled
        assert connection.closed


async def test_room_that_a_request_did_not_use_goes_to_the_next() -> None:
    """A request that cannot be written takes nothing away from who waits behind it."""

    async def script(peer: Peer) -> None:
        first = await request_on(peer)
        await asyncio.sleep(0.05)
        peer.send(peer.headers(first, OK))
        while True:
            peer.send(peer.headers(await request_on(peer), OK))

    async with server(script, {3: 1}) as port:
        pool = h2_pool(port)
        first = asyncio.create_task(send_through(pool))
        await eventually(lambda: pool.statistics().open == 1)
        await settle()
        broken = get()
        broken.fields = [(b"x", b"a\r\nb: c")]
        second = asyncio.create_task(send_through(pool, broken))
        third = asyncio.create_task(send_through(pool))
        async with asyncio.timeout(5):
            assert (await first).status == 200
            with pytest.raises(HopError):
                await second
            assert (await third).status == 200
        await pool.close()


async def test_settings_that_allow_more_streams_let_in_who_waits() -> None:
    """RFC 9113 6.5.2: the limit may change at any time."""
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        streams = [await request_on(peer)]
        await more.wait()
        peer.send(peer.settings({3: 10}))
        streams += [await request_on(peer) for _ in range(2)]
        for stream in streams:
            peer.send(peer.headers(stream, OK))
        await peer.next()

    async with server(script, {3: 1}) as port:
        pool = h2_pool(port)
        requests = [asyncio.create_task(send_through(pool)) for _ in range(3)]
        await eventually(lambda: pool.statistics().open == 1 and pool.statistics().waiting == 2)
        more.set()
        async with asyncio.timeout(5):
            assert [answer.status for answer in await asyncio.gather(*requests)] == [200] * 3
        await pool.close()


async def test_trailers_of_a_response_that_came_in_one_piece_are_there_to_be_framed() -> None:
    """A message of bytes cannot carry trailers over HTTP/1.1: with trailers it stays a stream."""

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(
            peer.headers(stream, OK, end=False)
            + peer.data(stream, b"hello")
            + peer.headers(stream, [(b"grpc-status", b"0")])
        )
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        answer = await send(connection)
        assert not isinstance(answer.body, bytes)
        assert await content(answer) == b"hello"
        assert answer.trailers == [(b"grpc-status", b"0")]
        assert not connection._streams


async def test_a_refused_stream_is_sent_again_where_no_other_connection_may_be_opened() -> None:
    """RFC 9113 8.7: REFUSED_STREAM is safe to send again, on the same connection too."""

    async def script(peer: Peer) -> None:
        peer.send(peer.reset(await request_on(peer), 7))
        peer.send(peer.headers(await request_on(peer), OK))
        peer.send(peer.reset(await request_on(peer), 7))
        peer.send(peer.headers(await request_on(peer), OK))
        await peer.next()

    async with server(script) as port:
        pool = h2_pool(port)
        async with asyncio.timeout(5):
            assert (await send_through(pool)).status == 200
            assert (await send_through(pool, get())).status == 200
        assert pool.statistics().opened == 1
        await pool.close()


@pytest.mark.parametrize("code", [wire.NO_ERROR, wire.INTERNAL_ERROR, wire.CANCEL])
async def test_a_reset_takes_nothing_from_a_head_that_came_with_it(code: int) -> None:
    """RFC 9113 8.1: what the server has said counts, and what it did not end is visibly cut."""

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(
            peer.headers(stream, [(b":status", b"413")], end=False),
            peer.data(stream, b"too"),
            peer.reset(stream, code),
        )
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection)
        assert response.status == 413
        assert not isinstance(response.body, bytes)
        assert await anext(response.body) == b"too"
        with pytest.raises(ResponseIncomplete):
            await anext(response.body)
        assert connection.idle


async def test_a_request_that_cannot_be_sent() -> None:
    async with server(request_on) as port, connected(port) as (connection, _):  # type: ignore[arg-type]
        with pytest.raises(HopError):
            await send(connection, Request(b"GET", b"/", [(b"x", b"a\r\nb")], authority=b"a"))
        assert connection.idle


async def test_settings_that_are_never_acknowledged() -> None:
    """RFC 9113 6.5.3: whoever waits is told, and so is the server, by SETTINGS_TIMEOUT."""
    clock = VirtualClock()
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        peer.acknowledges = False
        await request_on(peer)
        clock.leap(clock.now() + 59)
        peer.send(peer.ping())  # it is alive
        await peer.until(lambda f: "ACK" in f.flags and f.stream_id == 0)
        clock.leap(clock.now() + 2)
        connection.expire()
        codes.append((await peer.goaway()).error_code)

    async with server(script) as port, connected(port, clock) as (connection, owner):
        with pytest.raises(ResponseTimeout) as raised:
            await send(connection)
        assert raised.value.private == "origin: acknowledged no SETTINGS"
        assert (connection.closed, owner.closed) == (True, 1)
        await eventually(lambda: codes == [wire.SETTINGS_TIMEOUT])


@pytest.mark.parametrize("alive", [True, False])
async def test_a_connection_that_has_died_in_silence_takes_no_more_requests(alive: bool) -> None:
    """Without a FIN or RST nobody would learn of it: each request would wait for its time."""
    clock = VirtualClock()
    begun, pinged = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await request_on(peer)
        await request_on(peer)
        begun.set()
        if alive:
            await pinged.wait()
            await peer.pong()
            pinged.clear()
        await peer.next()

    async with server(script) as port, connected(port, clock) as (connection, _):
        first = asyncio.create_task(send(connection))
        second = asyncio.create_task(send(connection, Request(b"GET", b"/late", [], authority=b"a.test")))
        await begun.wait()
        await eventually(lambda: connection._h2.acknowledged)
        clock.leap(clock.now() + 30)
        if alive:
            pinged.set()
            await eventually(lambda: not pinged.is_set())
        clock.leap(clock.now() + 31)
        connection.expire()
        for task in (first, second):
            with pytest.raises(ResponseTimeout):
                await task
        assert connection.closed is not alive
        assert (connection.capacity > 0) is alive
