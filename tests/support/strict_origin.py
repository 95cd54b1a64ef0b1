"""An origin that forgives nothing: whatever is not well-formed is a fault of who forwarded it (RFC 9112)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[\t \x21-\x7e\x80-\xff]*")


@dataclass
class Received:
    """A request as it came in."""

    method: bytes = b""
    target: bytes = b""
    version: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    raw: bytes = b""
    complete: bool = False
    faults: list[str] = field(default_factory=list)
    connection: int = 0

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    @property
    def client(self) -> str:
        """Whom it came from, by the word of who forwarded it."""
        return b", ".join(self.all(b"x-forwarded-for")).partition(b",")[0].decode("latin-1")


Answerer = Callable[[Received, "Line"], Awaitable[bool]]
"""Answers a request on its connection; whether the connection goes on."""


@dataclass
class Line:
    """A connection."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def answer_ok(request: Received, line: Line) -> bool:
    body = b"" if request.method == b"HEAD" else b"origin-ok\n"
    line.writer.write(
        b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nCache-Control: no-store\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 10\r\n\r\n" + body
    )
    return True


class StrictOrigin:
    def __init__(self, answer: Answerer = answer_ok) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.answer = answer
        self.head: Answerer | None = None
        """What is done with a head before its content is read; the connection may end there."""
        self._connections = 0

    def of(self, client: str) -> list[Received]:
        return [request for request in self.received if request.client == client]

    @property
    def nobodys(self) -> list[Received]:
        """What came and names no client: not even the head was well-formed."""
        return [request for request in self.received if not request.client]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        line = Line(self._connections, reader, writer)
        with contextlib.suppress(ConnectionError):
            while await self._one(line):
                pass

    async def _one(self, line: Line) -> bool:
        request = Received(connection=line.number)
        reader = line.reader
        try:
            first = await reader.readexactly(1)
        except asyncio.IncompleteReadError:
            return False
        self.received.append(request)
        try:
            if not await self._head(request, reader, first):
                return False
            if self.head is not None:
                if not await self.head(request, line):
                    return False
            elif b"100-continue" in request.all(b"expect"):
                line.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._content(request, reader)
        except asyncio.IncompleteReadError:
            return False
        except ValueError as error:
            request.faults.append(str(error))
            return False
        request.complete = True
        goes_on = await self.answer(request, line)
        await line.writer.drain()
        return goes_on and request.all(b"connection") != [b"close"]

    async def _line(self, request: Received, reader: asyncio.StreamReader, first: bytes = b"") -> bytes:
        line = first + await reader.readuntil(b"\n")
        request.raw += line
        if not line.endswith(b"\r\n"):
            request.faults.append(f"a bare line feed: {line[:80]!r}")
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    async def _head(self, request: Received, reader: asyncio.StreamReader, first: bytes) -> bool:
        line = await self._line(request, reader, first)
        parts = line.split(b" ")
        if (
            len(parts) != 3
            or TOKEN.fullmatch(parts[0]) is None
            or re.fullmatch(rb"[\x21-\x7e\x80-\xff]+", parts[1]) is None
            or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0")
        ):
            raise ValueError(f"request line {line[:80]!r}")
        request.method, request.target, request.version = parts
        request.fields = await self._fields(request, reader)
        if len(request.all(b"host")) != 1:
            request.faults.append(f"Host: {request.all(b'host')}")
        return True

    async def _fields(self, request: Received, reader: asyncio.StreamReader) -> list[tuple[bytes, bytes]]:
        fields = []
        while line := await self._line(request, reader):
            name, colon, value = line.partition(b":")
            if not colon or TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None:
                request.faults.append(f"field line {line[:80]!r}")
            else:
                fields.append((name.lower(), value.strip(b" \t")))
        return fields

    async def _content(self, request: Received, reader: asyncio.StreamReader) -> None:
        lengths, codings = request.all(b"content-length"), request.all(b"transfer-encoding")
        if lengths and codings:
            raise ValueError("Content-Length and Transfer-Encoding")
        if codings:
            if codings != [b"chunked"]:
                raise ValueError(f"Transfer-Encoding: {codings}")
            while True:
                line = await self._line(request, reader)
                if re.fullmatch(rb"[0-9A-Fa-f]{1,15}", line) is None:
                    raise ValueError(f"chunk size {line[:80]!r}")
                if not (size := int(line, 16)):
                    break
                request.body += await reader.readexactly(size)
                if await reader.readexactly(2) != b"\r\n":
                    raise ValueError("a chunk without its end")
            request.trailers = await self._fields(request, reader)
        elif lengths:
            if len(lengths) > 1 or re.fullmatch(rb"[0-9]{1,18}", lengths[0]) is None:
                raise ValueError(f"Content-Length: {lengths}")
            request.body = await reader.readexactly(int(lengths[0]))


@contextlib.asynccontextmanager
async def strict_origin(answer: Answerer = answer_ok) -> AsyncIterator[StrictOrigin]:
    """On a free port of 127.0.0.1."""
    origin = StrictOrigin(answer)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await origin.serve(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**20, backlog=1024)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
