"""Expect: 100-continue on the way to the next hop (RFC 9110 §10.1.1): the content waits until the next hop wants it."""

from __future__ import annotations

import asyncio

from stack.clock import Clock
from stack.http.message import Fields, get

EXPECTS = b"100-continue"


def expects(fields: Fields) -> bool:
    """Whether a request is sent with the expectation. What else Expect may say was refused at the door."""
    return get(fields, b"expect") is not None


class NextHop:
    """What is known of a next hop, for all connections to it."""

    __slots__ = ("never_continues",)

    def __init__(self) -> None:
        self.never_continues = False
        """It answered as HTTP/1.0, which knows no 100: it is not asked again."""


class Expectation:
    """One request's. The answer to it comes as a 100, as a final response, or not at all."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def tell(self, wanted: bool) -> None:
        """A 100 came (`wanted`), or a final response."""
        if not self._told.done():
            self._told.set_result(wanted)

    async def met(self, clock: Clock, seconds: float) -> bool:
        """Whether the content is to be sent. A next hop that says nothing within `seconds` gets it."""
        try:
            async with clock.timeout(seconds):
                return await self._told
        except TimeoutError:
            return True
