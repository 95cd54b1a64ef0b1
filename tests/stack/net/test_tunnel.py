"""Tunnels by Upgrade (RFC 9110 §7.8) through one hop and several, in the clear and over TLS."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stack.clock import VirtualClock, eventually
from stack.config.base import Timeouts
from stack.http.upgrade import accept
from tests.support.tunnels import ASK, KEY, Chain, Link, Origin, chain, echo
from tests.support.wire import statuses

LINKS: list[tuple[Link, ...]] = [("http",), ("https",), ("http", "http"), ("http", "https", "http"), ("https", "https")]


def closed(made: Chain) -> bool:
    """Nothing of a tunnel is left in any hop."""
    return (
        all(not server.context.connections and not server.context.tunnels for server in made.servers)
        and all(pool.statistics().open == 0 for pool in made.pools)
        and all(not len(hop.tasks) for hop in made.hops)
    )


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_bytes_go_both_ways_and_both_ends_end(links: tuple[Link, ...]) -> None:
    async with chain(*links) as made:
        reader, writer, head = await made.tunnel()
        assert b"\r\nupgrade: websocket\r\n" in head
        assert b"\r\nconnection: upgrade\r\n" in head
        assert b"\r\nsec-websocket-accept: " + accept(KEY) + b"\r\n" in head
        assert b"\r\nx-app: yes\r\n" in head
        assert b"transfer-encoding" not in head
        assert b"content-length" not in head
        for size in (1, 3, 70_000):
            writer.write(b"x" * size)
            assert await reader.readexactly(size) == b"x" * size
        if writer.can_write_eof():
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        await eventually(lambda: closed(made))
        await eventually(lambda: made.origin.ends == ["eof"])
        for hop in made.hops:
            [exchange] = hop.exchanges
            assert (exchange.status, exchange.bytes_in, exchange.bytes_out) == (101, 70_004, 70_004)
            assert exchange.termination == ""


async def test_the_next_hop_is_asked_as_the_client_asks() -> None:
    async with chain("http", "http") as made:
        _, writer, _ = await made.tunnel()
        writer.close()
        [head] = made.origin.heads
        lines = head.lower().split(b"\r\n")
        assert lines.count(b"connection: upgrade") == 1
        assert lines.count(b"upgrade: websocket") == 1
        assert b"sec-websocket-key: " + KEY.lower() in lines
        assert b"content-length" not in head
        assert b"transfer-encoding" not in head


async def test_what_is_sent_with_the_handshake_is_not_lost() -> None:
    """A client may send before the 101 has come (RFC 9110 §7.8 forbids it to none but a careful one)."""
    async with chain("http", "http") as made:
        reader, writer = await made.connect()
        writer.write(ASK + b"early")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(5) == b"early"
        writer.close()


async def test_a_megabyte_that_comes_with_the_handshake() -> None:
    """It waits, first in the connection and then in the tunnel, and reading goes on behind it."""
    async with chain("http", "https") as made:
        reader, writer = await made.connect()
        data = bytes(range(256)) * 4096
        writer.write(ASK + data)
        await reader.readuntil(b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readexactly(len(data)), 10) == data
        writer.close()


@pytest.mark.parametrize(
    "more", [b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]
)
async def test_a_request_with_content_changes_to_nothing(more: bytes) -> None:
    """Its content would have to be read first (RFC 9110 §7.8): it is an ordinary request."""
    origin = Origin(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    async with chain("http", origin=origin) as made:
        reader, writer = await made.connect()
        writer.write(ASK[:-2] + more)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [200]
        assert b"\r\nupgrade:" not in origin.heads[0].lower()
        assert made.hops[0].exchanges or made.servers[0].context.in_flight
        writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    await echo(reader, writer)


async def test_what_comes_with_the_101_is_not_lost() -> None:
    async with chain("https", "http", origin=Origin(greet)) as made:
        reader, writer, _ = await made.tunnel()
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(3)
    writer.write(b"bye" * 30_000)


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_the_origin_ends_and_all_that_it_said_arrives(links: tuple[Link, ...]) -> None:
    async with chain(*links, origin=Origin(leave)) as made:
        reader, writer, _ = await made.tunnel()
        writer.write(b"end")
        assert len(await asyncio.wait_for(reader.read(), 5)) == 90_000
        writer.close()
        await eventually(lambda: closed(made))
        assert [hop.exchanges[0].termination for hop in made.hops] == [""] * len(made.hops)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers after the client has ended."""
    said = await reader.read()
    await asyncio.sleep(0.1)
    writer.write(said * 2)


