"""What every handler is given: the database, the templates, the clock."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web

from appserver.shop.assets import Assets
from appserver.shop.model import Repository, Unavailable
from appserver.shop.rendering import Templates
from stack.clock import Clock

if TYPE_CHECKING:
    from stack.telemetry.exchange import Exchange

T = TypeVar("T")

EXCHANGE: Final = "hopstack.exchange"
"""Where this project's app server keeps the record of the request. Under another server there is none."""


class Shop:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.assets = Assets()
        self.templates = Templates(self.assets)
        self.changed = max(self.templates.changed, self.assets.changed)
        """Unix seconds since when the pages look as they do."""
        self._repository: Repository | None = None

    @property
    def repository(self) -> Repository:
        if self._repository is None:
            raise Unavailable("it is not open")
        return self._repository

    @repository.setter
    def repository(self, repository: Repository) -> None:
        self._repository = repository

    @property
    def now(self) -> int:
        return int(self.clock.time())


async def asked(request: web.Request, answer: Awaitable[T]) -> T:
    """The database's answer; the question is marked in Server-Timing and the log, apart from the app's own time."""
    mark(request, "app", "asking")
    try:
        return await answer
    finally:
        mark(request, "db", "asked")


def mark(request: web.Request, step: str, word: str) -> None:
    if (exchange := record(request)) is not None:
        exchange.mark(step, word)


def record(request: web.Request) -> Exchange | None:
    return request.get(EXCHANGE)


def name(request: web.Request, otherwise: str) -> str:
    """Which instance this is, as the server that runs it is called."""
    exchange = record(request)
    return otherwise if exchange is None else exchange.hop
