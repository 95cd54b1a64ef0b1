"""Accepting: bounded in all and by address, handshakes included; a lack of descriptors is waited out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from stack.clock import VirtualClock, eventually
from stack.config.base import Limits, Timeouts
from stack.http.message import Request, Response
from stack.http.trust import Trust
from stack.net import acceptor
from stack.net.room import Room
from stack.telemetry.exchange import Exchange
from tests.support.wire import serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def hello(request: Request, exchange: Exchange) -> Response:
    return Response(200, [], b"hello")


@contextlib.asynccontextmanager
async def opened(port: int, count: int, host: str = "127.0.0.1") -> AsyncIterator[list[asyncio.StreamWriter]]:
    """That many connections, which say nothing."""
    pairs = [await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0)) for _ in range(count)]
    try:
        yield [writer for _, writer in pairs]
    finally:
        for _, writer in pairs:
            writer.close()


async def ask(port: int, host: str = "127.0.0.1") -> bytes:
    """The first line of an answer; empty when the connection was closed instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    try:
        writer.write(GET)
        return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_burst_does_not_overshoot_the_limit_and_who_waits_is_served_later() -> None:
    async with serving(hello, limits=Limits(connections=10)) as (service, server):
        most = 0
        async with opened(service.port, 40):
            for _ in range(50):
                await asyncio.sleep(0)
                most = max(most, server.context.room.taken)
            await eventually(lambda: server.statistics().connections == 10)
            assert most == 10
            late = asyncio.create_task(ask(service.port))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(late), 0.1)
        assert await asyncio.wait_for(late, 5) == b"HTTP/1.1 200 OK\r\n"
        await eventually(lambda: server.context.room.taken == 0)


async def test_a_handshake_that_never_begins_counts() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a").configure_cert(context)
    limits, timeouts = Limits(connections=3), Timeouts(handshake=0.3)
    async with serving(hello, tls=context, limits=limits, timeouts=timeouts) as (service, server):
        async with opened(service.port, 5):
            await eventually(lambda: server.context.room.taken == 3)
            assert server.statistics().opened_h1 == 0
            # the handshake's time-out gives their places to the two that wait, and then to nobody
            await eventually(lambda: server.context.room.taken == 0)


async def test_an_address_has_its_share_and_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, limits=Limits(connections_per_address=3)) as (service, server):
        async with opened(service.port, 3, "127.0.0.2") as held:
            await eventually(lambda: server.statistics().connections == 3)
            assert await ask(service.port, "127.0.0.2") == b""
            assert await ask(service.port, "127.0.0.2") == b""
            assert await ask(service.port, "127.0.0.3") == b"HTTP/1.1 200 OK\r\n"
            assert server.context.room.refused == 2
            held[0].close()
            await eventually(lambda: server.statistics().connections == 2)
            assert await ask(service.port, "127.0.0.2") == b"HTTP/1.1 200 OK\r\n"
    [line] = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert line == "refused a connection: 127.0.0.2 has 3, limits.connections_per_address"


async def test_a_trusted_peer_speaks_for_many() -> None:
    limits = Limits(connections_per_address=1)
    async with serving(hello, limits=limits, trusted=["127.0.0.2"]) as (service, server):
        async with opened(service.port, 5, "127.0.0.2"):
            await eventually(lambda: server.statistics().connections == 5)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, together: bool) -> None:
    room = Room(Limits(connections_per_address=1), Trust(()), VirtualClock())
    room.enter(one)
    assert room.admits(other) is not together
    room.leave(one)
    assert room.admits(other)


def test_a_flood_of_refused_connections_is_not_one_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    room = Room(Limits(connections_per_address=1), Trust(()), clock)
    room.enter("192.0.2.1")
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            assert not room.admits("192.0.2.1")
        clock.leap(clock.now() + 11)
        assert not room.admits("192.0.2.1")
    assert [record.getMessage()[-30:] for record in caplog.records] == [
        "limits.connections_per_address", "0 refused since the last such line"[-30:],
    ]  # fmt: skip


class Scarce:
    """A listening socket of a process without descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.descriptors = False
        self.asked = 0

    def accept(self) -> Any:
        self.asked += 1
        if self.descriptors:
            return self._sock.accept()
        raise OSError(errno.EMFILE, "Too many open files")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_without_descriptors_accepting_pauses_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "PAUSE", 0.05)
    async with serving(hello) as (service, server):
        [accepting] = server._acceptors
        scarce = Scarce(accepting._listener)
        accepting._listener = scarce  # type: ignore[assignment]
        waiting = asyncio.create_task(ask(service.port))
        await eventually(lambda: scarce.asked > 2)
        assert scarce.asked < 100, "it asks in a circle"
        assert len([record for record in caplog.records if "cannot accept" in record.getMessage()]) == 1
        scarce.descriptors = True
        assert await asyncio.wait_for(waiting, 5) == b"HTTP/1.1 200 OK\r\n"


async def test_who_had_come_before_the_stop_is_served_and_who_shakes_hands_is_broken_off() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a").configure_cert(context)
    async with serving(hello, tls=context, timeouts=Timeouts(drain=0.2, linger=0.1)) as (service, server):
        async with opened(service.port, 2):
            await server.drain()
            await eventually(lambda: server.context.room.taken == 0)


async def test_small_writes_are_not_held_back() -> None:
    """TCP_NODELAY: else a head and the first event of a stream wait for the client's acknowledgement."""
    async with serving(hello) as (service, server):
        async with opened(service.port, 1):
            await eventually(lambda: server.statistics().connections == 1)
            [connection] = server.context.connections
            raw = connection.transport.get_extra_info("socket")  # type: ignore[attr-defined]
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