async def test_an_end_of_one_direction_leaves_the_other_open() -> None:
    async with chain("http", "http", origin=Origin(half)) as made:
        reader, writer, _ = await made.tunnel()
        writer.write(b"ping")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b"pingping"
        writer.close()
        await eventually(lambda: closed(made))


async def stop_speaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write_eof()
    heard.append(await reader.read())


heard: list[bytes] = []


async def test_an_origin_that_ended_still_hears() -> None:
    heard.clear()
    async with chain("http", "http", origin=Origin(stop_speaking)) as made:
        reader, writer, _ = await made.tunnel()
        assert await reader.read() == b""
        writer.write(b"last words")
        writer.close()
        await eventually(lambda: heard == [b"last words"])
        await eventually(lambda: closed(made))


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_a_client_that_vanishes_is_gone_at_the_origin_at_once(links: tuple[Link, ...]) -> None:
    async with chain(*links) as made:
        _, writer, _ = await made.tunnel()
        loop = asyncio.get_running_loop()
        writer.transport.abort()
        began = loop.time()
        await eventually(lambda: len(made.origin.ends) == 1)
        assert loop.time() - began < 1.0  # 100 ms on a quiet machine
        await eventually(lambda: closed(made))


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("links", LINKS, ids="-".join)
async def test_an_origin_that_vanishes_ends_the_tunnel(links: tuple[Link, ...]) -> None:
    async with chain(*links, origin=Origin(cut)) as made:
        reader, writer, _ = await made.tunnel()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await eventually(lambda: closed(made))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
        (b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n", 426),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
    ],
)
async def test_a_refusal_is_an_ordinary_response(answer: bytes, status: int) -> None:
    async with chain("http", "http", origin=Origin(answer=answer)) as made:
        reader, writer = await made.connect()
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        assert statuses(head) == [status]
        assert b"connection: close" not in head
        await eventually(lambda: len(made.hops[0].exchanges) == 1)
        writer.write(b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        assert not made.servers[0].context.tunnels


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: chat\r\nSec-WebSocket-Accept: %b\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n",
    ],
    ids=["RFC6455-4.1-5 wrong accept", "RFC6455-4.1-4 no accept", "RFC9110-7.8 not asked for", "RFC6455-4.1-3"],
)
async def test_a_101_that_is_none_is_a_502(answer: bytes) -> None:
    async with chain("http", origin=Origin(answer=answer)) as made:
        reader, writer = await made.connect()
        writer.write(ASK)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [502]
        writer.close()
        await eventually(lambda: made.pools[0].statistics().open == 0)


# ── Bounds ────────────────────────────────────────────────────────────────────────────────────


async def test_idle_closes_what_is_silent_both_ways() -> None:
    clock = VirtualClock()
    async with chain("http", clock=clock, timeouts=Timeouts(tunnel_idle=30.0)) as made:
        reader, writer, _ = await made.tunnel()
        for _ in range(4):
            await clock.advance(25)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        await clock.advance(31)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await eventually(lambda: closed(made))
        [exchange] = made.hops[0].exchanges
        assert (exchange.termination, exchange.detail) == ("timeout", "nothing went through the tunnel for 30 s")
        writer.close()


async def test_no_tunnel_lives_for_ever() -> None:
    clock = VirtualClock()
    async with chain("http", clock=clock, timeouts=Timeouts(tunnel=100.0)) as made:
        reader, writer, _ = await made.tunnel()
        for _ in range(4):
            await clock.advance(24)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        await clock.advance(5)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await eventually(lambda: closed(made))
        assert made.hops[0].exchanges[0].detail == "the tunnel was open for 100 s"
        writer.close()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(1000):
        writer.write(b"x" * 50_000)
        await writer.drain()


