"""A response's content on its way through: the request is in flight until it ends, is cut, or nobody reads on."""

from __future__ import annotations

from collections.abc import Callable

from stack.errors import HopError
from stack.http.message import BodyStream

Ended = Callable[[HopError | None], object]


class Watched:
    """A `BodyStream` that calls `ended` once: with None, or with the error that cut it."""

    __slots__ = ("_body", "_ended")

    def __init__(self, body: BodyStream, ended: Ended) -> None:
        self._body = body
        self._ended: Ended | None = ended

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._body.__anext__()
        except StopAsyncIteration:
            self._end(None)
            raise
        except HopError as error:
            self._end(error)
            raise

    async def aclose(self) -> None:
        self._end(None)
        await self._body.aclose()

    def _end(self, error: HopError | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(error)
