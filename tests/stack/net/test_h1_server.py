"""A downstream HTTP/1.1 connection over a real socket, whole and byte by byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from stack.clock import VirtualClock, eventually
from stack.config.base import Limits, Timeouts
from stack.errors import ConnectRefused
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.wire import serving, statuses, talk

HELLO = Response(200, [(b"content-type", b"text/plain")], b"hello")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def hello(request: Request, exchange: Exchange) -> Response:
    exchange.mark("lookup", "hit")
    return Response(200, [(b"content-type", b"text/plain")], b"hello")


async def echo(request: Request, exchange: Exchange) -> Response:
    body = request.body if isinstance(request.body, bytes) else b"".join([piece async for piece in request.body])
    return Response(200, [(b"x-target", request.target), (b"x-method", request.method)], body)


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


@pytest.mark.parametrize("bytewise", [False, True])
async def test_an_answer_at_once(bytewise: bool) -> None:
    async with serving(hello) as (service, _):
        answer = await talk(service.port, GET, bytewise=bytewise)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"content-length: 5" in lines
    assert any(line.startswith(b"date: ") for line in lines)
    assert any(line.startswith(b"x-request-id: ") for line in lines)
    assert any(line.startswith(b"server-timing: under-test.lookup;dur=") for line in lines)
    assert body == b"hello"
    [exchange] = service.exchanges
    assert (exchange.status, exchange.bytes_out, exchange.termination) == (200, 5, "")


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_content_arrives(request_bytes: bytes, bytewise: bool) -> None:
    async with serving(echo) as (service, _):
        answer = await talk(service.port, request_bytes + GET, bytewise=bytewise)
    assert statuses(answer) == [200] * (2 if b"connection: close" not in answer else 1)
    assert b"\r\n\r\nhello" in answer
    assert service.exchanges[0].bytes_in == 5


@pytest.mark.parametrize("handler", [hello, echo])
async def test_pipelined_requests_are_answered_in_order(handler: object) -> None:
    async with serving(handler) as (service, _):  # type: ignore[arg-type]
        answer = await talk(service.port, b"".join(GET.replace(b"/ ", b"/%d " % n) for n in range(20)))
    assert statuses(answer) == [200] * 20
    assert [exchange.request.target for exchange in service.exchanges] == [b"/%d" % n for n in range(20)]  # type: ignore[union-attr]


async def test_a_stream_is_chunked_and_its_trailers_follow() -> None:
    def handler(request: Request, exchange: Exchange) -> Response:
        return Response(200, [], pieces(b"a", b"", b"bc"), trailers=[(b"x-sum", b"1")])

    async with serving(handler) as (service, _):
        answer = await talk(service.port, GET)
    assert answer.endswith(b"\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 1\r\n\r\n")
    assert b"transfer-encoding: chunked" in answer


async def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    async with serving(lambda request, exchange: Response(200, [], pieces(b"a", b"bc"))) as (service, _):
        answer = await talk(service.port, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in answer


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([], pieces(b"a", ConnectRefused())),
        ([], pieces(b"a", RuntimeError("boom"))),
        ([(b"content-length", b"3")], pieces(b"a")),
        ([(b"content-length", b"3")], pieces(b"abcd")),
    ],
    ids=["hop-error", "any-error", "too-short", "too-long"],
)
async def test_content_that_breaks_off_is_visibly_cut(
    fields: list[tuple[bytes, bytes]], body: AsyncIterator[bytes]
) -> None:
    async with serving(lambda request, exchange: Response(200, fields, body)) as (service, _):  # type: ignore[arg-type]
        answer = await talk(service.port, GET, half_close=False)
        await eventually(lambda: bool(service.exchanges))
    assert not answer.endswith(b"\r\n0\r\n\r\n")
    assert b"abcd" not in answer
    assert service.exchanges[0].termination in ("upstream-cut", "failed")


@pytest.mark.parametrize(
    ("request_bytes", "status", "has_body"),
    [(GET.replace(b"GET", b"HEAD"), 200, False), (GET, 204, False), (GET, 304, False)],
    ids=["9110-9.3.2-head", "9110-15.3.5-204", "9110-15.4.5-304"],
)
async def test_no_content(request_bytes: bytes, status: int, has_body: bool) -> None:
    async with serving(lambda request, exchange: Response(status, [], b"hello")) as (service, _):
        answer = await talk(service.port, request_bytes)
    assert answer.endswith(b"\r\n\r\n")
    assert (b"content-length: 5" in answer) is (b"HEAD" in request_bytes)


@pytest.mark.parametrize("body", [lambda: b"hello", lambda: pieces(b"hello")], ids=["whole", "stream"])
@pytest.mark.parametrize(("status", "kept"), [(204, False), (304, True)], ids=["9110-8.6-204", "9110-8.6-304"])
async def test_no_length_with_204(status: int, kept: bool, body: Callable[[], bytes]) -> None:
    async with serving(lambda request, exchange: Response(status, [(b"content-length", b"5")], body())) as (service, _):
        answer = await talk(service.port, GET + GET)
    assert statuses(answer) == [status, status]
    assert (b"content-length" in answer) is kept


async def test_errors_are_problem_documents(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: Request, exchange: Exchange) -> Response:
        raise ConnectRefused(private="10.0.0.7:80")

    def fail(request: Request, exchange: Exchange) -> Response:
        raise RuntimeError("secret")

    for handler, status, word in ((refuse, 502, b"connection_refused"), (fail, 500, b"proxy_internal_error")):
        async with serving(handler) as (service, _):
            answer = await talk(service.port, GET + GET)
        assert statuses(answer) == [status, status]
        assert b"under-test;error=" + word in answer
        assert b"10.0.0.7" not in answer
        assert b"secret" not in answer
        assert service.exchanges[0].proxy_status == word.decode()
        if handler is fail:
            ids = [exchange.request_id.decode() for exchange in service.exchanges]
            assert [record.message.rpartition(" ")[2] for record in caplog.records] == ids


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"a" * 3000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 3000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n", 400),
        (b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ],
)
async def test_what_is_not_a_request_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int, bytewise: bool
) -> None:
    async with serving(echo, limits=Limits(head=2048, body=1000)) as (service, _):
        answer = await talk(service.port, request_bytes, bytewise=bytewise, half_close=False)
    assert statuses(answer) == [status]
    assert b"connection: close" in answer


async def test_100_continue_is_sent_when_the_content_is_wanted() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with serving(echo) as (service, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
    async with serving(hello) as (service, _):
        answer = await talk(service.port, head, half_close=False)
        assert statuses(answer) == [200]  # never wanted, never asked for


async def test_a_client_that_leaves_cancels_the_work() -> None:
    cancelled = asyncio.Event()

    async def hang(request: Request, exchange: Exchange) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with serving(hang) as (service, server):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET)
        await eventually(lambda: server.statistics().in_flight == 1)
        writer.transport.abort()
        await asyncio.wait_for(cancelled.wait(), 5)
        await eventually(lambda: bool(service.exchanges))
    assert service.exchanges[0].termination == "client-gone"


async def test_a_slow_reader_pauses_the_handler_and_is_cut_off_in_the_end() -> None:
    clock, sent = VirtualClock(), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield bytes(65536)

    async with serving(lambda request, exchange: Response(200, [], endless()), clock=clock) as (service, _server):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
        writer.write(GET)
        await eventually(lambda: sent > 0)
        before = -1
        while before != sent:  # until the sockets' buffers are full
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 16_000_000
        await clock.advance(61)  # the client's kernel may have taken something at first
        await eventually(lambda: bool(service.exchanges))
        assert service.exchanges[0].termination == "timeout"
        writer.close()


@pytest.mark.parametrize(
    ("sent", "seconds", "status"),
    [
        pytest.param(b"", 10.5, [], id="no-byte"),
        pytest.param(b"GET / HT", 10.5, [408], id="half-a-head"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", 30.5, [408], id="half-a-body"),
        pytest.param(GET, 75.5, [200], id="idle"),
    ],
)
async def test_every_phase_has_its_time(sent: bytes, seconds: float, status: list[int]) -> None:
    clock = VirtualClock()
    async with serving(echo, clock=clock) as (service, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(sent)
        answer = b""
        await eventually(lambda: server.statistics().connections == 1)
        if status == [200]:
            answer = await reader.readuntil(b"\r\n\r\n")
        elif sent:
            await asyncio.sleep(0.05)
        await clock.advance(seconds - 1)
        assert server.statistics().connections == 1
        await clock.advance(1.5)
        await clock.advance(5)
        async with asyncio.timeout(5):
            answer += await reader.read()
        writer.close()
    assert statuses(answer) == status


async def test_a_slow_trickle_does_not_prolong_the_head() -> None:
    clock = VirtualClock()
    async with serving(echo, clock=clock) as (service, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        await eventually(lambda: server.statistics().connections == 1)
        for _ in range(12):
            writer.write(b"G")
            await writer.drain()
            await asyncio.sleep(0.01)
            await clock.advance(1)
        async with asyncio.timeout(5):
            assert statuses(await reader.read()) == [408]
        writer.close()


async def test_draining_lets_requests_end_and_closes_the_idle() -> None:
    go = asyncio.Event()

    async def wait(request: Request, exchange: Exchange) -> Response:
        await go.wait()
        return Response(200, [], b"done")

    async with serving(wait, timeouts=Timeouts(drain=5)) as (service, server):
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", service.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET)
        await eventually(lambda: server.statistics().in_flight == 1 and server.statistics().connections == 2)
        draining = asyncio.create_task(server.drain())
        assert await idle_reader.read() == b""
        go.set()
        answer = await reader.read()
        assert answer.endswith(b"done")
        assert b"connection: close" in answer
        await draining
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", service.port)
        idle_writer.close()
        writer.close()


@pytest.mark.parametrize("early", [0, 1, len(GET) - 1], ids=["nothing", "a-byte", "all-but-a-byte"])
async def test_draining_answers_the_first_request_that_is_on_its_way(early: int) -> None:
    """Who was let in is not turned away: nothing says that the request may be sent again (RFC 9112 §9.3.1)."""
    async with serving(lambda request, exchange: Response(200, [], b"done")) as (service, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET[:early])
        await eventually(lambda: server.statistics().connections == 1)
        draining = asyncio.create_task(server.drain())
        await eventually(lambda: server.statistics().draining)
        writer.write(GET[early:])
        answer = await reader.read()
        assert answer.endswith(b"done")
        assert b"connection: close" in answer
        await draining
        writer.close()


async def test_draining_serves_who_was_in_the_queue_already() -> None:
    async with serving(hello) as (service, server):
        waiting = []
        for _ in range(30):  # the kernel takes them; the loop has had no turn to accept them
            client = socket.create_connection(("127.0.0.1", service.port))
            client.sendall(GET)
            client.setblocking(False)
            waiting.append(client)
        await server.drain()
        for client in waiting:
            with client:
                assert client.recv(65536).endswith(b"hello")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port))


async def test_draining_cuts_off_what_does_not_end() -> None:
    clock = VirtualClock()

    async def never(request: Request, exchange: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(never, clock=clock) as (service, server):
        _reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET)
        await eventually(lambda: server.statistics().in_flight == 1)
        draining = asyncio.create_task(server.drain())
        await clock.advance(9)
        assert not draining.done()
        await clock.advance(2)
        await draining
        assert service.exchanges == [] or service.exchanges[0].termination == "drained"
        await eventually(lambda: bool(service.exchanges))
        writer.close()


async def test_interim_responses_come_first() -> None:
    async def hints(request: Request, exchange: Exchange) -> Response:
        assert request.interim is not None
        request.interim(103, [(b"link", b"</a.css>; rel=preload")])
        return Response(200, [], b"")

    async with serving(hints) as (service, _):
        assert statuses(await talk(service.port, GET)) == [103, 200]
        assert statuses(await talk(service.port, GET.replace(b"1.1", b"1.0"))) == [200]


async def test_a_field_that_breaks_its_line_never_leaves() -> None:
    async with serving(lambda request, exchange: Response(200, [(b"x", b"a\r\nset-cookie: b")], b"")) as (service, _):
        answer = await talk(service.port, GET)
    assert statuses(answer) == [500]
    assert b"set-cookie" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
async def test_content_that_ends_early_is_never_whole(request_bytes: bytes) -> None:
    async with serving(echo) as (service, _):
        answer = await talk(service.port, request_bytes)
    assert statuses(answer) == [400]
    assert b"connection: close" in answer


async def test_an_idle_stream_ends_when_its_reader_leaves() -> None:
    closed = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with serving(lambda request, exchange: Response(200, [], stalled())) as (service, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET)
        await reader.readuntil(b"first")
        writer.close()
        await asyncio.wait_for(closed.wait(), 5)
    assert service.exchanges[0].termination == "client-gone"


async def test_a_reader_that_shut_down_its_side_gets_all_of_a_moving_stream() -> None:
    async def moving() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x"
            await asyncio.sleep(0.01)

    async with serving(lambda request, exchange: Response(200, [], moving())) as (service, _):
        answer = await talk(service.port, GET)
    assert answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
async def test_a_slow_reader_that_reads_gets_everything(close: bytes) -> None:
    """The time-out for sending is for a client that takes nothing, also when the connection closes afterwards."""
    clock, size = VirtualClock(), 24_000_000
    async with serving(lambda request, exchange: Response(200, [], bytes(size)), clock=clock) as (service, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=65536)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + close + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        while received < size:
            async with asyncio.timeout(10):
                received += len(await reader.readexactly(min(2_000_000, size - received)))
            await clock.advance(5)
        assert received == size
        writer.close()


async def test_an_answer_ahead_of_an_unread_upload_arrives_whole() -> None:
    clock, size = VirtualClock(), 24_000_000
    async with serving(lambda request, exchange: Response(200, [], bytes(size)), clock=clock) as (service, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=65536)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        while received < size:
            async with asyncio.timeout(10):
                received += len(await reader.readexactly(min(2_000_000, size - received)))
            await clock.advance(5)
        assert received == size
        writer.close()


async def test_a_client_that_left_is_logged_as_499() -> None:
    async def hang(request: Request, exchange: Exchange) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(hang) as (service, server):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET)
        await eventually(lambda: server.statistics().in_flight == 1)
        writer.transport.abort()
        await eventually(lambda: bool(service.exchanges))
    assert service.exchanges[0].status == 499


async def test_a_full_server_lets_who_comes_wait() -> None:
    async with serving(hello, limits=Limits(connections=2)) as (service, server):
        first = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
        await eventually(lambda: server.statistics().connections == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)  # the kernel's queue takes it
        writer.write(GET)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await reader.readuntil(b"hello")
        assert server.statistics().connections == 2
        first[0][1].close()
        async with asyncio.timeout(10):
            await reader.readuntil(b"hello")
        writer.close()
        first[1][1].close()
        assert statuses(await talk(service.port, GET)) == [200]


async def test_a_full_server_that_drains_serves_who_waits() -> None:
    async with serving(hello, limits=Limits(connections=1)) as (service, server):
        _, first = await asyncio.open_connection("127.0.0.1", service.port)
        await eventually(lambda: server.statistics().connections == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(GET)
        await server.drain()
        assert (await reader.read()).endswith(b"hello")
        first.close()
        writer.close()
