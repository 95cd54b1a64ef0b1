"""Content is whole before a WSGI app begins: slow clients hold no thread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appserver.spool import spooled
from appserver.threads import Threads
from appserver.wsgi import StartResponse, WsgiService
from stack.clock import eventually
from stack.config.base import Limits
from stack.errors import ClientGone, ContentTooLarge, HopError, RequestTimeout
from stack.net.tasks import Tasks
from tests.support.wire import serving, statuses, talk


def measure(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    file = environ["wsgi.input"]
    content = file.read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{type(file).__name__} {environ.get('CONTENT_LENGTH')} {len(content)}".encode()]


@contextlib.asynccontextmanager
async def app(*, spool: int = 1_000_000, buffer: int = 1000) -> AsyncIterator[tuple[int, Threads]]:
    """Its port, and the one thread that it has."""
    threads, tasks = Threads(1, name="app-1"), Tasks()
    service = WsgiService(measure, threads=threads, tasks=tasks, buffer=buffer, spool=spool)
    async with serving(service.handle, limits=Limits(buffer=buffer)) as (scripted, _):
        yield scripted.port, threads
    threads.close()
    await tasks.close()


def post(size: int, *, content: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + content


async def test_slow_uploads_hold_no_thread() -> None:
    async with app() as (port, threads):
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for _, writer in slow:
            writer.write(post(5000, content=b"x" * 4000))
        await asyncio.sleep(0.05)
        assert threads.unfinished == 0
        assert (await talk(port, post(3, content=b"abc"), half_close=False)).endswith(b"BytesIO 3 3")
        for reader, writer in slow:
            writer.write(b"x" * 1000)
            assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"5000 5000")
            writer.close()


async def test_without_a_spool_a_slow_upload_holds_its_thread() -> None:
    async with app(spool=0) as (port, threads):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(5000, content=b"x" * 4000))
        await eventually(lambda: threads.unfinished == 1)
        writer.close()


@pytest.mark.parametrize(("size", "kind"), [(900, "BytesIO"), (1000, "BytesIO"), (1001, "BufferedRandom")])
async def test_what_is_large_goes_into_a_file(size: int, kind: str) -> None:
    """Also what is chunked has a length for the app then."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (part, bytes(part)) for part in (500, size - 500))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with app() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        await asyncio.sleep(0.02)  # else it may have come whole with its head
        writer.write(chunks + b"0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.endswith(f"{kind} {size} {size}".encode())


async def test_what_is_too_large_is_413() -> None:
    async with app(spool=3000) as (port, threads):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(5000))
        await asyncio.sleep(0.02)  # else it may have come whole with its head
        writer.write(bytes(5000))
        assert statuses(await asyncio.wait_for(reader.read(), 5)) == [413]
        writer.close()
        assert threads.unfinished == 0


class Body:
    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = iter(pieces)
        self.closed = False

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The temporary files that were made."""
    made: list[Any] = []
    make = tempfile.TemporaryFile

    def kept() -> Any:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", kept)
    return made


@pytest.mark.parametrize("error", [ClientGone(), RequestTimeout(), ContentTooLarge()])
async def test_content_that_breaks_off_leaves_no_file(error: HopError, files: list[Any]) -> None:
    body = Body(bytes(100), bytes(100), error)
    with pytest.raises(type(error)):
        await spooled(body, memory=100, most=1000)
    assert body.closed
    assert [file.closed for file in files] == [True]


async def test_the_content_is_what_came(files: list[Any]) -> None:
    file, size = await spooled(Body(b"ab", b"cd", b"ef"), memory=3, most=6)
    with file:
        assert (file.read(), size) == (b"abcdef", 6)
    assert len(files) == 1


async def test_a_full_disk_is_507(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(HopError) as raised:
        await spooled(Body(bytes(100), bytes(100)), memory=100, most=1000)
    assert (raised.value.status, raised.value.private) == (507, "temporary file: [Errno 28] No space left on device")
