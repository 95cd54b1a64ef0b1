"""`wsgi.input`: a request's content, read by a thread while it arrives in the loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from stack.errors import HopError
from stack.http.message import Body, BodyStream
from stack.net.tasks import Tasks

SIZE: Final = 64 * 1024


class ContentBroken(OSError):
    """The content ends early: the client has gone, is too slow or sends too much."""


def content(
    body: Body, loop: asyncio.AbstractEventLoop, tasks: Tasks, broken: Callable[[HopError], None]
) -> io.BytesIO | io.BufferedReader:
    """A binary file; reading waits for what was asked for, or the end. `broken` is called, in the loop, with why."""
    if isinstance(body, bytes):
        return io.BytesIO(body)
    return io.BufferedReader(_Arriving(body, loop, tasks, broken), SIZE)


class _Arriving(io.RawIOBase):
    def __init__(
        self, body: BodyStream, loop: asyncio.AbstractEventLoop, tasks: Tasks, broken: Callable[[HopError], None]
    ) -> None:
        super().__init__()
        self._body, self._loop, self._tasks, self._broken = body, loop, tasks, broken
        self._left = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    # The app's thread.

    def readinto(self, into: Any) -> int:
        target = memoryview(into).cast("B")
        while not self._left and not self._ended:
            self._left = memoryview(self._next())
        size = min(len(target), len(self._left))
        target[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def _next(self) -> bytes:
        piece: Future[bytes] = Future()
        try:
            self._loop.call_soon_threadsafe(self._pull, piece)
        except RuntimeError:  # the loop is closed
            raise ContentBroken("the server has stopped") from None
        return piece.result()

    # The loop's.

    def _pull(self, piece: Future[bytes]) -> None:
        self._tasks.spawn(self._pulled(piece), name="wsgi.input")

    async def _pulled(self, piece: Future[bytes]) -> None:
        try:
            piece.set_result(await self._body.__anext__())
        except StopAsyncIteration:
            self._ended = True
            piece.set_result(b"")
        except HopError as error:
            self._ended = True
            self._broken(error)
            piece.set_exception(ContentBroken(str(error)))
        except BaseException as error:
            self._ended = True
            piece.set_exception(ContentBroken("the server is stopping"))
            if not isinstance(error, asyncio.CancelledError):
                raise
