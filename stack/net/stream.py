"""Content on its way in: fed by a connection, iterated by a handler, with backpressure between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from stack.http.message import Fields


class Incoming:
    """A `BodyStream`. The connection feeds it.

    When more than `limit` bytes wait, `pause` is called, and `resume` once half of them are taken.
    `consumed(n)` is called as bytes are taken (HTTP/2 flow control). `closed()` is called once, when the reader leaves
    before the end. `wanted()` is called once, when the first chunk is asked for (100-continue).
    """

    __slots__ = (
        "_chunks", "_closed", "_consumed", "_ended", "_error", "_left", "_limit", "_pause", "_paused", "_resume",
        "_size", "_waiter", "_wanted", "trailers",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        *,
        pause: Callable[[], None] | None = None,
        resume: Callable[[], None] | None = None,
        consumed: Callable[[int], None] | None = None,
        closed: Callable[[], None] | None = None,
        wanted: Callable[[], None] | None = None,
        trailers: Fields | None = None,
    ) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._limit = limit
        self._paused = False
        self._pause, self._resume, self._consumed = pause, resume, consumed
        self._closed, self._wanted = closed, wanted
        self._ended = False
        self._left = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.trailers: Fields = [] if trailers is None else trailers

    # The connection's side.

    def feed(self, data: bytes) -> None:
        if self._left:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > self._limit and not self._paused and self._pause is not None:
            self._paused = True
            self._pause()
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def fail(self, error: BaseException) -> None:
        """The reader gets what was fed, then the error."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()

    @property
    def ended(self) -> bool:
        """No more will be fed."""
        return self._ended

    @property
    def has_room(self) -> bool:
        """No more is held than may be."""
        return self._size <= self._limit

    @property
    def waiting(self) -> bool:
        """Somebody waits for the next chunk."""
        return self._waiter is not None

    def complete(self) -> bytes | None:
        """All the content, if it has ended well and nobody has read of it; then the stream need not be kept."""
        if not self._ended or self._error is not None:
            return None
        return b"".join(self._chunks)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The reader's side.

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> bytes:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            wanted()
        while not self._chunks:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self._chunks.popleft() if len(self._chunks) == 1 else self._take_all()
        self._size -= len(chunk)
        if self._consumed is not None:
            self._consumed(len(chunk))
        if self._paused and self._size <= self._limit // 2 and self._resume is not None:
            self._paused = False
            self._resume()
        return chunk

    def _take_all(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    async def aclose(self) -> None:
        """The reader leaves. What is still to come is not wanted."""
        if self._left:
            return
        self._left = True
        unfinished = not self._ended
        self._ended = True
        self._chunks.clear()
        if (dropped := self._size) and self._consumed is not None:
            self._consumed(dropped)
        self._size = 0
        if unfinished and self._closed is not None:
            self._closed()
