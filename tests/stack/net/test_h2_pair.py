"""Our client and our server back to back, through the pool, in the clear and over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
import trustme

from stack.clock import SystemClock, eventually
from stack.config.base import Limits, PoolLimits, UpstreamTimeouts
from stack.errors import HopError, ResponseIncomplete
from stack.http.message import Request, Response
from stack.net.pool import Pool, Upstream
from stack.net.server import Server
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.wire import Handler, Scripted, serving

MIB = 1024 * 1024
CONTENT = hashlib.shake_256(b"content").digest(MIB)


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def content(message: Request | Response) -> bytes:
    if isinstance(message.body, bytes):
        return message.body
    return b"".join([piece async for piece in message.body])


@contextlib.asynccontextmanager
async def pair(
    handler: Handler, *, limits: Limits | None = None, tls: bool = False, connections: int = 1
) -> AsyncIterator[tuple[Pool, Scripted, Server]]:
    server_tls = client_tls = None
    if tls:
        authority = trustme.CA()
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(server_tls)
        server_tls.set_alpn_protocols(["h2", "http/1.1"])
        client_tls = ssl.create_default_context()
        authority.configure_trust(client_tls)
        client_tls.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(handler, limits=limits, tls=server_tls) as (service, server):
        tasks = Tasks()
        pool = Pool(
            Upstream(
                "origin",
                "127.0.0.1",
                service.port,
                tls=client_tls,
                server_name="localhost",
                protocol="auto" if tls else "h2",
            ),
            limits=PoolLimits(connections=connections),
            timeouts=UpstreamTimeouts(),
            clock=SystemClock(),
            tasks=tasks,
        )
        try:
            yield pool, service, server
        finally:
            await pool.close()
            await tasks.close()


async def send(pool: Pool, request: Request) -> Response:
    async with asyncio.timeout(30):
        return await pool.send(request, Exchange("t", SystemClock.now))


def get(target: bytes = b"/") -> Request:
    return Request(b"GET", target, [], authority=b"a.test")


async def echo(request: Request, exchange: Exchange) -> Response:
    response = Response(200, [], request.body)
    response.trailers = request.trailers
    return response


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("size", [1000, 100_000, MIB])
async def test_a_mebibyte_both_ways_at_once(tls: bool, size: int) -> None:
    """Echoed as it comes: both directions of flow control at the same time."""
    async with pair(echo, tls=tls) as (pool, service, server):
        request = Request(
            b"POST", b"/", [], authority=b"a.test", body=pieces(CONTENT, size), trailers=[(b"x-sum", b"1")]
        )
        response = await send(pool, request)
        assert await content(response) == CONTENT
        assert response.trailers == [(b"x-sum", b"1")]
        assert server.statistics().opened_h2 == 1
        await eventually(lambda: len(service.exchanges) == 1)
    assert (service.exchanges[0].bytes_in, service.exchanges[0].bytes_out) == (MIB, MIB)


async def test_many_mebibytes_on_one_connection() -> None:
    async def one(pool: Pool, number: int) -> bool:
        body = pieces(CONTENT, 50_000) if number % 2 else CONTENT
        response = await send(pool, Request(b"POST", b"/%d" % number, [], authority=b"a.test", body=body))
        return await content(response) == CONTENT

    async with pair(echo) as (pool, _, server):
        assert all(await asyncio.gather(*[one(pool, number) for number in range(20)]))
        assert server.statistics().opened_h2 == 1


async def test_a_reader_that_stops_does_not_stop_the_others() -> None:
    async with pair(lambda r, e: Response(200, [], pieces(CONTENT, 10_000))) as (pool, _, _server):
        stopped = [await send(pool, get()) for _ in range(30)]
        response = await send(pool, get())
        assert await content(response) == CONTENT
        assert await content(stopped[0]) == CONTENT
        for left in stopped[1:]:
            assert not isinstance(left.body, bytes)
            await left.body.aclose()
        assert await content(await send(pool, get())) == CONTENT


async def test_a_departed_client_is_felt_behind_two_hops() -> None:
    """A reset travels: client -> middle -> origin."""
    cancelled = asyncio.Event()

    async def origin(request: Request, exchange: Exchange) -> Response:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async with pair(origin) as (inner, service, server):
        async with pair(lambda request, exchange: inner.send(get(), exchange)) as (outer, _, _middle):
            waiting = asyncio.get_running_loop().create_task(send(outer, get()))
            await eventually(lambda: server.context.in_flight == 1)
            waiting.cancel()
            async with asyncio.timeout(10):
                await cancelled.wait()
            assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        await eventually(lambda: server.context.in_flight == 0)
    assert service.exchanges[0].termination == "client-gone"


async def test_a_cut_response_is_cut_behind_two_hops() -> None:
    arrived = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        await arrived.wait()
        raise ResponseIncomplete

    async with pair(lambda r, e: Response(200, [], broken())) as (inner, _, _origin):
        async with pair(lambda request, exchange: inner.send(get(), exchange)) as (outer, service, _middle):
            response = await send(outer, get())
            assert not isinstance(response.body, bytes)
            assert await anext(response.body) == b"some"
            arrived.set()
            with pytest.raises(ResponseIncomplete):
                await content(response)
            await eventually(lambda: len(service.exchanges) == 1)
    assert service.exchanges[0].termination == "upstream-cut"


async def test_a_draining_server_loses_no_request() -> None:
    """Sent while GOAWAY is on its way: answered, or refused and sent again elsewhere."""
    release = asyncio.Event()

    async def handle(request: Request, exchange: Exchange) -> Response:
        await release.wait()
        return Response(200, [], request.target)

    async with pair(handle, connections=4) as (pool, _, server):
        loop = asyncio.get_running_loop()
        waiting = [loop.create_task(send(pool, get(b"/%d" % i))) for i in range(10)]
        await eventually(lambda: server.context.in_flight == 10)
        draining = loop.create_task(server.drain())
        await asyncio.sleep(0)
        release.set()
        answers = await asyncio.gather(*waiting)
        assert [await content(answer) for answer in answers] == [b"/%d" % i for i in range(10)]
        await draining


async def test_refused_requests_are_sent_again_by_the_pool_or_fail_as_refused() -> None:
    async with pair(echo, limits=Limits(streams=3), connections=1) as (pool, _, _server):
        warm = await send(pool, get())
        assert warm.status == 200
        answers = await asyncio.gather(*[send(pool, get()) for _ in range(30)])
        assert [answer.status for answer in answers] == [200] * 30


async def test_random_traffic_leaves_nothing_behind() -> None:
    """Requests of every kind, some given up half way; then nothing is left and everything still works."""

    async def handle(request: Request, exchange: Exchange) -> Response:
        kind = request.target[1:2]
        if kind == b"e":
            return Response(200, [], request.body)
        if kind == b"s":
            return Response(200, [], pieces(CONTENT[:200_000], 7_000))
        if kind == b"n":
            return Response(204, [])
        return Response(200, [], b"%d" % len(await content(request)))

    async def one(pool: Pool, number: int) -> None:
        kind = b"esnc"[number % 4 : number % 4 + 1]
        body: Callable[[], object] = lambda: pieces(CONTENT[: number * 3_000], 5_000)  # noqa: E731
        request = Request(b"POST", b"/" + kind, [], authority=b"a.test", body=body())  # type: ignore[arg-type]
        with contextlib.suppress(HopError, TimeoutError):
            async with asyncio.timeout(0.001 * (number % 11) if number % 3 == 0 else 30):
                response = await pool.send(request, Exchange("t", SystemClock.now))
                if number % 5 == 0 and not isinstance(response.body, bytes):
                    await response.body.aclose()
                else:
                    await content(response)

    async with pair(handle, connections=2) as (pool, service, server):
        await asyncio.gather(*[one(pool, number) for number in range(120)])
        await eventually(lambda: server.context.in_flight == 0)
        await eventually(lambda: len(service.tasks) == 0)
        response = await send(pool, Request(b"POST", b"/e", [], authority=b"a.test", body=pieces(CONTENT, 9_000)))
        assert await content(response) == CONTENT
