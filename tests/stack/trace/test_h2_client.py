"""The tracer over HTTP/2, against a server that is scripted frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame

from stack.clock import SystemClock, eventually
from stack.errors import ClosedEarly, HopError, Refused, ResponseIncomplete, ResponseMalformed, Unsent
from stack.http.message import Request, Response
from stack.net.stream import Incoming
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.trace.h2_client import H2TraceConnection
from stack.trace.run import Failure
from tests.stack.trace.scripted import traced
from tests.support.h2_peer import Peer, fields_of, is_window, raw, request_on, server

OK = [(b":status", b"200"), (b"content-type", b"text/plain")]
WINDOW = 100_000


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[H2TraceConnection]:
    tasks = Tasks()
    connection = H2TraceConnection(name="it", scheme=b"http", clock=SystemClock(), tasks=tasks, max_buffer=WINDOW)
    await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port)
    try:
        yield connection
    finally:
        connection.abort()
        await tasks.close()


def request(method: bytes = b"GET", **more: object) -> Request:
    return Request(method, b"/x?y", [(b"accept", b"*/*")], authority=b"a.test", **more)  # type: ignore[arg-type]


async def send(connection: H2TraceConnection, what: Request | None = None) -> Response:
    async with asyncio.timeout(10):
        return await connection.send(what or request(), Exchange("t", SystemClock.now))


async def content(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    async with asyncio.timeout(10):
        return b"".join([piece async for piece in response.body])


async def test_requests_one_after_the_other_with_all_that_a_response_has() -> None:
    seen: list[object] = []
    interims: list[object] = []

    async def script(peer: Peer) -> None:
        for _ in range(2):
            stream = await request_on(peer)
            seen.append(fields_of(peer.seen[peer._unread - 1]))
            peer.send(
                peer.headers(stream, [(b":status", b"103"), (b"link", b"</a>")], end=False),
                peer.headers(stream, OK, end=False),
                peer.data(stream, b"hel", padding=20),
                peer.data(stream, b"lo"),
                peer.headers(stream, [(b"x-sum", b"5")]),
            )
        await peer.next()

    async with server(script) as port, connected(port) as connection:
        for _ in range(2):
            response = await send(connection, request(interim=lambda *what: interims.append(what)))
            assert (response.status, response.version, response.fields) == (200, b"2", OK[1:])
            assert await content(response) == b"hello"
            assert response.trailers == [(b"x-sum", b"5")]
        assert (connection.served, connection.idle, connection.capacity) == (2, True, 1)
    assert interims == [(103, [(b"link", b"</a>")])] * 2
    assert seen[0] == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a.test"),
        (b":path", b"/x?y"),
        (b"accept", b"*/*"),
    ]


async def test_content_waits_for_windows_both_ways() -> None:
    """RFC 9113 §5.2: the server's window of 10 bytes; ours, which opens as the content is read."""
    opened: list[int] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        for _ in range(3):
            frame = await peer.until(lambda f: isinstance(f, DataFrame))
            opened.append(len(frame.data))
            peer.send(peer.window(stream, 10))
        peer.send(peer.headers(stream, OK, end=False))
        for start in range(0, WINDOW, 10_000):
            peer.send(peer.data(stream, bytes(10_000), end=start == WINDOW))
        await peer.until(lambda f: is_window(f, stream))
        peer.send(peer.data(stream, b"end", end=True))
        await peer.next()

    async with server(script, settings={4: 10}) as port, connected(port) as connection:
        async with asyncio.timeout(10):
            while not await connection.takes_tunnels() and connection._h2.remote_settings.initial_window_size != 10:
                raise AssertionError
        response = await send(connection, request(b"POST", body=bytes(25)))
        assert len(await content(response)) == WINDOW + 3
    assert opened == [10, 10, 5]


Frames = list[bytes]


def broken(peer: Peer, stream: int, how: str) -> Frames:
    def head(*more: tuple[bytes, bytes], end: bool = False) -> bytes:
        return peer.headers(stream, [*OK, *more], end=end)

    long = (b"content-length", b"9")
    ways: dict[str, Callable[[], Frames]] = {
        "refused": lambda: [peer.reset(stream, 7)],
        "reset": lambda: [head(), peer.data(stream, b"a"), peer.reset(stream, 2)],
        "goaway": lambda: [peer.go_away(0, 11)],
        "short": lambda: [head(long), peer.data(stream, b"a", end=True)],
        "short with trailers": lambda: [head(long), peer.data(stream, b"a"), peer.headers(stream, [(b"x-sum", b"1")])],
        "no content": lambda: [head(long, end=True)],
        "upper case": lambda: [head((b"X-A", b"1"), end=True)],
        "connection-specific": lambda: [head((b"connection", b"close"), end=True)],
        "data first": lambda: [peer.data(stream, b"a", end=True)],
        "long frame": lambda: [raw(0, 0, stream, bytes(16_385))],
        "interims": lambda: [peer.headers(stream, [(b":status", b"102")], end=False) for _ in range(21)],
    }
    return ways[how]()


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        pytest.param("refused", Refused, "code 7", id="8.7-refused"),
        pytest.param("reset", ResponseIncomplete, "stream reset with code 2", id="5.4.2-reset"),
        pytest.param("goaway", Refused, "GOAWAY with code 11", id="6.8-goaway"),
        pytest.param("short", ResponseIncomplete, "content-length", id="8.1.1-short"),
        pytest.param("short with trailers", ResponseIncomplete, "content-length", id="8.1.1-short-with-trailers"),
        pytest.param("no content", ResponseMalformed, "no content", id="8.1.1-none"),
        pytest.param("upper case", ResponseMalformed, "", id="8.2-upper-case"),
        pytest.param("connection-specific", ResponseMalformed, "", id="8.2.2-connection-specific"),
        pytest.param("data first", ResponseMalformed, "", id="8.1-data-first"),
        pytest.param("long frame", ResponseMalformed, "16385 bytes", id="4.2-long-frame"),
        pytest.param("interims", ResponseMalformed, "too many interim", id="15.2-interims"),
    ],
)
async def test_what_breaks(how: str, error: type[HopError], said: str) -> None:
    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(*broken(peer, stream, how))
        await peer.next()

    async with server(script) as port, connected(port) as connection:
        with pytest.raises(error) as raised:
            await content(await send(connection))
        assert type(raised.value) is error
        assert said in raised.value.private


