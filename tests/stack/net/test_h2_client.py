"""An upstream HTTP/2 connection against a scripted server, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame

from stack.clock import Clock, SystemClock, VirtualClock, eventually
from stack.config.base import UpstreamTimeouts
from stack.errors import (
    BadRequest,
    ClosedEarly,
    HopError,
    Refused,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
    Unsent,
)  # fmt: skip
from stack.http import h2_wire as wire
from stack.http.message import Request, Response
from stack.net.h2_client import H2ClientConnection
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.h2_peer import Peer, fields_of, is_window, request_on, server

OK = [(b":status", b"200"), (b"content-type", b"text/plain")]


class Owner:
    """What a pool is to the connection."""

    def __init__(self) -> None:
        self.idle = 0
        self.closed = 0
        self.tasks = Tasks()

    def on_idle(self, connection: H2ClientConnection) -> None:
        self.idle += 1

    def on_closed(self, connection: H2ClientConnection) -> None:
        self.closed += 1


@contextlib.asynccontextmanager
async def connected(port: int, clock: Clock | None = None) -> AsyncIterator[tuple[H2ClientConnection, Owner]]:
    owner = Owner()
    connection = H2ClientConnection(
        name="origin",
        scheme=b"http",
        timeouts=UpstreamTimeouts(head=60, body=60, send=30, idle=30),
        clock=clock or SystemClock(),
        tasks=owner.tasks,
        max_buffer=65536,
        on_idle=owner.on_idle,
        on_closed=owner.on_closed,
    )
    await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port)
    try:
        yield connection, owner
    finally:
        connection.abort()
        await owner.tasks.close()


def get(**more: object) -> Request:
    return Request(b"GET", b"/x?y", [(b"accept", b"*/*"), (b"te", b"trailers")], authority=b"a.test", **more)  # type: ignore[arg-type]


async def send(connection: H2ClientConnection, request: Request | None = None) -> Response:
    async with asyncio.timeout(10):
        return await connection.send(request or get(), Exchange("t", SystemClock.now))


async def content(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([piece async for piece in response.body])


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


async def test_a_request_and_its_answer() -> None:
    seen: list[object] = []

    async def script(peer: Peer) -> None:
        for _ in range(2):
            stream = await request_on(peer)
            seen.append(fields_of(peer.seen[peer._unread - 1]))
            peer.send(
                peer.headers(stream, [*OK, (b"content-length", b"5")], end=False), peer.data(stream, b"hello", end=True)
            )
        await peer.next()

    async with server(script) as port, connected(port) as (connection, owner):
        first, second = await send(connection), await send(connection)
        assert (first.status, first.body, second.body) == (200, b"hello", b"hello")
        assert first.fields == [(b"content-type", b"text/plain"), (b"content-length", b"5")]
        assert (connection.served, connection.idle, connection.capacity) == (2, True, 100)
        assert owner.idle == 101  # once for all the room left on a new connection, then as it becomes free
    assert seen[0] == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a.test"),
        (b":path", b"/x?y"),
        (b"accept", b"*/*"),
        (b"te", b"trailers"),
    ]
    assert owner.closed == 1


async def test_content_that_comes_later_is_a_stream_with_trailers() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"one", padding=5))
        await go_on.wait()
        peer.send(peer.data(stream, b"two"), peer.headers(stream, [(b"x-sum", b"1"), (b"content-length", b"9")]))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection)
        assert not isinstance(response.body, bytes)
        assert await anext(response.body) == b"one"
        go_on.set()
        assert await content(response) == b"two"
        assert response.trailers == [(b"x-sum", b"1")]
        assert connection.idle


async def test_requests_share_the_connection() -> None:
    async def script(peer: Peer) -> None:
        streams = [await request_on(peer) for _ in range(20)]
        for stream in reversed(streams):
            peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"%d" % stream, end=True))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        answers = await asyncio.gather(*[send(connection) for _ in range(20)])
        assert sorted([int(await content(answer)) for answer in answers]) == list(range(1, 41, 2))


async def test_interim_responses_are_passed_on() -> None:
    interims: list[object] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        for early in ([(b":status", b"100")], [(b":status", b"103"), (b"link", b"</a>")]):
            peer.send(peer.headers(stream, early, end=False))
        peer.send(peer.headers(stream, OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection, get(interim=lambda status, fields: interims.append((status, fields))))
    assert (response.status, response.body) == (200, b"")
    # RFC 9110 §15.2: the 100 too, which nobody here has asked for
    assert interims == [(100, []), (103, [(b"link", b"</a>")])]


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        pytest.param([*OK, (b"connection", b"close")], b"", id="8.2.2-connection"),
        pytest.param([*OK, (b"x", b"a\r\nset-cookie: b")], b"", id="8.2.1-crlf"),
        pytest.param([*OK, (b"X", b"a")], b"", id="8.2-uppercase"),
        pytest.param([(b"x", b"a")], b"", id="8.3.2-no-status"),
        pytest.param([(b":status", b"101")], b"", id="8.6-101"),
        pytest.param([*OK, (b"content-length", b"5")], b"", id="8.1.1-no-content"),
    ],
)
async def test_a_malformed_response_concerns_its_stream_only(head: list[tuple[bytes, bytes]], rest: bytes) -> None:
    resets: list[int] = []

    async def script(peer: Peer) -> None:
        first = await request_on(peer)
        peer.send(peer.headers(first, head))
        if (b"content-length", b"5") not in head:  # that stream is over for both sides
            resets.append(await peer.reset_of(first))
        second = await request_on(peer)
        peer.send(peer.headers(second, OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        with pytest.raises(ResponseMalformed):
            await send(connection)
        assert (await send(connection)).status == 200
    assert set(resets) <= {wire.PROTOCOL_ERROR}


@pytest.mark.parametrize("wrong", [b"123456", b"123"], ids=["more", "less"])
async def test_content_that_is_not_as_long_as_it_says(wrong: bytes) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, [*OK, (b"content-length", b"5")], end=False))
        await go_on.wait()
        peer.send(peer.data(stream, wrong, end=True))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection)
        go_on.set()
        with pytest.raises(ResponseIncomplete):
            await content(response)
        assert not connection.closed


@pytest.mark.parametrize(("code", "error"), [(wire.REFUSED_STREAM, Refused), (wire.INTERNAL_ERROR, ResponseIncomplete)])
async def test_a_reset_before_the_head(code: int, error: type[HopError]) -> None:
    async def script(peer: Peer) -> None:
        peer.send(peer.reset(await request_on(peer), code))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        with pytest.raises(error):
            await send(connection)
        assert connection.capacity == 100


async def test_a_reset_within_the_content() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"some"))
        await go_on.wait()
        peer.send(peer.reset(stream, wire.INTERNAL_ERROR))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection)
        assert not isinstance(response.body, bytes)
        assert await anext(response.body) == b"some"
        go_on.set()
        with pytest.raises(ResponseIncomplete):
            await anext(response.body)


async def test_goaway_splits_the_requests() -> None:
    """RFC 9113 6.8: above its last stream nothing was acted upon; what is below goes on."""
    owner: Owner

    async def script(peer: Peer) -> None:
        first = await request_on(peer)
        await request_on(peer)
        peer.send(peer.go_away(first))
        await peer.pong()
        peer.send(peer.headers(first, OK, end=False), peer.data(first, b"done", end=True))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, owner):
        one, two = await asyncio.gather(send(connection), send(connection), return_exceptions=True)
        assert isinstance(one, Response)
        assert await content(one) == b"done"
        assert isinstance(two, Refused)
        assert connection.capacity == 0
        assert connection.closed
        with pytest.raises(Unsent):
            await send(connection)
    assert owner.closed == 1


@pytest.mark.parametrize(("begun", "error"), [(False, ClosedEarly), (True, ResponseIncomplete)])
async def test_a_connection_that_dies(begun: bool, error: type[HopError]) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        if begun:
            peer.send(peer.headers(stream, OK, end=False))
            await go_on.wait()

    async with server(script) as port, connected(port) as (connection, owner):
        with pytest.raises(error):  # noqa: PT012
            response = await send(connection)
            go_on.set()
            await content(response)
        assert (connection.closed, connection.capacity, owner.closed) == (True, 0, 1)


async def test_a_broken_server_is_told_and_left() -> None:
    goaways: list[object] = []

    async def script(peer: Peer) -> None:
        await request_on(peer)
        peer.send(peer.data(99, b"x"))
        goaways.append((await peer.goaway()).error_code)

    async with server(script) as port, connected(port) as (connection, _):
        with pytest.raises(ResponseMalformed):
            await send(connection)
        assert connection.closed
        await eventually(lambda: goaways == [wire.PROTOCOL_ERROR])


async def test_cancelling_resets_the_stream_and_no_more() -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        codes.append(await peer.reset_of(stream))
        peer.send(peer.headers(stream, OK))  # crossed on the way
        peer.send(peer.headers(await request_on(peer), OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        waiting = asyncio.get_running_loop().create_task(send(connection))
        await eventually(lambda: not connection.idle)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert connection.idle
        assert (await send(connection)).status == 200
    assert codes == [wire.CANCEL]


async def test_leaving_the_content_resets_the_stream() -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), *[peer.data(stream, b"x" * 16000) for _ in range(4)])
        codes.append(await peer.reset_of(stream))
        peer.send(peer.headers(await request_on(peer), OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection)
        assert not isinstance(response.body, bytes)
        await response.body.aclose()
        assert (await send(connection)).status == 200
    assert codes == [wire.CANCEL]


async def test_content_that_is_not_read_is_not_credited() -> None:
    go_on = asyncio.Event()
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        seen.append(peer)
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), *[peer.data(stream, b"x" * 16000) for _ in range(4)])
        await peer.pong()
        assert not [f for f in peer.seen if is_window(f, stream)]
        go_on.set()
        await peer.until(lambda f: is_window(f, stream))
        peer.send(peer.data(stream, b"", end=True))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        response = await send(connection)
        await go_on.wait()
        assert len(await content(response)) == 64000


async def test_an_answer_before_the_upload_has_ended() -> None:
    """RFC 9113 8.1: the response counts; the rest of the content is not sent."""
    asked = asyncio.Event()
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asked.wait()
            yield b"never"
        finally:
            closed.set()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        await peer.until(lambda f: isinstance(f, DataFrame))
        peer.send(peer.headers(stream, [(b":status", b"413")], end=False), peer.data(stream, b"no", end=True))
        peer.send(peer.reset(stream, wire.NO_ERROR))
        peer.send(peer.headers(await request_on(peer), OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        request = Request(b"POST", b"/", [], authority=b"a", body=body())
        response = await send(connection, request)
        assert (response.status, await content(response)) == (413, b"no")
        async with asyncio.timeout(10):
            await closed.wait()
        assert (await send(connection)).status == 200


async def test_an_upload_that_breaks_off_is_reset() -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        codes.append(await peer.reset_of(stream))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        with pytest.raises(BadRequest):
            await send(connection, Request(b"POST", b"/", [], authority=b"a", body=pieces(b"some", BadRequest("cut"))))
        await eventually(lambda: codes == [wire.CANCEL])


async def test_the_server_s_limit_of_streams_is_kept() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(3):
            peer.send(peer.headers(await request_on(peer), OK))
        await peer.next()

    async with server(script, {3: 2}) as port, connected(port) as (connection, _):
        await send(connection)
        assert connection.capacity == 2


async def test_a_head_that_does_not_come() -> None:
    clock = VirtualClock()
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        codes.append(await peer.reset_of(await request_on(peer)))

    async with server(script) as port, connected(port, clock) as (connection, _):
        waiting = asyncio.get_running_loop().create_task(send(connection))
        await eventually(lambda: connection.deadline <= clock.now() + 60)
        await clock.advance(59)
        connection.expire()
        assert not waiting.done()
        await clock.advance(2)
        connection.expire()
        with pytest.raises(ResponseTimeout):
            await waiting
        await eventually(lambda: codes == [wire.CANCEL])


async def test_content_that_does_not_come() -> None:
    clock = VirtualClock()

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False))
        await peer.until(lambda f: isinstance(f, RstStreamFrame))

    async with server(script) as port, connected(port, clock) as (connection, _):
        response = await send(connection)
        await clock.advance(100)
        connection.expire()  # nobody reads: it is not the next hop that is slow
        reading = asyncio.get_running_loop().create_task(content(response))
        await clock.advance(0)
        assert connection.deadline <= clock.now() + 60
        await clock.advance(61)
        connection.expire()
        with pytest.raises(ResponseIncomplete):
            await reading


async def test_a_window_that_never_opens() -> None:
    clock = VirtualClock()

    async def script(peer: Peer) -> None:
        await request_on(peer)
        await peer.until(lambda f: isinstance(f, RstStreamFrame))

    async with server(script, {4: 10}) as port, connected(port, clock) as (connection, _):
        await eventually(lambda: connection._limit > 0)
        waiting = asyncio.get_running_loop().create_task(
            send(connection, Request(b"POST", b"/", [], authority=b"a", body=b"x" * 100))
        )
        await clock.advance(31)
        connection.expire()
        with pytest.raises(ResponseTimeout):
            await waiting


async def test_an_idle_connection_is_closed_with_goaway() -> None:
    clock = VirtualClock()
    goaways: list[GoAwayFrame] = []

    async def script(peer: Peer) -> None:
        goaways.append(await peer.goaway())

    async with server(script) as port, connected(port, clock) as (connection, owner):
        await clock.advance(29)
        connection.expire()
        assert not connection.closed
        await clock.advance(2)
        connection.expire()
        assert (connection.closed, owner.closed) == (True, 1)
        await eventually(lambda: len(goaways) == 1)
    assert goaways[0].error_code == wire.NO_ERROR
