"""A chain of hops before an origin that changes protocols, and a client that asks for it, all in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import trustme

from stack.clock import Clock, SystemClock
from stack.config.base import Limits, PoolLimits, Timeouts, UpstreamTimeouts
from stack.http.forwarding import inbound
from stack.http.message import Request, Response
from stack.http.upgrade import accept
from stack.net.pool import Pool, Upstream
from stack.net.server import Server
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.identity import onward
from tests.support.wire import Scripted, serving

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""Of RFC 6455 §1.3."""
ASK = (
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Link = Literal["http", "https", "h2c", "h2"]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client's end; then its own."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@dataclass
class Origin:
    """Answers a handshake with 101 and leaves the connection to `talk`."""

    talk: Talk = echo
    answer: bytes = b""
    """In place of a 101; `%b` is the right Sec-WebSocket-Accept."""
    heads: list[bytes] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    """How each connection ended: `eof`, or the error's name."""
    port: int = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            key = next(
                line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")
            )
            switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            answer = self.answer or switch + b"Sec-WebSocket-Accept: %b\r\nx-app: yes\r\n\r\n"
            writer.write(answer % accept(key) if b"%b" in answer else answer)
            await self.talk(reader, writer)
            self.ends.append("eof")
        except (OSError, EOFError) as error:
            self.ends.append(type(error).__name__)
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Origin]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**16)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


@dataclass
class Chain:
    """`hops[0]` is the one that clients meet."""

    origin: Origin
    hops: list[Scripted] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    authority: trustme.CA | None = None
    tls: bool = False

    @property
    def port(self) -> int:
        return self.hops[0].port

    def client_tls(self, *alpn: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        assert self.authority is not None
        self.authority.configure_trust(context)
        context.set_alpn_protocols(list(alpn) or ["http/1.1"])
        return context

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.client_tls() if self.tls else None)

    async def tunnel(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """Through all hops: what is read, what is written, and the head of the 101."""
        reader, writer = await self.connect()
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return reader, writer, head


@contextlib.asynccontextmanager
async def chain(
    *links: Link,
    origin: Origin | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    upgrades: Sequence[str] = ("websocket",),
) -> AsyncIterator[Chain]:
    """One hop for each link, outermost first: `links` say how each is spoken to. The origin speaks HTTP/1.1."""
    clock = clock or SystemClock()
    made = Chain(origin or Origin(), tls=links[0] in ("https", "h2"))
    made.authority = authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(made.origin.running())
        upstream = Upstream("origin", "127.0.0.1", made.origin.port)
        for link in reversed(links):
            tasks = Tasks()
            pool = Pool(
                upstream,
                limits=PoolLimits(connections=4),
                timeouts=UpstreamTimeouts(),
                clock=clock,
                tasks=tasks,
            )
            stack.push_async_callback(tasks.close)
            stack.push_async_callback(pool.close)
            server_tls = None
            if link in ("https", "h2"):
                server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                certificate.configure_cert(server_tls)
                server_tls.set_alpn_protocols(["h2", "http/1.1"])
            hop, server = await stack.enter_async_context(
                serving(
                    _forward(pool, b"hop-%d" % len(made.hops)),
                    limits=limits,
                    timeouts=timeouts,
                    clock=clock,
                    tls=server_tls,
                    upgrades=upgrades,
                )
            )
            made.hops.insert(0, hop)
            made.servers.insert(0, server)
            made.pools.insert(0, pool)
            alpn = ("h2",) if link == "h2" else ("http/1.1",)
            upstream = Upstream(
                "hop",
                "127.0.0.1",
                hop.port,
                tls=made.client_tls(*alpn) if server_tls is not None else None,
                protocol="h2" if link in ("h2", "h2c") else "h1",
            )
        yield made


def _forward(pool: Pool, name: bytes) -> Callable[[Request, Exchange], Awaitable[Response]]:
    async def handler(request: Request, exchange: Exchange) -> Response:
        response = await pool.send(onward(request, exchange, name), exchange)
        return inbound(response, pseudonym=name, date=b"Thu, 01 Jan 1970 00:00:00 GMT")

    return handler


class Pipe:
    """A BodyStream that a test writes to."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self.closed = False

    def write(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    def end(self) -> None:
        self._queue.put_nowait(None)

    def fail(self, error: BaseException) -> None:
        self._queue.put_nowait(error)

    def __aiter__(self) -> Pipe:
        return self

    async def __anext__(self) -> bytes:
        found = await self._queue.get()
        if found is None:
            raise StopAsyncIteration
        if isinstance(found, BaseException):
            raise found
        return found

    async def aclose(self) -> None:
        self.closed = True


class Far:
    """The client's end of a tunnel that this project's own client opened."""

    def __init__(self, response: Response, pipe: Pipe) -> None:
        self.response, self.pipe = response, pipe
        assert not isinstance(response.body, bytes)
        self.body = response.body
        self._held = b""

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(10):
            while len(self._held) < size:
                self._held += await self.body.__anext__()
        found, self._held = self._held[:size], self._held[size:]
        return found

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return self._held + b"".join([piece async for piece in self.body])


@contextlib.asynccontextmanager
async def client(made: Chain, protocol: Literal["h1", "h2"]) -> AsyncIterator[Pool]:
    tasks = Tasks()
    pool = Pool(
        Upstream(
            "edge",
            "127.0.0.1",
            made.port,
            tls=made.client_tls("h2" if protocol == "h2" else "http/1.1") if made.tls else None,
            tls_h1=made.client_tls("http/1.1") if made.tls else None,
            protocol=protocol,
        ),
        limits=PoolLimits(connections=4),
        timeouts=UpstreamTimeouts(),
        clock=SystemClock(),
        tasks=tasks,
    )
    try:
        yield pool
    finally:
        await pool.close()
        await tasks.close()


async def far(pool: Pool, *fields: tuple[bytes, bytes]) -> Far:
    pipe = Pipe()
    request = Request(
        b"GET",
        b"/chat",
        [(b"sec-websocket-version", b"13"), *fields],
        authority=b"a.test",
        body=pipe,
        upgrade=b"websocket",
    )
    exchange = Exchange("client", SystemClock.now, request)
    response = await pool.send(request, exchange)
    assert response.status == 101, response
    return Far(response, pipe)
