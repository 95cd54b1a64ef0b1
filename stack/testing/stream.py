"""A response whose content is taken as it comes: server-sent events, downloads, long answers."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from stack.errors import HopError
from stack.testing.codings import Uncoded
from stack.testing.response import Response

Within = Callable[[str], AbstractAsyncContextManager[object]]
"""A block with the deadline of one step; takes what it is about."""


class Streamed(Response):
    """The head is here. `async for piece in r`, `async for line in r.lines()` or `await r.read()` for the rest.

    Pieces are without their coding. Each of them has the deadline of a call. `r.body`, `r.text` and `r.trace` are about
    what has come, once it has ended or the block has been left.
    """

    _content: Any
    _within: Within
    _broken: Callable[[HopError, int], Exception]
    _moment: Callable[[], float]

    def begin(
        self,
        content: Any,
        within: Within,
        broken: Callable[[HopError, int], Exception],
        moment: Callable[[], float],
    ) -> None:
        """For the client: where pieces come from, and milliseconds since the call by `moment`."""
        self._content = content
        self._within, self._broken, self._moment = within, broken, moment
        self._came: list[bytes] = []
        self._ended = False
        self._undoing = Uncoded(self.headers.get("content-encoding", ""))
        self._pieces = self._taken()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def lines(self) -> AsyncIterator[str]:
        """Text by the line, without its end (LF or CRLF), as soon as it is whole."""
        decoder, rest = codecs.getincrementaldecoder(self.charset)("replace"), ""
        async for piece in self._pieces:
            *whole, rest = (rest + decoder.decode(piece)).split("\n")
            for line in whole:
                yield line.removesuffix("\r")
        if rest := rest + decoder.decode(b"", True):
            yield rest

    async def read(self) -> bytes:
        """All that is still to come."""
        return b"".join([piece async for piece in self._pieces])

    async def close(self) -> None:
        """Whoever sends is told that nobody listens any more."""
        await self._pieces.aclose()
        if not isinstance(self._content, bytes):
            await self._content.aclose()
        self._end()

    async def _taken(self) -> AsyncGenerator[bytes, None]:
        content = self._content
        following = _once(content) if isinstance(content, bytes) else content.__aiter__()
        while True:
            try:
                async with self._within("nothing more of the content"):
                    piece = await anext(following, None)
            except HopError as error:
                came = sum(map(len, self._came))
                self._end()
                raise self._broken(error, came) from None
            if piece is None:
                self._end()
                return
            self._came.append(bytes(piece))
            if plain := self._undoing.feed(bytes(piece)):
                yield plain

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self.raw = b"".join(self._came)
            self._timing = replace(self._timing, last=self._moment())
            self.elapsed = self._timing.last / 1000


class Streaming:
    """`async with web.stream("GET", "/events") as r:`. Leaving the block ends the request."""

    def __init__(self, opening: Callable[[], Awaitable[Streamed]], ended: Callable[[], Awaitable[None]]) -> None:
        self._opening, self._ended = opening, ended
        self._response: Streamed | None = None

    async def __aenter__(self) -> Streamed:
        self._response = await self._opening()
        return self._response

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            await self._response.close()
            await self._ended()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
