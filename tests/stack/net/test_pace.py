"""Least rates: a byte now and then holds no connection, and who is slow but goes on is served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import RstStreamFrame

from stack.clock import VirtualClock, eventually
from stack.config.base import Timeouts
from stack.http.message import Request, Response
from stack.net.pace import Pace, takes
from stack.telemetry.exchange import Exchange
from tests.support.h2_handlers import echo
from tests.support.h2_peer import GET, POST, client
from tests.support.wire import serving, statuses

TIMES = Timeouts(body=30, body_rate=100, send=30, send_rate=100)


@pytest.mark.parametrize(
    ("arrivals", "late_at"),
    [
        pytest.param([], 30, id="silence"),
        pytest.param([(t, 1) for t in range(1, 300)], 30, id="a byte a second"),
        pytest.param([(t, 100) for t in range(1, 300)], None, id="just fast enough"),
        pytest.param([(t, 99) for t in range(1, 300)], 30, id="just too slow"),
        pytest.param([(t, 3100) for t in range(29, 300, 29)], None, id="in gulps"),
        pytest.param([(1, 10**9)], 31, id="a gulp and then silence"),
        pytest.param([(1, 10**9), *((t, 1) for t in range(2, 300))], 60, id="what came early earns nothing later"),
    ],
)
def test_windows(arrivals: list[tuple[int, int]], late_at: int | None) -> None:
    pace, received, due = Pace(0.0), 0, 30.0
    for second in range(1, 300):
        for at, size in arrivals:
            if at == second:
                received += size
                pace.heard = float(second)
        if second >= due:
            due = pace.due(received, float(second), 30, 100)
            if not due:
                break
    assert (second if not due else None) == late_at


@pytest.mark.parametrize(
    ("before", "left", "rate", "enough"),
    [(9000, 9000, 0, False), (9000, 8999, 0, True), (9000, 8999, 100, False), (9000, 6000, 100, True)],
)
def test_what_is_taken(before: int, left: int, rate: int, enough: bool) -> None:
    assert takes(before, left, 30, rate) is enough


async def upload(clock: VirtualClock, head: bytes, size: int, every: float) -> bytes:
    """What is answered to content that comes in pieces of that size and so many seconds apart."""
    async with serving(echo, clock=clock, timeouts=TIMES) as (service, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(head)
        await eventually(lambda: server.statistics().in_flight == 1)
        for _ in range(12):
            if not server.statistics().in_flight:
                break
            [connection] = server.context.connections
            before = connection._content.received  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionError):
                writer.write(b"x" * size)
            content = connection._content  # type: ignore[attr-defined]
            await eventually(lambda c=content, b=before: c.received == b + size)  # type: ignore[misc]
            await clock.advance(every)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.close()


async def test_h1_content_a_byte_at_a_time_is_408() -> None:
    answer = await upload(VirtualClock(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1200\r\n\r\n", 1, 10)
    assert statuses(answer) == [408]
    assert b"Less than 100 bytes/s of content came for 30 s." in answer


async def test_h1_content_that_is_slow_and_goes_on() -> None:
    answer = await upload(VirtualClock(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 14400\r\n\r\n", 1200, 10)
    assert statuses(answer) == [200]


async def test_a_conversation_may_be_silent() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\nContent-Length: 12\r\n\r\n"
    assert statuses(await upload(VirtualClock(), head, 1, 100)) == [200]


async def test_we_who_do_not_read_are_no_fault_of_the_client() -> None:
    clock, read = VirtualClock(), asyncio.Event()

    async def late(request: Request, exchange: Exchange) -> Response:
        await read.wait()
        return await echo(request, exchange)

    async with serving(late, clock=clock, timeouts=TIMES) as (service, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await eventually(lambda: server.statistics().in_flight == 1)
        await clock.advance(59.9)
        read.set()
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await clock.advance(1)
        writer.write(b"hello")
        assert b" 200 " in await reader.readline()
        writer.close()


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65536)


@pytest.mark.parametrize(("size", "ended"), [(1000, True), (400_000, False)])
async def test_h1_a_client_that_takes_little(size: int, ended: bool) -> None:
    """Its kernel holds what it does not read: what counts is what that acknowledges."""
    clock = VirtualClock()
    async with serving(lambda r, e: Response(200, [], endless()), clock=clock, timeouts=TIMES) as (service, server):
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", service.port))
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually(lambda: any(c._writable is not None for c in server.context.connections))  # type: ignore[attr-defined]
            for _ in range(6):
                await asyncio.sleep(0.05)  # for the kernels to settle: nothing tells when they have
                await clock.advance(30.5)
                left = size
                while left > 0 and server.context.connections:
                    try:
                        left -= len(await asyncio.wait_for(loop.sock_recv(sock, left), 1))
                    except ConnectionError:
                        break
            assert bool(service.exchanges) is ended
    if ended:
        assert service.exchanges[0].termination == "timeout"
        assert service.exchanges[0].detail == "the client took less than 100 bytes/s for 30 s"


async def test_h2_content_a_byte_at_a_time_is_408() -> None:
    clock = VirtualClock()
    async with serving(echo, clock=clock, timeouts=TIMES) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, POST, end=False))
        for _ in range(4):
            peer.send(peer.data(1, b"x"))
            await peer.pong()
            await clock.advance(8)
        fields, _, _ = await peer.answer(1)
        assert dict(fields)[b":status"] == b"408"
        peer.send(peer.headers(3, GET))
        fields, _, _ = await peer.answer(3)
        assert dict(fields)[b":status"] == b"200"


@pytest.mark.parametrize(("increment", "reset"), [(1, True), (2000, False)])
async def test_h2_a_window_opened_byte_by_byte(increment: int, reset: bool) -> None:
    clock = VirtualClock()
    async with serving(lambda r, e: Response(200, [], endless()), clock=clock, timeouts=TIMES) as (service, _):
        async with client(service.port, {4: 10}) as peer:
            peer.send(peer.headers(1, GET))
            for _ in range(8):
                peer.send(peer.window(1, increment), peer.window(0, increment))
                await peer.pong()
                await clock.advance(10)
            await peer.pong()
            assert any(isinstance(frame, RstStreamFrame) for frame in peer.seen) is reset
