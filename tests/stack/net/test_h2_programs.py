"""curl, nghttp and h2load against our HTTP/2 server."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from stack.clock import eventually
from stack.config.base import Limits
from stack.errors import HopError
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.h2_handlers import collected
from tests.support.wire import serving

CONTENT = bytes(range(256)) * 4096


async def run(*command: str, stdin: bytes | None = None) -> tuple[bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if stdin is not None else None,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate(stdin)
    assert process.returncode == 0, error.decode()
    return out, error


async def handle(request: Request, exchange: Exchange) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for at in range(0, len(CONTENT), 30_000):
            yield CONTENT[at : at + 30_000]

    if request.path == b"/collect":
        return Response(200, [], await collected(request))
    if request.path == b"/echo":
        return Response(200, [], request.body)
    if request.path == b"/stream":
        response = Response(200, [], body())
        response.trailers.append((b"x-sum", b"42"))
        return response
    return Response(200, [(b"content-type", b"text/plain")], b"hello")


@pytest.mark.needs("curl")
async def test_curl_by_prior_knowledge_sends_and_receives_a_mebibyte() -> None:
    async with serving(handle) as (service, _):
        url = f"http://127.0.0.1:{service.port}/echo"
        out, _ = await run(
            "curl", "-sS", "--http2-prior-knowledge", "--data-binary", "@-", "-w", "%{http_version}", url, stdin=CONTENT
        )
    assert out == CONTENT + b"2"


@pytest.mark.needs("curl")
async def test_curl_by_alpn(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serving(handle, tls=tls) as (service, server):
        url = f"https://localhost:{service.port}/stream"
        connect = f"localhost:{service.port}:127.0.0.1:{service.port}"
        out, _ = await run(
            "curl",
            "-sS",
            "--http2",
            "--cacert",
            str(tmp_path / "ca.pem"),
            "--connect-to",
            connect,
            "-w",
            "%{http_version}",
            url,
        )
        assert server.statistics().opened_h2 == 1
    assert out == CONTENT + b"2"
    [exchange] = service.exchanges
    assert exchange.request is not None
    assert exchange.request.scheme == b"https"


@pytest.mark.needs("nghttp")
async def test_nghttp_sees_no_fault_in_our_frames() -> None:
    async with serving(handle) as (service, _):
        base = f"http://127.0.0.1:{service.port}"
        out, _ = await run("nghttp", "-nv", f"{base}/", f"{base}/stream", f"{base}/?2")
    text = out.decode(errors="replace")
    assert text.count(":status: 200") == 3
    assert "x-sum: 42" in text
    assert "RST_STREAM" not in text
    assert "recv GOAWAY" not in text
    assert "[INVALID" not in text


@pytest.mark.needs("h2load")
async def test_h2load_has_every_request_answered_that_it_sent_before_a_drain(tmp_path: Path) -> None:
    """What h2load had ready and no longer sent once GOAWAY was there it counts as failed: no more than 5 a connection."""

    async def work(request: Request, exchange: Exchange) -> Response:
        await asyncio.sleep(0.002)
        return Response(200, [], b"x" * 2000)

    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    tls.set_alpn_protocols(["h2"])
    async with serving(work, tls=tls) as (service, server):
        target = f"https://127.0.0.1:{service.port}/"
        load = asyncio.ensure_future(run("h2load", "-D", "1", "-c", "4", "-m", "5", target))
        await eventually(lambda: len(service.exchanges) > 100, within=20)
        await server.drain()
        out, _ = await load
        served = [exchange.termination for exchange in service.exchanges]
    counts = re.search(r"(\d+) started, \d+ done, (\d+) succeeded", out.decode())
    assert counts is not None
    started, succeeded = map(int, counts.groups())
    assert served == [""] * succeeded
    assert started - succeeded <= 4 * 5


@pytest.mark.needs("h2load")
async def test_h2load_has_every_request_answered() -> None:
    async with serving(handle, limits=Limits(requests=0)) as (service, server):
        out, _ = await run("h2load", "-n", "2000", "-c", "4", "-m", "100", f"http://127.0.0.1:{service.port}/")
        await asyncio.sleep(0)
        assert server.context.in_flight == 0
    assert re.search(r"2000 done, 2000 succeeded, 0 failed, 0 errored", out.decode())


@pytest.mark.needs("h2load")
async def test_h2load_with_small_windows_and_content() -> None:
    """64 KB for each stream and for all ten together: every response takes many turns."""
    async with serving(handle) as (service, server):
        url = f"http://127.0.0.1:{service.port}/stream"
        out, _ = await run("h2load", "-n", "10", "-c", "1", "-m", "10", "-w", "16", "-W", "16", url)
        assert re.search(r" 10 succeeded, 0 failed, 0 errored", out.decode()), out.decode()
        await eventually(lambda: server.context.in_flight == 0)
    assert [exchange.bytes_out for exchange in service.exchanges] == [len(CONTENT)] * 10


@pytest.mark.needs("nghttp")
async def test_nghttp_sends_content_trailers_and_priorities(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(CONTENT)
    async with serving(handle) as (service, _):
        url = f"http://127.0.0.1:{service.port}/collect"
        out, _ = await run(
            "nghttp", "--expect-continue", "-d", str(content), "--trailer", "x-sum: 42", "-H", "priority: u=0, i", url
        )
        assert out == CONTENT
    [exchange] = service.exchanges
    assert exchange.request is not None
    assert exchange.request.trailers == [(b"x-sum", b"42")]
    assert exchange.request.get(b"priority") == b"u=0, i"


@pytest.mark.needs("curl")
async def test_curl_reads_trailers_hints_and_the_end_of_a_cut_response() -> None:
    async def cut(request: Request, exchange: Exchange) -> Response:
        assert request.interim is not None
        request.interim(103, [(b"link", b"</a.css>; rel=preload")])

        async def body() -> AsyncIterator[bytes]:
            yield b"some"
            await asyncio.sleep(0.3)  # curl shows nothing of what comes in one read with a reset
            raise HopError(private="broken off")

        return Response(200, [], body())

    async with serving(cut) as (service, _):
        process = await asyncio.create_subprocess_exec(
            "curl", "-sSi", "--http2-prior-knowledge", f"http://127.0.0.1:{service.port}/",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(30):
            out, error = await process.communicate()
    assert out.startswith(b"HTTP/2 103 \r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/2 200 ")
    assert out.endswith(b"some")
    assert process.returncode == 92, "a stream that was not closed cleanly"
    assert b"INTERNAL_ERROR" in error
