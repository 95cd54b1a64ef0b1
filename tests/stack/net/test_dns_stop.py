"""A DNS server that stops: what was asked before it could be known is answered, over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from stack.clock import VirtualClock, eventually, settle
from stack.net.dns_datagrams import MAX_WAITING
from stack.net.dns_streams import LULL
from tests.stack.net.test_dns_sockets import Served


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = await Served().start()
    yield server
    server.echo.release.set()
    await server.stop()


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def received(sock: socket.socket) -> set[bytes]:
    """All that has come, after everything has been sent: loopback is at once."""
    found = set()
    sock.setblocking(False)
    while True:
        try:
            found.add(sock.recv(100))
        except BlockingIOError:
            return found


async def test_datagrams_that_lie_in_the_socket_are_answered(served: Served) -> None:
    """None of the loop's turns lies between them and the stop; those that wait are answered by the end of it."""
    names = {b"%d" % number for number in range(100)} | {b"later%d" % number for number in range(10)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", served.port))
        for name in names:
            client.send(name)
        stopping = asyncio.ensure_future(served.listener.drain(20))
        await eventually(lambda: served.listener.waiting == 10)
        assert not stopping.done()
        served.echo.release.set()
        await asyncio.wait_for(stopping, 20)
        assert received(client) == {name + b"!" for name in names}
    assert served.listener.dropped == 0


async def test_what_another_process_is_to_answer_is_left_to_it(served: Served) -> None:
    """The socket of a server that is replaced is read by its successor, also while the old one still waits."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", served.port))
        client.send(b"later")
        await eventually(lambda: served.listener.waiting == 1)
        stopping = asyncio.ensure_future(served.listener.drain(20))
        await settle(3)
        client.send(b"for the successor")
        await settle(3)
        assert len(served.echo.seen) == 1
        served.echo.release.set()
        await asyncio.wait_for(stopping, 20)
        assert received(client) == {b"later!"}


async def test_a_stop_waits_for_no_more_than_has_room(served: Served) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", served.port))
        served.listener.waiting = MAX_WAITING
        client.send(b"later")
        stopping = asyncio.ensure_future(served.listener.drain(20))
        await eventually(lambda: served.listener.dropped == 1)
        served.listener.waiting = 0
        await asyncio.wait_for(stopping, 20)


async def test_who_was_not_accepted_yet_is_answered(served: Served) -> None:
    clients = [socket.create_connection(("127.0.0.1", served.port), timeout=20) for _ in range(3)]
    for client in clients:
        client.sendall(framed(b"a", b"b"))
    await asyncio.wait_for(served.listener.drain(20, linger=10), 30)
    for client in clients:
        with client, client.makefile("rb") as file:
            assert file.read() == framed(b"a!", b"b!")


async def test_a_connection_is_closed_behind_its_next_answer(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"first"))
    await reader.readexactly(8)
    stopping = asyncio.ensure_future(served.listener.drain(20, linger=10))
    await settle(3)
    assert not reader.at_eof()
    query = framed(b"second")
    writer.write(query[:3])  # in two pieces: one that has begun is waited for
    await settle(3)
    writer.write(query[3:])
    assert await asyncio.wait_for(reader.read(), 20) == framed(b"second!")
    await asyncio.wait_for(stopping, 5)
    writer.close()


async def test_a_busy_client_is_served_for_a_while_and_a_lull_is_the_end() -> None:
    for gap, longest in ((LULL * 0.9, 60), (LULL * 1.1, 1)):
        clock = VirtualClock()
        served = await Served(clock=clock).start()
        reader, writer = await served.connect()
        await eventually(lambda served=served: len(served.listener.streams) == 1)  # type: ignore[misc]
        stopping = asyncio.ensure_future(served.listener.drain(20, linger=0.3))
        answered = 0
        while answered < 200:
            writer.write(framed(b"query"))
            try:
                await asyncio.wait_for(reader.readexactly(8), 20)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            answered += 1
            await clock.advance(gap)
        # 0.3 s and what the sweeper is late, at a query each 9 ms; or one query, and the silence behind it
        assert (30 if longest > 1 else 1) <= answered <= longest
        await clock.advance(1)
        await asyncio.wait_for(stopping, 10)
        writer.close()
        await served.stop()


async def test_a_connection_is_closed_behind_the_answers_that_wait(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"later1", b"later2"))
    await eventually(lambda: len(served.echo.seen) == 2)
    stopping = asyncio.ensure_future(served.listener.drain(20, linger=10))
    await settle(3)
    served.echo.release.set()
    assert len(await asyncio.wait_for(reader.read(), 20)) == 2 * len(framed(b"later1!"))
    await asyncio.wait_for(stopping, 5)
    writer.close()


async def test_an_idle_connection_is_closed_after_a_while(served: Served) -> None:
    reader, writer = await served.connect()
    await eventually(lambda: len(served.listener.streams) == 1)
    await asyncio.wait_for(served.listener.drain(20, linger=0.1), 10)
    assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_comes_at_the_end_is_none(served: Served) -> None:
    await served.listener.close()
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        served.listener.adopt(transport, "tls")
        await eventually(transport.is_closing)
        assert len(served.listener.streams) == 0
