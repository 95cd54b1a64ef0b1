"""`/health`: whether the shop can do its work, which is to say whether its database answers."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from appserver.shop.model import Unavailable
from appserver.shop.replies import JSON, NEVER, json, reply
from appserver.shop.shop import Shop, asked, mark, name

PATIENCE: Final = 1.0
"""Seconds that the database has to answer."""


class Health:
    def __init__(self, shop: Shop, hostname: str) -> None:
        self._shop = shop
        self._hostname = hostname

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/health", self.health)]

    async def health(self, request: web.Request) -> web.Response:
        repository = self._shop.repository
        began = self._shop.clock.now()
        reason = ""
        try:
            async with self._shop.clock.timeout(PATIENCE):
                await asked(request, repository.ping())
        except TimeoutError:
            reason = f"no answer within {PATIENCE:g} s"
        except Unavailable as error:
            reason = str(error)
        took = round((self._shop.clock.now() - began) * 1000, 1)
        status = "unhealthy" if reason else "healthy"
        mark(request, "health", status)
        document: dict[str, object] = {
            "status": status,
            "database": repository.kind,
            "ms": took,
            "name": name(request, self._hostname),
        }
        if reason:
            document["reason"] = reason
        return reply(json(document), JSON, NEVER, status=503 if reason else 200)
