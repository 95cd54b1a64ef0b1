"""An ASGI app with WebSockets on the engine, and a client that says every byte of its frames."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from appserver.asgi import AsgiService
from appserver.websockets import WebSocketOptions
from stack.clock import Clock, SystemClock
from stack.config.base import Limits, Timeouts
from stack.http.trust import Trust
from stack.net.context import Context
from stack.net.server import Server
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
Message = dict[str, Any]
MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """RFC 6455 §5.2."""
    size = len(payload)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Echo:
    """Accepts, and sends back what comes; keeps all that it was told."""

    def __init__(self, **accept: Any) -> None:
        self.accept = accept
        self.scope: dict[str, Any] = {}
        self.heard: list[Message] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.heard.append(await receive())
        await send({"type": "websocket.accept", **self.accept})
        while True:
            message = await receive()
            self.heard.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({**message, "type": "websocket.send"})

    @property
    def disconnect(self) -> Message | None:
        return next((message for message in self.heard if message["type"] == "websocket.disconnect"), None)


class Raw:
    """One connection, past its handshake or before it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader, self.writer, self.head = reader, writer, head

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def field(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n"):
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def receive(self) -> tuple[int, bytes]:
        """One frame: its opcode, and bits in front of it (0x80 FIN, 0x40 RSV1), and its payload."""
        async with asyncio.timeout(5):
            first, second = await self.reader.readexactly(2)
            assert not second & 0x80, "a server's frame is masked"
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first, await self.reader.readexactly(size)

    async def closed_with(self) -> tuple[int, str]:
        """The Close that comes next, behind messages, and then the end of the connection."""
        while (found := await self.receive())[0] & 0xF != CLOSE:
            pass
        code = struct.unpack("!H", found[1][:2])[0] if found[1] else 1005
        return code, found[1][2:].decode()

    async def ended(self) -> bool:
        async with asyncio.timeout(5):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


class Running:
    def __init__(self, port: int, service: AsgiService, server: Server, finished: list[Exchange]) -> None:
        self.port, self.service, self.server, self.finished = port, service, server, finished
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/chat?room=1"

    async def open(self, *lines: str, version: str = "13") -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        head = [
            "GET /chat?room=1 HTTP/1.1",
            "Host: a.test",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Sec-WebSocket-Version: {version}",
            *lines,
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        return Raw(reader, writer, await reader.readuntil(b"\r\n\r\n"))

    def leave(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def running(
    app: Any, options: WebSocketOptions | None = None, *, clock: Clock | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[Running]:
    tasks, app_tasks = Tasks(), Tasks()
    finished: list[Exchange] = []
    clock = clock or SystemClock()
    service = AsgiService("app-1", tasks=app_tasks, clock=clock, websockets=options)
    service.app = app
    server = Server(
        Context(
            service,
            name="app-1",
            clock=clock,
            random=Random(1),
            tasks=tasks,
            limits=Limits(),
            timeouts=timeouts or Timeouts(drain=2.0),
            trust=Trust(()),
            finished=[finished.append],
            upgrades=("websocket",),
        )
    )
    from tests.support.wire import listener

    sock = listener()
    await server.listen(sock)
    made = Running(sock.getsockname()[1], service, server, finished)
    try:
        yield made
    finally:
        made.leave()
        await server.close()
        await app_tasks.close()
        await tasks.close()
