"""The other end of an HTTP/2 connection, frame by frame: says what no library would let one say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.wire import listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
Field = tuple[bytes, bytes]


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def frames(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames in `data`, and the rest."""
    found = []
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        if len(data) < 9 + length:
            break
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found, data


class Wire:
    """Builds frames and reads them; one HPACK state for each direction."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()

    def settings(self, settings: dict[int, int] | None = None, *, ack: bool = False) -> bytes:
        frame = SettingsFrame(0, settings=settings or {}, flags=["ACK"] if ack else [])
        return bytes(frame.serialize())

    def headers(self, stream: int, fields: Iterable[Field], *, end: bool = True) -> bytes:
        block = self.encoder.encode(list(fields))
        first, rest = block[:16384], block[16384:]
        out = raw(1, (0 if rest else 4) | (1 if end else 0), stream, first)
        while rest:
            piece, rest = rest[:16384], rest[16384:]
            out += raw(9, 0 if rest else 4, stream, piece)
        return out

    def data(self, stream: int, content: bytes = b"", *, end: bool = False, padding: int = 0) -> bytes:
        frame = DataFrame(stream, content, flags=["END_STREAM"] if end else [], pad_length=padding)
        if padding:
            frame.flags.add("PADDED")
        return bytes(frame.serialize())

    def reset(self, stream: int, code: int = 8) -> bytes:
        return bytes(RstStreamFrame(stream, code).serialize())

    def window(self, stream: int, increment: int) -> bytes:
        return raw(8, 0, stream, increment.to_bytes(4, "big"))

    def ping(self, data: bytes = b"12345678", *, ack: bool = False) -> bytes:
        return bytes(PingFrame(0, data, flags=["ACK"] if ack else []).serialize())

    def go_away(self, last: int, code: int = 0) -> bytes:
        return bytes(GoAwayFrame(0, last, code).serialize())


class Peer(Wire):
    """Over a socket. `seen` is every frame that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._reader, self._writer = reader, writer
        self._rest = b""
        self.seen: list[Frame] = []
        self.closed = False
        self.acknowledges = True
        """SETTINGS, as they are read."""
        self._unread = 0

    def send(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))

    async def next(self) -> Frame:
        """The next frame. EOFError when the other end closed."""
        async with asyncio.timeout(10):
            while self._unread >= len(self.seen):
                try:
                    data = await self._reader.read(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    self.closed = True
                    raise EOFError
                found, self._rest = frames(self._rest + data)
                for frame in found:
                    if isinstance(frame, HeadersFrame):
                        frame.fields = self.decoder.decode(frame.data, raw=True)  # type: ignore[attr-defined]
                    elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags and self.acknowledges:
                        self.send(self.settings(ack=True))
                self.seen += found
        self._unread += 1
        return self.seen[self._unread - 1]

    async def until(self, condition: Callable[[Any], bool]) -> Any:
        while True:
            frame = await self.next()
            if condition(frame):
                return frame

    async def reset_of(self, stream: int) -> int:
        frame = await self.until(lambda f: isinstance(f, RstStreamFrame) and f.stream_id == stream)
        return int(frame.error_code)

    async def goaway(self) -> Any:
        return await self.until(lambda f: isinstance(f, GoAwayFrame))

    async def pong(self, data: bytes = b"barrier!") -> None:
        """Everything sent so far has been acted upon."""
        self.send(self.ping(data))
        await self.until(lambda f: isinstance(f, PingFrame) and "ACK" in f.flags and f.opaque_data == data)

    async def answer(self, stream: int, *, credit: bool = True) -> tuple[list[Field], bytes, list[Field]]:
        """The final head, the content and the trailers on a stream. ConnectionResetError when it is reset."""
        head: list[Field] = []
        trailers: list[Field] = []
        content = b""
        while True:
            frame = await self.next()
            if frame.stream_id != stream:
                continue
            if isinstance(frame, RstStreamFrame):
                raise ConnectionResetError(frame.error_code)
            if isinstance(frame, HeadersFrame):
                fields: list[Field] = frame.fields  # type: ignore[attr-defined]
                if head:
                    trailers = fields
                elif not fields[0][1].startswith(b"1"):
                    head = fields
            elif isinstance(frame, DataFrame):
                content += frame.data
                if credit and frame.data:
                    self.send(self.window(0, len(frame.data)), self.window(stream, len(frame.data)))
            if "END_STREAM" in frame.flags:
                return head, content, trailers

    def close(self) -> None:
        self._writer.close()


def fields_of(frame: Frame) -> list[Field]:
    return frame.fields  # type: ignore[attr-defined, no-any-return]


def is_window(frame: Frame, stream: int) -> bool:
    return isinstance(frame, WindowUpdateFrame) and frame.stream_id == stream


@contextlib.asynccontextmanager
async def client(port: int, settings: dict[int, int] | None = None) -> AsyncIterator[Peer]:
    """A client that has sent its preface."""
    peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
    peer.send(PREFACE, peer.settings(settings))
    try:
        yield peer
    finally:
        peer.close()


Script = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(script: Script, settings: dict[int, int] | None = None) -> AsyncIterator[int]:
    """A server's port. `script` runs for each connection after the preface."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(reader, writer)
        try:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, EOFError, asyncio.IncompleteReadError):
                await reader.readexactly(len(PREFACE))
                peer.send(peer.settings(settings))
                await script(peer)
        finally:
            peer.close()
            tasks.discard(task)

    running = await asyncio.start_server(accept, sock=listener())
    try:
        yield int(running.sockets[0].getsockname()[1])
    finally:
        running.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)


async def request_on(peer: Peer, number: int = 0) -> int:
    """The stream of the next request (or of one `number` later)."""
    for _ in range(number + 1):
        frame = await peer.until(lambda f: isinstance(f, HeadersFrame))
    return int(frame.stream_id)
