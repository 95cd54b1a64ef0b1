"""What the app sends reaches the client while the app is still at it, through TLS and compression; a cut is seen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import zlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import zstandard

from stack.clock import eventually
from stack.errors import ResponseIncomplete
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.proxy.processes import Proxy, proxy
from tests.support.origin import Link, origin
from tests.support.wire import serving

pytestmark = pytest.mark.needs("curl")

AT_MOST = 5.0
"""Seconds for an event to arrive, on a slow machine. One that is held back never does: the app waits for it."""


class Events:
    """An app whose every event waits until the test lets it go."""

    def __init__(self) -> None:
        self.gate: asyncio.Queue[bytes] = asyncio.Queue()

    def handle(self, request: Request, exchange: Exchange) -> Response:
        if request.path == b"/health":
            return Response(200, [], b"ok")
        return Response(200, [(b"content-type", b"text/event-stream")], self.events())

    async def events(self) -> AsyncGenerator[bytes, None]:
        while event := await self.gate.get():
            yield event


def unzstd() -> Callable[[bytes], bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress


def unbr() -> Callable[[bytes], bytes]:
    import brotli

    decompress: Callable[[bytes], bytes] = brotli.Decompressor().process
    return decompress


def ungzip() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(31).decompress


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize(("coding", "decoder"), [("zstd", unzstd), ("br", unbr), ("gzip", ungzip)])
async def test_each_event_arrives_before_the_next_is_sent(
    tmp_path: Path, version: str, coding: str, decoder: Callable[[], Callable[[bytes], bytes]]
) -> None:
    events = Events()
    async with serving(events.handle) as (service, _), proxy(service.port, home=tmp_path) as front:
        client = await front.start_curl("/events", version, "--no-buffer", "--header", f"accept-encoding: {coding}")
        assert client.stdout is not None
        decode = decoder()
        for number in range(20):
            event = b"data: %d\n\n" % number
            events.gate.put_nowait(event)
            async with asyncio.timeout(AT_MOST):
                seen = b""
                while seen != event:
                    coded = await client.stdout.read(4096)
                    assert coded, "the stream ended"
                    seen += decode(coded)
        events.gate.put_nowait(b"")
        assert await client.wait() == 0


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_a_client_that_leaves_is_left_by_the_proxy(tmp_path: Path, version: str) -> None:
    """While the app is silent: its connection is closed at once, not at the next event."""
    left = asyncio.Event()

    async def silent(link: Link) -> None:
        while head := await link.head():
            if b"/health" in head:
                link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            link.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            link.send(b"9\r\ndata: 1\n\n\r\n")
            with contextlib.suppress(ConnectionResetError):  # unmistakable, where a plain close is not
                assert await link.reader.read() == b""
            left.set()

    async with origin(silent) as app, proxy(app.port, home=tmp_path) as front:
        client = await front.start_curl("/events", version, "--no-buffer", "--compressed")
        assert client.stdout is not None
        async with asyncio.timeout(AT_MOST):
            assert await client.stdout.readline() == b"data: 1\n"
        client.kill()
        await client.wait()
        async with asyncio.timeout(AT_MOST):
            await left.wait()


HALF = b"<li>shoes</li>\n" * 500


async def breaks_off() -> AsyncGenerator[bytes, None]:
    yield HALF
    raise ResponseIncomplete


def truncating(request: Request, exchange: Exchange) -> Response:
    if request.path == b"/health":
        return Response(200, [], b"ok")
    fields = [(b"content-type", b"text/html")]
    if request.path == b"/length":
        fields.append((b"content-length", b"%d" % (2 * len(HALF))))
    return Response(200, fields, breaks_off())


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("path", ["/chunked", "/length"])
@pytest.mark.parametrize("flags", [(), ("--compressed",)], ids=["identity", "compressed"])
async def test_a_response_that_the_app_cuts_is_cut_for_the_client(
    tmp_path: Path, version: str, path: str, flags: tuple[str, ...]
) -> None:
    async with serving(truncating) as (service, _), proxy(service.port, home=tmp_path) as front:
        reply = await front.curl(path, version, *flags)
        assert reply.code in (18, 23, 56, 61, 92), "curl takes it for complete"
        assert len(reply.body) < 2 * len(HALF)
        await eventually(lambda: any(line["path"] == path for line in front.log()))
        (line,) = [line for line in front.log() if line["path"] == path]
        assert "upstream-cut" in str(line)
        assert (await front.curl("/chunked", version, *flags)).status == 200  # and the next one is served


async def test_a_slow_client_slows_the_app(tmp_path: Path) -> None:
    """Backpressure through TLS, compression and the pool: the proxy does not gather what the client does not take."""
    sent = 0
    piece = bytes(range(256)) * 256

    async def endless(link: Link) -> None:
        nonlocal sent
        while head := await link.head():
            if b"/health" in head:
                link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            link.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n")
            while sent < 1_000_000_000:
                link.send(piece)
                await link.writer.drain()
                sent += len(piece)

    async with origin(endless) as app, proxy(app.port, home=tmp_path) as front:
        context = ssl.create_default_context(cafile=str(front.ca))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", front.port, ssl=context, server_hostname="shop.test", limit=1024
        )
        writer.write(b"GET /film HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        before = -1
        for _ in range(200):
            if sent == before:
                break
            before = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < 64 * 1024 * 1024, "the app could send although nobody reads"
        writer.transport.abort()
        with contextlib.suppress(Exception):
            await writer.wait_closed()
        assert await _next(front) == 200


async def _next(front: Proxy) -> int:
    return (await front.curl("/health")).status