async def test_a_slow_reader_holds_the_origin_back_and_a_stuck_one_is_cut() -> None:
    clock = VirtualClock()
    async with chain("http", "http", clock=clock, origin=Origin(pour)) as made:
        reader, writer, _ = await made.tunnel()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        assert not made.origin.ends
        held = [end.transport.get_write_buffer_size() for end in made.servers[0].context.connections]  # type: ignore[attr-defined]
        assert max(held) < 1_000_000
        await clock.advance(31)
        await clock.advance(31)
        await eventually(lambda: len(made.hops[0].exchanges) == 1)
        assert made.hops[0].exchanges[0].termination == "timeout"
        await eventually(lambda: closed(made))
        writer.transport.abort()
        assert reader is not None


async def test_ten_million_bytes_arrive() -> None:
    async with chain("http", "https") as made:
        reader, writer, _ = await made.tunnel()
        data = bytes(range(256)) * 40_000

        async def send() -> None:
            for at in range(0, len(data), 100_000):
                writer.write(data[at : at + 100_000])
                await writer.drain()

        sending = asyncio.ensure_future(send())
        assert await asyncio.wait_for(reader.readexactly(len(data)), 20) == data
        await sending
        writer.close()


async def test_a_drain_waits_and_then_cuts() -> None:
    clock = VirtualClock()
    async with chain("http", clock=clock, timeouts=Timeouts(drain=10.0)) as made:
        reader, writer, _ = await made.tunnel()
        draining = asyncio.ensure_future(made.servers[0].drain())
        await clock.advance(5)
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        for _ in range(60):
            await clock.advance(0.1)
        await asyncio.wait_for(draining, 5)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await eventually(lambda: closed(made))
        assert made.hops[0].exchanges[0].termination == "drained"
        writer.close()


async def test_a_tunnel_counts_as_in_flight_and_its_connection_is_not_reused() -> None:
    async with chain("http") as made:
        _, writer, _ = await made.tunnel()
        context, pool = made.servers[0].context, made.pools[0]
        assert (context.in_flight, context.tunnels, len(context.connections)) == (1, 1, 1)
        assert (pool.statistics().open, pool.statistics().idle) == (1, 0)
        _, other, _ = await made.tunnel()
        assert pool.statistics().open == 2
        for one in (writer, other):
            one.write_eof()
            one.close()
        await eventually(lambda: closed(made))
        assert context.in_flight == 0


async def test_tunnels_take_no_room_from_requests() -> None:
    """The pools here have room for four."""
    async with chain("http") as made:
        held = [await made.tunnel() for _ in range(10)]
        for number, (reader, writer, _) in enumerate(held):
            writer.write(b"%d" % number)
            assert await reader.readexactly(1) == b"%d" % number
        assert made.pools[0].statistics().open == 10
        for _, writer, _ in held:
            writer.close()
        await eventually(lambda: closed(made))
        assert not made.pools[0]._tunnels


@pytest.mark.parametrize("upgrade", ["h2c", "chat", "TLS/1.0"])
async def test_another_upgrade_is_ignored(upgrade: str) -> None:
    origin = Origin(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    async with chain("http", origin=origin) as made:
        reader, writer = await made.connect()
        writer.write(
            ASK.replace(b"websocket", upgrade.encode(), 1).replace(b"Connection: keep-alive, ", b"Connection: ")
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert statuses(head) == [200]
        assert b"upgrade" not in origin.heads[0].lower()
        writer.close()


async def test_another_protocol_by_choice() -> None:
    answer = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: chat\r\nX: %b\r\n\r\n"
    async with chain("http", "http", origin=Origin(answer=answer), upgrades=("chat",)) as made:
        reader, writer = await made.connect()
        writer.write(ASK.replace(b"websocket", b"Chat", 1))
        head = await reader.readuntil(b"\r\n\r\n")
        assert statuses(head) == [101]
        assert b"\r\nupgrade: chat\r\n" in head
        writer.write(b"anything")
        assert await reader.readexactly(8) == b"anything"
        writer.close()


async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def test_a_connection_that_died_idle_costs_no_handshake() -> None:
    """RFC 9112 §9.3.1: a reused connection may be closing; a handshake is a GET, and none of its tunnel was sent."""
    origin = Origin(die, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    async with chain("http", origin=origin) as made:
        reader, writer = await made.connect()
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\nok")
        assert made.pools[0].statistics().idle == 1
        origin.answer, origin.talk = b"", echo
        writer.write(ASK)
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [101]
        assert made.pools[0].statistics().retried == 1
        writer.close()
