"""Raw bytes to a server and back, and a server around a scripted service."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from stack.clock import Clock, SystemClock
from stack.config.base import Limits, Timeouts
from stack.http.message import Request, Response
from stack.http.trust import Trust
from stack.net.context import Context
from stack.net.server import Server
from stack.net.tasks import Tasks
from stack.net.termination import Termination
from stack.telemetry.exchange import Exchange

Handler = Callable[[Request, Exchange], Response | Awaitable[Response]]


class Scripted:
    """A service made of one function; keeps the exchanges that ended."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.exchanges: list[Exchange] = []
        self.tasks = Tasks()
        self.port = 0

    def handle(self, request: Request, exchange: Exchange) -> Response | Awaitable[Response]:
        return self.handler(request, exchange)


def listener(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    return sock


@contextlib.asynccontextmanager
async def serving(
    handler: Handler,
    *,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    clock: Clock | None = None,
    trusted: Iterable[str] = (),
    tls: Termination | ssl.SSLContext | None = None,
    upgrades: Iterable[str] = ("websocket",),
) -> AsyncIterator[tuple[Scripted, Server]]:
    service = Scripted(handler)
    context = Context(
        service,
        name="under-test",
        clock=clock or SystemClock(),
        random=random.Random(1),
        tasks=service.tasks,
        limits=limits or Limits(),
        timeouts=timeouts or Timeouts(),
        trust=Trust(trusted),
        finished=[service.exchanges.append],
        upgrades=upgrades,
    )
    server = Server(context)
    sock = listener()
    service.port = sock.getsockname()[1]
    await server.listen(sock, tls)
    try:
        yield service, server
    finally:
        await server.close()
        await service.tasks.close()


async def talk(
    port: int, data: bytes, *, bytewise: bool = False, half_close: bool = True, within: float = 10.0
) -> bytes:
    """Send bytes, close our side, and return everything until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within):
            with contextlib.suppress(ConnectionError):
                if bytewise:
                    for at in range(len(data)):
                        writer.write(data[at : at + 1])
                        await writer.drain()
                        await asyncio.sleep(0)
                else:
                    writer.write(data)
                if half_close:
                    writer.write_eof()
            try:
                return await reader.read()
            except ConnectionError:
                return b""
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    """The status codes in a raw answer; bodies here never contain status lines."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
