"""An origin made of raw bytes: what it saw, and what it sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Script = Callable[["Link"], Awaitable[None]]


class Link:
    """One connection that the origin accepted."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader, self.writer = reader, writer

    async def head(self) -> bytes:
        """The next request's head, or b"" when the other side closed."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class Origin:
    def __init__(self) -> None:
        self.port = 0
        self.links: list[Link] = []
        self.heads: list[bytes] = []


@contextlib.asynccontextmanager
async def origin(script: Script) -> AsyncIterator[Origin]:
    """`script` runs once for each connection."""
    state = Origin()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        link = Link(len(state.links), reader, writer)
        state.links.append(link)
        try:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await script(link)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def serve_ok(link: Link) -> None:
    """Answers every request without content with `ok`."""
    while await link.head():
        link.send(OK)
