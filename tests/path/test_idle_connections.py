"""What an idle keep-alive connection holds of a hop's memory: 6 KB in the clear, 32 KB over TLS, 38 KB for HTTP/2 there.

`make test-long` holds 10,000 of them, `make test` 2,000 in the clear and 500 over TLS.
"""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
from pathlib import Path

import pytest

from stack.net import ca
from tests.support.chain import Running, hop
from tests.support.h2_peer import GET, PREFACE, Peer

CLEAR, TLS, TLS_H2 = 6_000, 32_000, 38_000
AT_ONCE = 50
LONG = os.environ.get("HOPSTACK_IDLE") == "long"
GET_H1 = b"GET /small HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle/1.0\r\nAccept: */*\r\nCookie: a=b\r\n\r\n"

ASK = [*GET[:2], (b":authority", b"localhost"), (b":path", b"/small")]


@pytest.fixture(autouse=True)
def descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 11_000 and LONG:
        pytest.fail(f"10,000 connections need as many descriptors: ulimit -n is {hard} (soft {soft})")


class Idle:
    """Connections that have had an answer each and say nothing more."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, protocol: str) -> None:
        self._port, self._tls, self._protocol = port, tls, protocol
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self, count: int) -> None:
        for _ in range(0, count, AT_ONCE):
            await asyncio.wait_for(asyncio.gather(*(self._one() for _ in range(AT_ONCE))), 20)

    async def _one(self) -> None:
        name = "localhost" if self._tls is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, server_hostname=name)
        self.writers.append(writer)
        if self._protocol == "h2":
            peer = Peer(reader, writer)
            peer.send(PREFACE, peer.settings(), peer.headers(1, ASK))
            fields, content, _ = await peer.answer(1)
            assert dict(fields)[b":status"] == b"200"
        else:
            writer.write(GET_H1)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(2)
        assert content == bytes(2)

    def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


async def held(running: Running, idle: Idle, count: int) -> float:
    """Bytes of memory for each connection, after some that warm up what all share."""
    await idle.open(200)
    before = running.resident()
    await idle.open(count)
    return (running.resident() - before) / count


@pytest.mark.parametrize(
    ("scheme", "protocol", "count", "limit"),
    [
        ("http", "h1", 2_000, CLEAR),
        ("https", "h1", 500, TLS),
        ("https", "h2", 500, TLS_H2),
    ],
)
async def test_idle_connections_are_small(tmp_path: Path, scheme: str, protocol: str, count: int, limit: int) -> None:
    count = 10_000 if LONG else count
    async with hop("appserver", tmp_path, 0, "--timeouts-idle", "1000", scheme=scheme) as running:
        tls = None
        if scheme == "https":
            tls = ssl.create_default_context(cafile=str(ca.ca_path(tmp_path / "state")))
            tls.set_alpn_protocols(["h2" if protocol == "h2" else "http/1.1"])
        idle = Idle(running.port, tls, protocol)
        try:
            size = await held(running, idle, count)
        finally:
            idle.close()
    print(f"{scheme} {protocol}: {size:.0f} bytes each of {count}")
    assert size < limit
