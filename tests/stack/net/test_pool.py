"""The pool and its HTTP/1.1 connections against an origin of raw bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stack.clock import VirtualClock, eventually
from stack.errors import (
    BadRequest,
    ClosedEarly,
    ConnectRefused,
    HopError,
    PoolExhausted,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
)
from tests.support.origin import OK, Link, origin, serve_ok
from tests.support.pools import content, get, pool, send
from tests.support.wire import listener


async def test_a_connection_is_reused_and_the_request_is_exact() -> None:
    seen: list[bytes] = []

    async def script(link: Link) -> None:
        while head := await link.head():
            seen.append(head)
            link.send(OK)

    async with origin(script) as server:
        upstream = pool(server.port)
        for _ in range(3):
            assert await content(await send(upstream)) == b"ok"
        assert len(server.links) == 1
        assert seen[0] == b"GET /x HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\n\r\n"
        statistics = upstream.statistics()
        assert (statistics.open, statistics.idle, statistics.opened, statistics.reused) == (1, 1, 1, 2)
        await upstream.close()


async def test_the_warmest_connection_comes_first_and_the_others_expire() -> None:
    clock = VirtualClock()
    async with origin(serve_ok) as server:
        upstream = pool(server.port, clock=clock)
        await asyncio.gather(*(send(upstream) for _ in range(4)))
        assert upstream.statistics().idle == 4
        for _ in range(4):
            await clock.advance(10)
            await send(upstream)
        assert upstream.statistics().idle == 1
        await upstream.close()


async def test_no_more_connections_than_allowed_and_waiters_get_their_turn() -> None:
    async with origin(serve_ok) as server:
        upstream = pool(server.port, connections=2, waiting=20)
        answers = await asyncio.gather(*(send(upstream) for _ in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        assert len(server.links) == 2
        await upstream.close()


async def test_waiting_is_bounded_in_number_and_time() -> None:
    clock = VirtualClock()

    async def hang(link: Link) -> None:
        await asyncio.Event().wait()

    async with origin(hang) as server:
        upstream = pool(server.port, connections=1, waiting=1, clock=clock)
        first = asyncio.create_task(send(upstream))
        await eventually(lambda: upstream.statistics().open == 1)
        second = asyncio.create_task(send(upstream))
        await asyncio.sleep(0)
        with pytest.raises(PoolExhausted):
            await send(upstream)
        await clock.advance(6)
        with pytest.raises(PoolExhausted):
            await second
        first.cancel()
        await eventually(lambda: upstream.statistics().open == 0)


async def test_a_cancelled_waiter_loses_nothing() -> None:
    gate = asyncio.Event()

    async def script(link: Link) -> None:
        while await link.head():
            await gate.wait()
            link.send(OK)

    async with origin(script) as server:
        upstream = pool(server.port, connections=1)
        first = asyncio.create_task(send(upstream))
        await eventually(lambda: upstream.statistics().open == 1)
        waiters = [asyncio.create_task(send(upstream)) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        gate.set()
        assert (await first).status == 200
        assert [(await waiter).status for waiter in waiters[1:]] == [200, 200]
        assert upstream.statistics().waiting == 0
        await upstream.close()


@pytest.mark.parametrize(
    ("method", "retried"),
    [
        pytest.param(b"GET", True, id="9110-9.2.2-get"),
        pytest.param(b"PUT", True, id="9110-9.2.2-put"),
        pytest.param(b"POST", False, id="9110-9.2.2-post-never"),
        pytest.param(b"PATCH", False, id="9110-9.2.2-patch-never"),
    ],
)
async def test_a_reused_connection_that_died_is_retried_once(method: bytes, retried: bool) -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(OK)
        if link.number == 0:
            await link.head()  # the second request is read, and never answered
            return
        while await link.head():
            link.send(OK)

    async with origin(script) as server:
        upstream = pool(server.port)
        await send(upstream)
        if retried:
            assert (await send(upstream, get(method))).status == 200
            assert upstream.statistics().retried == 1
        else:
            with pytest.raises(ClosedEarly):
                await send(upstream, get(method))
            assert len(server.links) == 1
        await upstream.close()


async def test_a_new_connection_that_died_is_not_retried_here() -> None:
    async def script(link: Link) -> None:
        await link.head()

    async with origin(script) as server:
        upstream = pool(server.port)
        with pytest.raises(ClosedEarly):
            await send(upstream)
        assert len(server.links) == 1


async def test_a_refused_connection_says_so() -> None:
    sock = listener()
    port = sock.getsockname()[1]
    sock.close()
    with pytest.raises(ConnectRefused) as caught:
        await send(pool(port))
    assert "127.0.0.1" not in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ResponseMalformed),
        (b"junk\r\n\r\n", ResponseMalformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", ResponseIncomplete),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", ResponseIncomplete),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ResponseMalformed),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ResponseIncomplete),
        (b"HTTP/1.1 101 Switching\r\n\r\n", ResponseMalformed),
        (b"", ClosedEarly),
    ],
)
async def test_a_bad_answer_poisons_its_connection(answer: bytes, error: type[HopError]) -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(answer)

    async with origin(script) as server:
        upstream = pool(server.port)
        with pytest.raises(error):
            await content(await send(upstream))
        assert upstream.statistics().open == 0


async def test_bytes_behind_a_response_are_never_the_next_one() -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await link.head()

    async with origin(script) as server:
        upstream = pool(server.port)
        assert await content(await send(upstream)) == b"ok"
        assert await content(await send(upstream)) == b"ok"
        assert len(server.links) == 2
        await upstream.close()


async def test_a_response_to_head_has_no_content_whatever_its_length_says() -> None:
    async def script(link: Link) -> None:
        while await link.head():
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")

    async with origin(script) as server:
        upstream = pool(server.port)
        for _ in range(2):
            response = await send(upstream, get(b"HEAD"))
            assert (response.body, response.get(b"content-length")) == (b"", b"500")
        assert len(server.links) == 1
        await upstream.close()


async def test_interim_responses_are_passed_on() -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(0.01)
        link.send(OK)

    seen: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    async with origin(script) as server:
        request = get()
        request.interim = lambda status, fields: seen.append((status, fields))
        assert (await send(pool(server.port), request)).status == 200
    # RFC 9110 §15.2: the 100 too, which nobody here has asked for
    assert seen == [(100, []), (103, [(b"link", b"</a>")])]


@pytest.mark.parametrize("length", [None, 300_000])
async def test_content_is_streamed_up(length: int | None) -> None:
    received = bytearray()

    async def script(link: Link) -> None:
        head = await link.head()
        assert (b"transfer-encoding: chunked" in head) is (length is None)
        while not received.endswith(b"0\r\n\r\n" if length is None else b"end"):
            received.extend(await link.reader.read(65536))
        link.send(OK)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 99_999
        yield b"end"

    async with origin(script) as server:
        request = get(b"POST")
        request.body = body()  # type: ignore[assignment]
        if length is not None:
            request.fields.append((b"content-length", b"300000"))
        upstream = pool(server.port)
        assert (await send(upstream, request)).status == 200
        await upstream.close()
    assert received.count(b"x") == 299_997


async def test_an_early_answer_ends_the_upload_and_the_connection() -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await link.reader.read()

    blocked = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await blocked.wait()

    async with origin(script) as server:
        request = get(b"POST")
        request.body = body()  # type: ignore[assignment]
        upstream = pool(server.port)
        response = await send(upstream, request)
        assert (response.status, await content(response)) == (413, b"no")
        assert upstream.statistics().open == 0
        await upstream.close()


async def test_a_broken_upload_never_looks_complete() -> None:
    received = bytearray()
    ended = asyncio.Event()

    async def script(link: Link) -> None:
        received.extend(await link.head())
        try:
            while piece := await link.reader.read(100):
                received.extend(piece)
        finally:
            ended.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        await eventually(lambda: b"half" in received)
        raise BadRequest("broken")

    async with origin(script) as server:
        request = get(b"POST")
        request.body = body()  # type: ignore[assignment]
        with pytest.raises(BadRequest):
            await send(pool(server.port), request)
        await asyncio.wait_for(ended.wait(), 5)
    assert received.endswith(b"4\r\nhalf\r\n")


async def test_a_reader_that_leaves_closes_the_connection() -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        await link.reader.read()

    async with origin(script) as server:
        upstream = pool(server.port)
        response = await send(upstream)
        assert not isinstance(response.body, bytes)
        assert await anext(response.body) == b"abc"
        await response.body.aclose()
        assert upstream.statistics().open == 0


async def test_backpressure_reaches_the_origin() -> None:
    sent = 0

    async def script(link: Link) -> None:
        nonlocal sent
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            link.send(bytes(65536))
            await link.writer.drain()
            sent += 65536

    async with origin(script) as server:
        upstream = pool(server.port)
        response = await send(upstream)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 16_000_000
        assert not isinstance(response.body, bytes)
        await response.body.aclose()


@pytest.mark.parametrize(
    ("answer", "seconds", "error"),
    [(b"", 60, ResponseTimeout), (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 60, ResponseIncomplete)],
    ids=["head", "body"],
)
async def test_every_phase_has_its_time(answer: bytes, seconds: float, error: type[HopError]) -> None:
    clock = VirtualClock()

    async def script(link: Link) -> None:
        await link.head()
        link.send(answer)
        await link.reader.read()

    async with origin(script) as server:
        upstream = pool(server.port, clock=clock)

        async def whole() -> bytes:
            return await content(await send(upstream))

        task = asyncio.create_task(whole())
        await eventually(lambda: bool(server.links) and upstream.statistics().open == 1)
        await asyncio.sleep(0.05)
        await clock.advance(seconds - 1)
        assert not task.done()
        await clock.advance(2)
        with pytest.raises(error):
            await task


async def test_cancelling_closes_the_connection() -> None:
    async def script(link: Link) -> None:
        await link.head()
        await link.reader.read()

    async with origin(script) as server:
        upstream = pool(server.port)
        task = asyncio.create_task(send(upstream))
        await eventually(lambda: upstream.statistics().open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.statistics().open == 0
