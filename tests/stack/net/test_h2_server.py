"""A downstream HTTP/2 connection over a real socket, frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hyperframe.frame import DataFrame, HeadersFrame

from stack.clock import eventually
from stack.config.base import Limits
from stack.errors import ConnectRefused, HopError
from stack.http import h2_wire as wire
from stack.http.message import FieldBlock, Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.h2_handlers import collected, echo, hello, later, path, pieces
from tests.support.h2_peer import GET, POST, Wire, client, fields_of, is_window, raw
from tests.support.wire import serving

Fields = list[tuple[bytes, bytes]]


async def test_an_answer_at_once() -> None:
    seen: list[Request] = []

    def handle(request: Request, exchange: Exchange) -> Response:
        seen.append(request)
        return hello(request, exchange)

    async with serving(handle) as (service, server), client(service.port) as peer:
        peer.send(peer.headers(1, [*path(b"/a?b"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]))
        head, content, trailers = await peer.answer(1)
        statistics = server.statistics()
    fields = dict(head)
    assert (fields[b":status"], fields[b"content-length"], content, trailers) == (b"200", b"5", b"hello", [])
    assert {b"date", b"x-request-id", b"content-type"} <= fields.keys()
    assert fields[b"server-timing"].startswith(b"under-test.lookup;dur=")
    [request] = seen
    assert (request.method, request.target, request.authority, request.scheme) == (b"GET", b"/a?b", b"a.test", b"http")
    assert (request.version, request.fields, request.body) == (b"2", [(b"cookie", b"a=1; b=2")], b"")
    assert request.peer is not None
    assert request.peer.address == "127.0.0.1"
    [exchange] = service.exchanges
    assert (exchange.status, exchange.bytes_out, exchange.bytes_in, exchange.termination) == (200, 5, 0, "")
    assert (statistics.opened_h1, statistics.opened_h2, statistics.connections, statistics.in_flight) == (0, 1, 1, 0)


@pytest.mark.parametrize("bytewise", [False, True])
async def test_content_and_trailers_both_ways(bytewise: bool) -> None:
    async def handle(request: Request, exchange: Exchange) -> Response:
        response = Response(200, [], pieces(await collected(request), b"", b"!"))
        response.trailers += request.trailers
        return response

    async with serving(handle) as (service, _), client(service.port) as peer:
        data = peer.headers(1, [*POST, (b"content-length", b"10")], end=False) + peer.data(1, b"hello", padding=9)
        data += peer.data(1, b"world") + peer.headers(1, [(b"x-sum", b"1"), (b"host", b"evil")])
        for at in range(0, len(data), 1 if bytewise else len(data)):
            peer.send(data[at : at + (1 if bytewise else len(data))])
            await asyncio.sleep(0)
        head, content, trailers = await peer.answer(1)
    assert content == b"helloworld!"
    assert trailers == [(b"x-sum", b"1")]
    assert b"content-length" not in dict(head)
    [exchange] = service.exchanges
    assert (exchange.bytes_in, exchange.bytes_out) == (10, 11)


@pytest.mark.parametrize(
    ("method", "response", "length"),
    [
        pytest.param(b"HEAD", lambda: Response(200, [], b"hello"), b"5", id="9110-9.3.2-head"),
        pytest.param(b"HEAD", lambda: Response(200, [], pieces(b"hello")), None, id="9110-9.3.2-head-of-a-stream"),
        pytest.param(b"GET", lambda: Response(204, []), None, id="9110-15.3.5-no-content"),
        pytest.param(
            b"GET", lambda: Response(204, [(b"content-length", b"9")]), None, id="9110-8.6-no-length-with-204"
        ),
        pytest.param(b"GET", lambda: Response(304, [(b"content-length", b"9")]), b"9", id="9110-15.4.5-not-modified"),
        pytest.param(b"GET", lambda: Response(200, []), b"0", id="9110-8.6-empty"),
    ],
)
async def test_responses_without_content(method: bytes, response: Callable[[], Response], length: bytes | None) -> None:
    async with serving(lambda request, exchange: response()) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, [(b":method", method), *GET[1:]]))
        head, content, _ = await peer.answer(1)
        await peer.pong()
        assert not [frame for frame in peer.seen if isinstance(frame, DataFrame)]
    assert (content, dict(head).get(b"content-length")) == (b"", length)


async def test_connection_specific_fields_stay_here() -> None:
    """RFC 9113 8.2.2."""
    block = FieldBlock([(b"connection", b"close"), (b"etag", b'"a"')])
    response = Response(200, [(b"transfer-encoding", b"chunked"), (b"vary", b"x")], b"", block=block)
    async with serving(lambda request, exchange: response) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        head, _, _ = await peer.answer(1)
    assert [name for name, _ in head[:3]] == [b":status", b"etag", b"vary"]
    assert not {b"connection", b"transfer-encoding"} & dict(head).keys()


async def test_a_field_value_with_a_line_break_is_our_own_error() -> None:
    bad = Response(200, [(b"x", b"a\r\nset-cookie: b")], b"hello")
    async with serving(lambda request, exchange: bad) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        head, _, _ = await peer.answer(1)
    assert dict(head)[b":status"] == b"500"


@pytest.mark.parametrize(
    ("error", "status"), [(ConnectRefused(), b"502"), (ValueError("secret"), b"500"), (HopError(status=418), b"418")]
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_errors_become_problem_documents(error: Exception, status: bytes, at_once: bool) -> None:
    async def waits(request: Request, exchange: Exchange) -> Response:
        raise error

    def raises(request: Request, exchange: Exchange) -> Response:
        raise error

    async with serving(raises if at_once else waits) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        head, content, _ = await peer.answer(1)
    assert dict(head)[b":status"] == status
    assert b"secret" not in content
    assert service.exchanges[0].proxy_status


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([*GET, (b"X-Upper", b"1")], id="8.2-uppercase"),
        pytest.param([*GET, (b"x", b"a\r\nb: c")], id="8.2.1-crlf"),
        pytest.param([*GET, (b"connection", b"close")], id="8.2.2-connection"),
        pytest.param([*GET[:3], (b":path", b"/ HTTP/1.1\r\nx: y")], id="8.3.1-path"),
        pytest.param([*GET, (b"host", b"other")], id="8.3.1-host-differs"),
        pytest.param(GET[1:], id="8.3.1-no-method"),
        pytest.param([*GET, (b"content-length", b"5")], id="8.1.1-length-with-end-stream"),
        pytest.param([*GET, (b"content-length", b"+5")], id="9110-8.6-length"),
    ],
)
async def test_a_malformed_request_is_refused_alone(fields: Fields) -> None:
    """RFC 9113 8.1.1: the stream is reset, its neighbours are answered, the service never sees it."""
    asked: list[bytes] = []

    async def handle(request: Request, exchange: Exchange) -> Response:
        asked.append(request.target)
        return await later(request, exchange)

    async with serving(handle) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, path(b"/before")), peer.headers(3, fields), peer.headers(5, path(b"/after")))
        assert await peer.reset_of(3) == wire.PROTOCOL_ERROR
        peer._unread = 0
        assert (await peer.answer(1))[1] == b"later"
        peer._unread = 0
        assert (await peer.answer(5))[1] == b"later"
    assert asked == [b"/before", b"/after"]
    assert [e.termination for e in service.exchanges if e.detail] == ["refused"]


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda p: p.data(1, b"123456"), id="more"),
        pytest.param(lambda p: p.data(1, b"123", end=True), id="less"),
        pytest.param(lambda p: p.data(1, b"123") + p.headers(1, [(b"x", b"1")]), id="less-before-trailers"),
    ],
)
async def test_content_that_is_not_as_long_as_it_says(send: Callable[[Wire], bytes]) -> None:
    """RFC 9113 8.1.1."""
    async with serving(echo) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, [*POST, (b"content-length", b"5")], end=False), send(peer))
        assert await peer.reset_of(1) == wire.PROTOCOL_ERROR
        peer.send(peer.headers(3, GET))
        assert (await peer.answer(3))[0][0] == (b":status", b"200")
    assert service.exchanges[0].termination == "refused"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param([*GET, *[(b"x", b"1")] * 101], b"431", id="6585-5-fields"),
        pytest.param([*GET, *[(b"x%d" % i, b"y" * 1000) for i in range(35)]], b"431", id="6585-5-bytes"),
        pytest.param(path(b"/" * 8193), b"414", id="9110-15.5.15-target"),
        pytest.param([(b":method", b"CONNECT"), (b":authority", b"a:80")], b"501", id="8.5-connect"),
        pytest.param([*GET, (b"expect", b"magic")], b"417", id="9110-10.1.1-expect"),
    ],
)
async def test_what_is_refused_with_a_status(fields: Fields, status: bytes) -> None:
    async with serving(hello) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, fields), peer.headers(3, GET))
        head, _, _ = await peer.answer(1)
        assert dict(head)[b":status"] == status
        assert (await peer.answer(3))[1] == b"hello"


async def test_large_field_sections_arrive_in_continuations() -> None:
    async with serving(lambda request, _: Response(200, [], request.get(b"x") or b"")) as (service, _):
        async with client(service.port) as peer:
            block = peer.encoder.encode([*GET, (b"x", b"v" * 20000)], huffman=False)
            peer.send(raw(1, 1, 1, block[:16384]), raw(9, 4, 1, block[16384:]))
            _, content, _ = await peer.answer(1)
    assert content == b"v" * 20000


@pytest.mark.parametrize("declared", [True, False])
async def test_too_much_content(declared: bool) -> None:
    limits = Limits(body=10)
    async with serving(echo, limits=limits) as (service, _), client(service.port) as peer:
        length = [(b"content-length", b"11")] if declared else []
        peer.send(peer.headers(1, [*POST, *length], end=False), peer.data(1, b"x" * 11))
        head, _, _ = await peer.answer(1)
        assert dict(head)[b":status"] == b"413"
        assert await peer.reset_of(1) == wire.NO_ERROR  # RFC 9113 8.1
        peer.send(peer.headers(3, GET))
        await peer.answer(3)


async def test_a_response_before_the_content_has_ended() -> None:
    """RFC 9113 8.1: the whole response, then RST_STREAM with NO_ERROR; the connection goes on."""
    async with serving(hello) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, POST, end=False), peer.data(1, b"x" * 1000))
        assert (await peer.answer(1))[1] == b"hello"
        assert await peer.reset_of(1) == wire.NO_ERROR
        for _ in range(100):  # under way when the reset came: 1.6 MB in all, more than a window
            peer.send(peer.data(1, b"x" * 16384))
            await peer.pong()
        peer.send(peer.headers(3, GET))
        assert (await peer.answer(3))[1] == b"hello"


async def test_expect_continue_is_met_when_the_content_is_wanted() -> None:
    wanted = asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        await wanted.wait()
        return await echo(request, exchange)

    async with serving(handle) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, [*POST, (b"expect", b"100-continue")], end=False))
        await peer.pong()
        assert not [frame for frame in peer.seen if isinstance(frame, HeadersFrame)]
        wanted.set()
        interim = await peer.until(lambda f: isinstance(f, HeadersFrame))
        assert fields_of(interim) == [(b":status", b"100")]
        peer.send(peer.data(1, b"hello", end=True))
        assert (await peer.answer(1))[1] == b"hello"


async def test_interim_responses() -> None:
    async def handle(request: Request, exchange: Exchange) -> Response:
        assert request.interim is not None
        request.interim(103, [(b"link", b"</style.css>")])
        await asyncio.sleep(0)
        return Response(200, [], b"x")

    async with serving(handle) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        interim = await peer.until(lambda f: isinstance(f, HeadersFrame))
        assert fields_of(interim) == [(b":status", b"103"), (b"link", b"</style.css>")]
        assert (await peer.answer(1))[0][0] == (b":status", b"200")


async def test_windows_hold_the_response_back() -> None:
    content = bytes(range(256)) * 4096  # 1 MiB
    produced = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal produced
        for at in range(0, len(content), 10000):
            produced = at
            yield content[at : at + 10000]

    async with serving(lambda r, e: Response(200, [], body())) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        received = 0
        while received < 65535:
            frame = await peer.until(lambda f: isinstance(f, DataFrame))
            received += len(frame.data)
        await peer.pong()
        assert produced < 100_000  # a source is not read ahead of its reader
        peer._unread = 0
        peer.send(peer.window(0, 65535), peer.window(1, 65535))
        _, received_content, _ = await peer.answer(1)
    assert received_content == content
    assert service.exchanges[0].bytes_out == len(content)


async def test_one_stream_without_a_window_does_not_hold_the_others() -> None:
    async with serving(lambda r, e: Response(200, [], b"x" * 10)) as (service, _):
        async with client(service.port, {4: 0}) as peer:
            peer.send(peer.headers(1, GET), peer.headers(3, GET), peer.window(3, 10))
            assert (await peer.answer(3, credit=False))[1] == b"x" * 10
            assert not [f for f in peer.seen if isinstance(f, DataFrame) and f.stream_id == 1]
            peer._unread = 0
            peer.send(peer.settings({4: 5}), peer.window(1, 5))
            assert (await peer.answer(1, credit=False))[1] == b"x" * 10


async def test_content_that_nobody_reads_is_not_credited() -> None:
    """Backpressure: what a handler does not take stays with the client."""
    read = asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        await read.wait()
        return Response(200, [], b"%d" % len(await collected(request)))

    async with serving(handle) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, POST, end=False), *[peer.data(1, b"x" * 16000) for _ in range(4)])
        await peer.pong()
        assert not [f for f in peer.seen if is_window(f, 1)]
        read.set()
        await peer.until(lambda f: is_window(f, 1))
        peer.send(peer.data(1, b"", end=True))
        assert (await peer.answer(1))[1] == b"64000"


async def test_a_reset_cancels_the_work() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async with serving(handle) as (service, server), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        await started.wait()
        peer.send(peer.reset(1))
        async with asyncio.timeout(10):
            await cancelled.wait()
        await eventually(lambda: server.context.in_flight == 0)
        await peer.pong()
        assert server.context.connections
    assert service.exchanges[0].termination == "client-gone"


async def test_a_reset_in_the_same_read_leaves_nothing_behind() -> None:
    """The task is cancelled before its first step."""
    async with serving(later) as (service, server), client(service.port) as peer:
        peer.send(*[peer.headers(s, GET) + peer.reset(s) for s in range(1, 101, 2)])
        await peer.pong()
        await eventually(lambda: len(service.exchanges) == 50)
        assert server.context.in_flight == 0
        assert len(service.tasks) == 0
        peer.send(peer.headers(101, GET))
        assert (await peer.answer(101))[1] == b"later"
    assert {e.termination for e in service.exchanges[:50]} == {"client-gone"}


async def test_a_reset_closes_the_response_content() -> None:
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    async with serving(lambda r, e: Response(200, [], body())) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        await peer.until(lambda f: isinstance(f, DataFrame))
        peer.send(peer.reset(1))
        async with asyncio.timeout(10):
            await closed.wait()
        await eventually(lambda: len(service.exchanges) == 1)
    assert service.exchanges[0].termination == "client-gone"
    assert service.exchanges[0].status == 200


async def test_a_lost_connection_cancels_everything() -> None:
    waiting = 0

    async def handle(request: Request, exchange: Exchange) -> Response:
        nonlocal waiting
        waiting += 1
        await collected(request)
        raise AssertionError

    async with serving(handle) as (service, server):
        async with client(service.port) as peer:
            peer.send(*[peer.headers(s, POST, end=False) for s in (1, 3, 5)])
            await eventually(lambda: waiting == 3)
        await eventually(lambda: server.context.in_flight == 0 and not server.context.connections)
        assert len(service.tasks) == 0
    assert [e.termination for e in service.exchanges] == ["client-gone"] * 3


@pytest.mark.parametrize(("error", "termination"), [(ConnectRefused("x"), "upstream-cut"), (ValueError("x"), "failed")])
async def test_content_that_breaks_off_is_visibly_cut(error: Exception, termination: str) -> None:
    async with serving(lambda r, e: Response(200, [], pieces(b"some", error))) as (service, _):
        async with client(service.port) as peer:
            peer.send(peer.headers(1, GET))
            with pytest.raises(ConnectionResetError) as caught:
                await peer.answer(1)
            peer.send(peer.headers(3, GET))
            await peer.until(lambda f: isinstance(f, HeadersFrame) and f.stream_id == 3)
    assert caught.value.args == (wire.INTERNAL_ERROR,)
    assert service.exchanges[0].termination == termination


@pytest.mark.parametrize("parts", [[b"123"], [b"123456"]], ids=["less", "more"])
async def test_a_response_that_is_not_as_long_as_it_says_is_cut(parts: list[bytes]) -> None:
    """RFC 9113 8.1.1: or we would send a malformed message ourselves."""
    response = Response(200, [(b"content-length", b"5")], pieces(*parts))
    async with serving(lambda r, e: response) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        with pytest.raises(ConnectionResetError):
            await peer.answer(1)