async def test_what_is_in_flight_outlives_goaway() -> None:
    """RFC 9113 §6.8: in one read with what comes behind it, which the library alone would not take."""

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), peer.go_away(stream), peer.data(stream, b"whole", end=True))
        await peer.next()

    async with server(script) as port, connected(port) as connection:
        assert await content(await send(connection)) == b"whole"
        assert (connection.closed, connection.capacity) == (True, 0)
        with pytest.raises(Unsent):
            await send(connection)


@pytest.mark.parametrize(("begun", "error"), [(False, ClosedEarly), (True, ResponseIncomplete)])
async def test_a_server_that_dies(begun: bool, error: type[HopError]) -> None:
    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        if begun:
            peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"a"))

    async with server(script) as port, connected(port) as connection:
        with pytest.raises(error):
            await content(await send(connection))
        assert connection.closed


async def test_who_gives_up_resets_and_the_connection_goes_on() -> None:
    """Before the response, in it, and with content of the first still on its way as the next goes out."""
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        silent = await request_on(peer)
        codes.append(await peer.reset_of(silent))
        peer.send(peer.headers(silent, OK, end=False), peer.data(silent, b"late"))
        half = await request_on(peer)
        peer.send(peer.headers(half, OK, end=False), peer.data(half, b"a"))
        codes.append(await peer.reset_of(half))
        peer.send(peer.data(half, b"late"))
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"whole", end=True))
        await peer.next()

    async with server(script) as port, connected(port) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.send(request(), Exchange("t", SystemClock.now))
        response = await send(connection)
        assert isinstance(response.body, Incoming)
        assert await anext(response.body) == b"a"
        await response.body.aclose()
        assert await content(await send(connection)) == b"whole"
    assert codes == [8, 8]


async def test_an_early_answer_ends_the_upload() -> None:
    """RFC 9113 §8.1."""
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, [(b":status", b"413")]))
        codes.append(await peer.reset_of(stream))

    async with server(script) as port, connected(port) as connection:
        response = await send(connection, request(b"POST", body=bytes(1_000_000)))
        assert (response.status, response.body) == (413, b"")
        await connection.takes_tunnels()
        assert connection.idle
        async with asyncio.timeout(10):
            while not connection.closed:
                await connection._change()
    assert codes == [8]


@pytest.mark.parametrize("takes", [True, False])
async def test_a_tunnel(takes: bool) -> None:
    """RFC 8441: an extended CONNECT, its pieces, its end from both sides."""
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        if not takes:
            await peer.next()
            return
        stream = await request_on(peer)
        got.extend(value for name, value in fields_of(peer.seen[peer._unread - 1]) if name == b":protocol")
        peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"hi"))
        while True:
            frame = await peer.until(lambda f: isinstance(f, DataFrame))
            got.append(frame.data)
            if "END_STREAM" in frame.flags:
                break
        peer.send(peer.data(stream, b"bye", end=True))
        await peer.next()

    async with server(script, settings={8: int(takes)}) as port, connected(port) as connection:
        async with asyncio.timeout(10):
            assert await connection.takes_tunnels() is takes
        if not takes:
            return
        body = Incoming(1000)
        response = await send(connection, request(body=body, upgrade=b"websocket"))
        assert response.status == 101
        body.feed(b"ping")
        assert isinstance(response.body, Incoming)
        assert await anext(response.body) == b"hi"
        body.end()
        assert await content(response) == b"bye"
        assert connection.idle
    assert (got[0], b"".join(got[1:])) == (b"websocket", b"ping")


async def test_a_request_that_cannot_be_sent_is_one_clear_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.next()

    async with server(script) as port, connected(port) as connection:
        bad = request()
        bad.fields.append((b"x", b"a\r\nb"))
        with pytest.raises(HopError) as raised:
            await send(connection, bad)
        assert raised.value.private.startswith("request to it: ")


async def test_a_trace_over_it_and_one_that_fails() -> None:
    codes: list[object] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK, end=False), peer.data(stream, b"hello", end=True))
        await request_on(peer)
        await peer.until(lambda f: isinstance(f, RstStreamFrame))
        codes.append("reset")

    async with server(script) as port:
        good, late = await traced(f"http://127.0.0.1:{port}/", http="2", repeat=2, seconds=1.0)
        await eventually(lambda: codes == ["reset"])
    assert (good.protocol, good.size, good.failure) == ("HTTP/2", 5, None)
    assert (late.reused, late.failure) == (True, Failure.TIMEOUT)
