"""A response's content on its way from an ASGI app to the engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Disconnected(OSError):
    """What `send` raises once the client has gone (ASGI 2.4)."""


class Outgoing:
    """A BodyStream that the app fills and the engine empties."""

    __slots__ = ("_closed", "_ended", "_error", "_left", "_pieces", "_reader", "_writers", "size")

    def __init__(self, left: Callable[[], None]) -> None:
        self._pieces: deque[bytes] = deque()
        self.size = 0
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._left = left
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []

    # The app's side.

    def put(self, piece: bytes) -> None:
        if piece and not self._closed:
            self._pieces.append(piece)
            self.size += len(piece)
            self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self.end()

    async def drained(self) -> None:
        """Until the engine has taken what waits. Disconnected when it never will."""
        writer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writers.append(writer)
        await writer
        if self._closed:
            raise Disconnected("the client has gone")

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # The engine's side.

    def __aiter__(self) -> Outgoing:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._ended:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                raise StopAsyncIteration
            self._release()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        piece = self._pieces.popleft()
        self.size -= len(piece)
        return piece

    def _release(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._pieces.clear()
        self.size = 0
        self._release()
        self._left()
