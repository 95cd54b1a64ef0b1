"""One hop in this process with no socket: real connections, handler, pool, log and metrics, between fake transports.

What is left out is the kernel and the loop's input and output, so a change of a third of a microsecond shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop

from stack.clock import SystemClock
from stack.config import flags
from stack.faults.net import FaultyNet
from stack.hop import registry
from stack.hop.http_hop import HttpHop
from stack.http.dates import http_date
from stack.http.message import Request
from stack.net.h1_server import H1ServerConnection
from stack.telemetry.metrics import Metrics

CONNECTIONS: Final = 16
CONTENT: Final = b"x" * 1024
RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/html\r\n"
    b"Content-Length: 1024\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "65f0c3a1-400"\r\nCache-Control: public, max-age=3600\r\nAccept-Ranges: bytes\r\n\r\n' + CONTENT
)
"""As the bench's origin writes it."""

FLAGS: Final = {
    "edge": ("cdn_edge", ["--origin", "http://127.0.0.1:1"]),
    "edge-miss": ("cdn_edge", ["--origin", "http://127.0.0.1:1", "--cache-size", "16MB"]),
    "edge-cold": ("cdn_edge", ["--origin", "http://127.0.0.1:1"]),
    "loadbalancer": (
        "loadbalancer",
        ["--backend", "a=http://127.0.0.1:1", "--backend", "b=http://127.0.0.1:2", "--check", "none"],
    ),
    "proxy": ("proxy", ["--upstream", "http://127.0.0.1:1", "--compression-minimum", "1400"]),
}


def head(number: int, pages: int = 100) -> bytes:
    """A request as `varied.lua` writes it."""
    return (
        b"GET /page%d HTTP/1.1\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        b"Accept-Encoding: gzip, br\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:%d) Gecko/20100101\r\n"
        b"Host: bench.test\r\nX-Request-ID: %08x\r\nAccept-Language: en-GB,en;q=0.7\r\n\r\n"
        % (number % pages, number % 997, number * 2654435761 % 2**32)
    )


class Wire:
    """A transport that takes what is written and tells `written`, if anybody wants to know."""

    def __init__(self, written: list[Wire] | None = None) -> None:
        self.protocol: Any = None
        self.sent = 0
        self.last = b""
        self._written = written

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self.last = data
        if self._written is not None:
            self._written.append(self)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    abort = close


class WiredLoop(uvloop.Loop):
    """Its connections lead to a `Wire`; those that were asked something are collected in `asked`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Wire] = []

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> tuple[Any, Any]:
        wire = Wire(self.asked)
        wire.protocol = protocol_factory()
        wire.protocol.connection_made(wire)
        return wire, wire.protocol


class Bench:
    """A hop and clients that ask it. `batch` is one request on each connection."""

    def __init__(self, hop: HttpHop, loop: WiredLoop, response: bytes, name: str) -> None:
        self.hop, self.loop, self.response = hop, loop, response
        self.hits = name == "edge"
        self.pages = 2**31 if name == "edge-miss" else 100
        self.number = 0
        self.clients: list[H1ServerConnection] = []
        self.wires: list[Wire] = []
        for port in range(CONNECTIONS):
            peer = hop.context.peer("127.0.0.1", 40000 + port, local=("127.0.0.1", 80))
            connection = H1ServerConnection(hop.context, peer, b"http", None)
            wire: Any = Wire()
            connection.connection_made(wire)
            self.clients.append(connection)
            self.wires.append(wire)

    async def batch(self) -> float:
        """Seconds of this thread that one request on each connection took, to the end of each response."""
        heads = [head(self.number + number, self.pages) for number in range(CONNECTIONS)]
        self.number += CONNECTIONS
        before = [wire.sent for wire in self.wires]
        began = time.thread_time()
        loop = self.loop
        loop.call_soon(self._ask, heads)  # not within a task: no event of a transport is
        for _ in range(100):
            await asyncio.sleep(0)
            if self.loop.asked:
                loop.call_soon(self._tell)
            elif not self.hop.context.in_flight:
                break
        spent = time.thread_time() - began
        for wire, sent in zip(self.wires, before, strict=True):
            if wire.sent <= sent or not wire.last.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"a request was answered with {wire.last[:300]!r}")
        return spent

    def _ask(self, heads: list[bytes]) -> None:
        for client, data in zip(self.clients, heads, strict=True):
            client.data_received(data)

    def _tell(self) -> None:
        waiting = self.loop.asked[:]
        self.loop.asked.clear()
        for wire in waiting:
            wire.protocol.data_received(self.response)


def request_of(bench: Bench) -> Request:
    """One request as the connection hands it to the handler."""
    found: list[Request] = []

    class Catcher:
        def handle(self, request: Request, exchange: Any) -> Any:
            found.append(request)
            return asyncio.get_running_loop().create_future()

    context = bench.hop.context
    service, context.service = context.service, Catcher()
    try:
        connection = H1ServerConnection(context, bench.clients[0].peer, b"http", None)
        wire: Any = Wire()
        connection.connection_made(wire)
        connection.data_received(head(1))
    finally:
        context.service = service
        context.in_flight = 0
    return found[0]


@contextlib.asynccontextmanager
async def built(name: str, home: Path, response: bytes = RESPONSE) -> AsyncIterator[Bench]:
    """The hop as its process builds it, its access log in `home`, every other option as by default."""
    kind, options = FLAGS[name]
    argv = ["--name", name, "--state-dir", str(home), "--access-log", str(home / "access.log"), *options]
    argv += ["--limits-requests", "0", "--listen", "http://127.0.0.1:0"]
    parts = registry.load(kind)
    config = flags.make(parts.config, flags.given(kind, parts.config, argv, {}))
    clock = SystemClock()
    net = FaultyNet(clock, Random(1))
    hop: Any = parts.build(config, clock=clock, random=net.random, net=net, metrics=Metrics(), state_dir=home)
    await hop.start([])
    # as old as the run, so that an edge may keep it
    if name == "edge-cold":  # which it may not
        response = response.replace(b"public, max-age=3600", b"no-store")
    response = response.replace(b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"Date: " + http_date(clock.time()))
    try:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WiredLoop)
        yield Bench(hop, loop, response, name)
    finally:
        await hop.stop()
        await net.close()
