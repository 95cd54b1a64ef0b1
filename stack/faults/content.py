"""Content that a fault touches on its way: a wrong byte, an early end, a late last byte, so much a second.

Above TLS, compression of the hop itself and HTTP framing: a wrong byte is one of content, never one of a TLS record.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Final

from stack.http.message import Body

SLICES: Final = 20
"""Pieces that a second of a narrow link comes in."""


class Altered:
    """A `BodyStream` over another content. `ends_after` bytes it raises `end`, if there would be more.

    `wait` sleeps so many seconds; `rate` is in bytes a second, `late` the seconds before the last byte.
    """

    def __init__(
        self,
        body: Body,
        *,
        wait: Callable[[float], Awaitable[None]],
        corrupt: int | None = None,
        ends_after: int | None = None,
        end: Callable[[], Exception] | None = None,
        late: float = 0.0,
        rate: int | None = None,
    ) -> None:
        self._body = body
        self._wait = wait
        self._corrupt = corrupt
        self._ends_after, self._end = ends_after, end
        self._late = late
        self._rate = rate
        self._passed = 0
        self._last = b""
        self._pieces: AsyncGenerator[bytes, None] | None = None

    def __aiter__(self) -> Altered:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        if self._pieces is None:
            self._pieces = self._run()
        return anext(self._pieces)

    async def aclose(self) -> None:
        """Nobody reads on: that is told to the sender, and nothing is waited for."""
        if self._pieces is not None:
            await self._pieces.aclose()
        if not isinstance(self._body, bytes):
            await self._body.aclose()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        body = self._body
        if isinstance(body, bytes):
            for piece in self._paced(self._due(body)):
                yield await piece
        else:
            async for data in body:
                for piece in self._paced(self._due(data)):
                    yield await piece
        if self._late:
            await self._wait(self._late)
            if self._last:
                yield self._last

    def _due(self, piece: bytes) -> Iterator[bytes]:
        """What of a piece goes on now; the last byte may have to wait for what follows it."""
        at = -1 if self._corrupt is None else self._corrupt - self._passed
        if 0 <= at < len(piece):
            piece = piece[:at] + bytes((piece[at] ^ 0xFF,)) + piece[at + 1 :]
        before, self._passed = self._passed, self._passed + len(piece)
        if self._end is not None and self._ends_after is not None and self._passed > self._ends_after:
            if left := self._last + piece[: self._ends_after - before]:
                yield left
            raise self._end()
        if self._late and piece:
            piece, self._last = self._last + piece[:-1], piece[-1:]
        if piece:
            yield piece

    def _paced(self, pieces: Iterator[bytes]) -> Iterator[Awaitable[bytes]]:
        for piece in pieces:
            size = len(piece) if self._rate is None else max(1, self._rate // SLICES)
            for at in range(0, len(piece), size):
                yield self._waited(piece[at : at + size])

    async def _waited(self, piece: bytes) -> bytes:
        if self._rate is not None:
            await self._wait(len(piece) / self._rate)
        return piece
