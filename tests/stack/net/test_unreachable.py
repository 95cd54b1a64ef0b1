"""What cannot be connected to: a pool and a check say alike why."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from random import Random

import pytest
import trustme

from stack.clock import SystemClock
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import CertificateRefused, ConnectRefused, DnsFailed, Retry, TlsFailed
from stack.http.message import Request
from stack.net.net import Net
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange


def reachable(
    kind: str, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, source: str | None = None
) -> Callable[[], Coroutine[object, object, object]]:
    """A request through a pool, or a check's connection: both read errors alike."""
    clock = SystemClock()
    if kind == "pool":
        through = Pool(
            Upstream("next", host, port, tls=tls, source=source),
            limits=PoolLimits(),
            timeouts=UpstreamTimeouts(),
            clock=clock,
            tasks=Tasks(),
        )
        request = Request(b"GET", b"/", [], authority=b"a.test")
        return lambda: through.send(request, Exchange("t", clock.now))
    net = Net(clock, Random(1))
    return lambda: net.connect(host, port, timeout=5.0, tls=tls, source=source, name="next")


@pytest.fixture(params=["pool", "net"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_name_that_is_not_resolved_is_a_dns_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(DnsFailed) as caught:
        await reachable(kind, 1, host="nowhere.invalid")()
    error = caught.value
    assert (error.status, error.proxy_status, error.retry) == (502, "dns_error", Retry.SAFE)  # RFC 9209 §2.3.2
    assert (error.private, error.detail) == ("next: Name or service not known", "")


async def test_a_source_that_is_not_ours_is_named(kind: str) -> None:
    with pytest.raises(ConnectRefused) as caught:
        await reachable(kind, 1, source="192.0.2.1")()
    assert caught.value.private == "next: 192.0.2.1 is no address of this machine, or its ports are all in use"


async def test_a_certificate_that_is_refused_is_said_with_its_reason(kind: str) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(CertificateRefused) as caught:
        await reachable(kind, port, tls=ssl.create_default_context())()
    assert caught.value.private.startswith("next: ")
    assert "certificate" in caught.value.private
    server.close()


async def test_a_next_hop_without_tls_is_a_failure_of_tls(kind: str) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    with pytest.raises(TlsFailed, match="TLS with the next hop failed"):
        await reachable(kind, server.sockets[0].getsockname()[1], tls=ssl.create_default_context())()
    server.close()
