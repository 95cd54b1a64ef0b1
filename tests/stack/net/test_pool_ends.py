"""How upstream connections end: at once, early, truncated, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator

import pytest
import trustme

from stack.clock import SystemClock, eventually
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import (
    ClosedEarly,
    ConnectRefused,
    ResponseIncomplete,
)
from stack.http.message import Response
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from tests.support.origin import OK, Link, origin
from tests.support.pools import content, get, pool, send
from tests.support.wire import listener


async def test_an_origin_that_accepts_and_closes_at_once_does_not_hang_anybody() -> None:
    async def script(link: Link) -> None:
        link.reset() if link.number % 2 else link.close()

    async with origin(script) as server:
        upstream = pool(server.port, waiting=50)
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*(send(upstream) for _ in range(20)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {ClosedEarly, ConnectRefused}
        await eventually(lambda: upstream.statistics().open == 0)


async def test_an_origin_that_answers_early_and_never_reads_holds_no_socket() -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    before = len(os.listdir("/proc/self/fd"))
    async with origin(script) as server:
        upstream = pool(server.port)
        for _ in range(5):
            request = get(b"POST")
            request.body = endless()  # type: ignore[assignment]
            assert (await send(upstream, request)).status == 413
        # what is left are the origin's own ends of the five connections, and its listener
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 6)
        assert upstream.statistics().open == 0


async def test_a_retry_stays_within_the_limit() -> None:
    live = most = 0

    async def script(link: Link) -> None:
        nonlocal live, most
        live += 1
        most = max(most, live)
        try:
            await link.head()
            link.send(OK)
            await link.head()  # every connection dies with its second request
        finally:
            live -= 1

    async with origin(script) as server:
        upstream = pool(server.port, connections=4, waiting=200)
        for _ in range(5):
            outcomes = await asyncio.gather(*(send(upstream) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(outcome, Response | ClosedEarly) for outcome in outcomes)
        assert upstream.statistics().open <= 4
        await upstream.close()
    assert most <= 4


async def test_trailers_arrive_with_content_that_came_in_one_piece() -> None:
    async def script(link: Link) -> None:
        await link.head()
        link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")

    async with origin(script) as server:
        response = await send(pool(server.port))
        assert await content(response) == b"ok"
        assert response.trailers == [(b"x-sum", b"1")]


async def test_interim_fields_of_the_connection_stay_here() -> None:
    seen: list[tuple[int, list[tuple[bytes, bytes]]]] = []

    async def script(link: Link) -> None:
        await link.head()
        link.send(b"HTTP/1.1 103 Early Hints\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 1\r\nLink: </a>\r\n\r\n" + OK)

    async with origin(script) as server:
        request = get()
        request.interim = lambda status, fields: seen.append((status, fields))
        await send(pool(server.port), request)
    assert seen == [(103, [(b"link", b"</a>")])]


async def test_tls_that_ends_without_saying_so_is_incomplete() -> None:
    """RFC 9112 §9.8: content that runs to the close must end with close_notify."""
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    cut = False

    def serve(listening: socket.socket) -> None:
        for _ in range(2):
            raw, _ = listening.accept()
            with server_tls.wrap_socket(raw, server_side=True) as secured:
                secured.recv(65536)
                secured.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
                if cut:
                    os.close(secured.detach())
                else:
                    with contextlib.suppress(OSError):
                        secured.unwrap()

    sock = listener()
    sock.listen()
    thread = threading.Thread(target=serve, args=(sock,), daemon=True)
    thread.start()
    upstream = Pool(
        Upstream("origin", "127.0.0.1", sock.getsockname()[1], tls=client_tls),
        limits=PoolLimits(),
        timeouts=UpstreamTimeouts(),
        clock=SystemClock(),
        tasks=Tasks(),
    )
    assert await content(await send(upstream)) == b"half"
    cut = True
    with pytest.raises(ResponseIncomplete):
        await content(await send(upstream))
    thread.join(10)
    sock.close()
