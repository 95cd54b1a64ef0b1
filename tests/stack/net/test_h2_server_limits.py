"""What a downstream HTTP/2 connection bounds: streams, floods, drains, and the time of every phase."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from stack.clock import VirtualClock, eventually
from stack.config.base import Limits, Timeouts
from stack.http import h2_wire as wire
from stack.http.message import Request, Response
from stack.net.h2_server import H2ServerConnection
from stack.telemetry.exchange import Exchange
from tests.support.h2_handlers import echo, hello, later, path
from tests.support.h2_peer import GET, POST, PREFACE, Peer, Wire, client, raw
from tests.support.wire import serving

Fields = list[tuple[bytes, bytes]]


async def test_concurrent_streams_are_limited() -> None:
    release = asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        await release.wait()
        return Response(200, [], b"x")

    async with serving(handle, limits=Limits(streams=2)) as (service, _), client(service.port) as peer:
        peer.send(*[peer.headers(s, GET) for s in (1, 3, 5)])
        assert await peer.reset_of(5) == wire.REFUSED_STREAM
        release.set()
        assert (await peer.answer(1))[1] == b"x"
        peer.send(peer.headers(7, GET))
        assert (await peer.answer(7))[1] == b"x"


async def test_a_flood_ends_the_connection_and_says_why() -> None:
    async with serving(later) as (service, server), client(service.port) as peer:
        peer.send(*[peer.headers(s, GET) + peer.reset(s) for s in range(1, 2001, 2)])
        goaway = await peer.goaway()
        assert (goaway.error_code, goaway.additional_data) == (wire.ENHANCE_YOUR_CALM, b"too many streams reset")
        with pytest.raises(EOFError):
            await peer.until(lambda f: False)
        await eventually(lambda: server.context.in_flight == 0)


async def test_answers_that_are_not_taken_stop_the_reading() -> None:
    """What we owe for control frames and heads is bounded when the client does not read."""
    large = Response(200, [(b"x-large", b"v" * 8000)])
    async with serving(lambda request, exchange: large, limits=Limits(requests=0)) as (service, server):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", service.port))
        peer = Wire()
        stream, sent = 1, 0
        data = PREFACE + peer.settings({4: 2**31 - 1}) + peer.window(0, 2**30)

        async def flood() -> None:
            nonlocal data, sent, stream
            while sent < 50_000_000:
                await loop.sock_sendall(sock, data)
                await asyncio.sleep(0)  # it may not have waited at all
                sent += len(data)
                data = b"".join(peer.headers(s, GET) for s in range(stream, stream + 100, 2))
                stream += 100

        flooding = loop.create_task(flood())
        await eventually(lambda: bool(server.context.connections))
        [connection] = server.context.connections
        assert isinstance(connection, H2ServerConnection)
        await eventually(lambda: not connection.transport.is_reading())
        assert connection.transport.get_write_buffer_size() < 2_000_000
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        sock.close()


async def test_draining_answers_what_is_under_way() -> None:
    """RFC 9113 6.8: two GOAWAYs, a round trip apart."""
    release = asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        await release.wait()
        return Response(200, [], request.target)

    async with serving(handle) as (service, server), client(service.port) as peer:
        peer.send(peer.headers(1, path(b"/1")))
        await peer.pong()
        draining = asyncio.get_running_loop().create_task(server.drain())
        first = await peer.goaway()
        assert (first.last_stream_id, first.error_code) == (2**31 - 1, 0)
        ping = await peer.next()
        peer.send(peer.headers(3, path(b"/3")), peer.ping(ping.opaque_data, ack=True))  # type: ignore[attr-defined]
        second = await peer.goaway()
        assert second.last_stream_id == 3
        peer.send(peer.headers(5, path(b"/5")))
        release.set()
        with pytest.raises(EOFError):
            await peer.until(lambda f: False)
        contents = {f.stream_id: f.data for f in peer.seen if isinstance(f, DataFrame)}
        assert contents == {1: b"/1", 3: b"/3"}
        await draining


async def test_draining_an_idle_connection_closes_it() -> None:
    async with serving(hello) as (service, server), client(service.port) as peer:
        await peer.pong()
        draining = asyncio.get_running_loop().create_task(server.drain())
        await peer.goaway()
        peer.send(peer.ping(b"hopstack", ack=True))
        with pytest.raises(EOFError):
            await peer.until(lambda f: False)
        await draining


async def test_a_connection_serves_a_limited_number_of_requests() -> None:
    async with serving(hello, limits=Limits(requests=2)) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET), peer.headers(3, GET))
        await peer.goaway()
        peer.send(peer.ping(b"hopstack", ack=True))
        with pytest.raises(EOFError):
            await peer.until(lambda f: False)
    assert [e.status for e in service.exchanges] == [200, 200]


async def test_a_client_that_goes_away_is_answered_first() -> None:
    async with serving(later) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET), peer.go_away(0))
        assert (await peer.answer(1))[1] == b"later"
        with pytest.raises(EOFError):
            await peer.until(lambda f: False)


# Time.

TIMES = Timeouts(head=10, idle=75, body=30, send=30)


async def advance(clock: VirtualClock, seconds: float, peer: Peer) -> None:
    """Past what is in flight on the socket, then on."""
    await peer.pong()
    await clock.advance(seconds)


async def test_an_idle_connection_is_closed() -> None:
    clock = VirtualClock()
    async with serving(hello, clock=clock, timeouts=TIMES) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        await peer.answer(1)
        await advance(clock, 74, peer)
        await peer.pong()
        await clock.advance(2)
        assert (await peer.goaway()).error_code == 0
        with pytest.raises(EOFError):
            await peer.until(lambda f: False)


@pytest.mark.parametrize("begun", [b"", raw(1, 0, 1, b"\x82"), b"\0\0\x10\x01\x05\0\0\0\x01"])
async def test_a_head_that_does_not_end(begun: bytes) -> None:
    clock = VirtualClock()
    async with serving(hello, clock=clock, timeouts=TIMES) as (service, server):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", service.port))
        peer.acknowledges = False
        peer.send(PREFACE, peer.settings() + begun if begun else b"\0\0")
        await eventually(lambda: server.statistics().opened_h2 == 1)
        await peer.next()
        await clock.advance(9)
        assert server.context.connections
        await clock.advance(2)
        goaway = await peer.goaway()
        assert goaway.error_code == wire.ENHANCE_YOUR_CALM
        peer.close()


async def test_a_head_that_does_not_end_among_requests_in_flight(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    release = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        await release.wait()
        try:
            yield b"x" * 10_000
            yield b"x" * 10_000
        finally:
            written.set()

    written = asyncio.Event()
    async with serving(lambda r, e: Response(200, [], body()), clock=clock, timeouts=TIMES) as (service, server):
        async with client(service.port, {4: 2**31 - 1}) as peer:
            peer.acknowledges = False
            peer.send(peer.headers(1, GET), raw(1, 0, 3, b"\x82"))
            await peer.until(lambda f: isinstance(f, HeadersFrame))
            await clock.advance(10.5)  # not yet the end of the lingering
            await peer.goaway()
            release.set()
            async with asyncio.timeout(10):
                await written.wait()
            with pytest.raises(EOFError):
                await peer.until(lambda f: False)
        await clock.advance(2)
        await eventually(lambda: server.context.in_flight == 0)
    assert not caplog.records


async def test_settings_that_are_not_acknowledged() -> None:
    """RFC 9113 §6.5.3. An acknowledged connection goes on for as long."""
    clock = VirtualClock()
    async with serving(hello, clock=clock, timeouts=TIMES) as (service, server):
        async with client(service.port) as peer, client(service.port) as other:
            peer.acknowledges = False
            for one in (peer, other):
                one.send(one.headers(1, GET))
                assert (await one.answer(1))[1] == b"hello"
            await other.pong()
            await clock.advance(9)
            assert len(server.context.connections) == 2
            await clock.advance(2)
            assert (await peer.goaway()).error_code == wire.SETTINGS_TIMEOUT
            with pytest.raises(EOFError):
                await peer.next()
            await other.pong()


async def test_content_that_does_not_come() -> None:
    clock = VirtualClock()
    async with serving(echo, clock=clock, timeouts=TIMES) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, POST, end=False), peer.data(1, b"x"))
        await advance(clock, 29, peer)
        peer.send(peer.data(1, b"y"))
        await advance(clock, 29, peer)
        assert not [f for f in peer.seen if isinstance(f, HeadersFrame)]
        await clock.advance(2)
        head, _, _ = await peer.answer(1)
        assert dict(head)[b":status"] == b"408"


async def test_a_handler_may_take_its_time() -> None:
    clock = VirtualClock()
    release = asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        await release.wait()
        return Response(200, [], b"x")

    async with serving(handle, clock=clock, timeouts=TIMES) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET), peer.headers(3, POST, end=False))
        await advance(clock, 1000, peer)
        release.set()
        assert (await peer.answer(1))[1] == b"x"


async def test_a_window_that_never_opens() -> None:
    """One stream is given up; the connection serves on."""
    clock = VirtualClock()
    async with serving(hello, clock=clock, timeouts=TIMES) as (service, _):
        async with client(service.port, {4: 2}) as peer:
            peer.send(peer.headers(1, GET))
            await advance(clock, 29, peer)
            assert not [f for f in peer.seen if isinstance(f, RstStreamFrame)]
            await clock.advance(2)
            assert await peer.reset_of(1) == wire.CANCEL
            peer.send(peer.headers(3, GET), peer.window(3, 100))
            assert (await peer.answer(3))[1] == b"hello"
    assert [e.termination for e in service.exchanges] == ["timeout", ""]


async def test_a_client_that_takes_no_byte() -> None:
    """Its windows are open, its socket is full: the connection is cut after the send time."""
    clock = VirtualClock()

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async with serving(lambda r, e: Response(200, [], body()), clock=clock, timeouts=TIMES) as (service, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer = Peer(reader, writer)
        peer.send(PREFACE, peer.settings({4: 2**31 - 1}), peer.window(0, 2**31 - 70000), peer.headers(1, GET))
        peer.send(peer.settings(ack=True))
        await eventually(lambda: server.context.in_flight == 1)
        [connection] = server.context.connections
        assert isinstance(connection, H2ServerConnection)
        await eventually(lambda: connection._outbox.paused)
        await clock.advance(29)
        assert server.context.connections
        await clock.advance(32)  # once more if a byte went meanwhile
        await eventually(lambda: not server.context.connections and server.context.in_flight == 0)
        peer.close()
    assert [e.termination for e in service.exchanges] == ["timeout"]


async def test_a_drain_crosses_no_first_request() -> None:
    """A client that meets GOAWAY on a new connection would not even send it: GOAWAY waits for it, not for long."""
    clock = VirtualClock()
    async with serving(hello, clock=clock, timeouts=TIMES) as (service, server), client(service.port) as peer:
        await peer.until(lambda f: isinstance(f, SettingsFrame) and "ACK" in f.flags)
        draining = asyncio.get_running_loop().create_task(server.drain())
        await clock.advance(0.2)
        await peer.pong()
        assert not any(isinstance(f, GoAwayFrame) for f in peer.seen)
        peer.send(peer.headers(1, GET))
        assert (await peer.answer(1))[1] == b"hello"
        assert [f.last_stream_id for f in peer.seen if isinstance(f, GoAwayFrame)] == [2**31 - 1]
        peer.send(peer.headers(3, GET), peer.ping(b"hopstack", ack=True))
        assert (await peer.answer(3))[1] == b"hello", "it was on its way when GOAWAY was sent"
        peer.close()
        await eventually(lambda: not server.context.connections)
        await clock.advance(2)
        await draining
    assert [exchange.termination for exchange in service.exchanges] == ["", ""]


async def test_a_drain_does_not_wait_for_a_silent_client() -> None:
    clock = VirtualClock()
    async with serving(hello, clock=clock, timeouts=TIMES) as (service, server), client(service.port) as peer:
        await peer.pong()
        draining = asyncio.get_running_loop().create_task(server.drain())
        await clock.advance(0.6)  # the first request may be on its way
        await peer.goaway()
        await clock.advance(2)
        goaways = [f async for f in _until_closed(peer) if isinstance(f, GoAwayFrame)]
        assert [f.last_stream_id for f in goaways] == [0]
        await clock.advance(1)
        await draining


async def _until_closed(peer: Peer) -> AsyncIterator[object]:
    while True:
        try:
            yield await peer.next()
        except EOFError:
            return
