"""The methods of HTTP as methods: once for who awaits, once for who does not."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack.testing.response import Response


class Verbs:
    """`await web.get("/x")`. Each takes what `Client.request` takes."""

    def request(self, *how: Any, **named: Any) -> Coroutine[Any, Any, Response]:
        raise NotImplementedError

    async def get(self, url: str = "/", **how: Any) -> Response:
        return await self.request("GET", url, **how)

    async def head(self, url: str = "/", **how: Any) -> Response:
        return await self.request("HEAD", url, **how)

    async def post(self, url: str = "/", **how: Any) -> Response:
        return await self.request("POST", url, **how)

    async def put(self, url: str = "/", **how: Any) -> Response:
        return await self.request("PUT", url, **how)

    async def patch(self, url: str = "/", **how: Any) -> Response:
        return await self.request("PATCH", url, **how)

    async def delete(self, url: str = "/", **how: Any) -> Response:
        return await self.request("DELETE", url, **how)

    async def options(self, url: str = "/", **how: Any) -> Response:
        return await self.request("OPTIONS", url, **how)


class SyncVerbs:
    """`web.get("/x")`. Each takes what `Client.request` takes."""

    def request(self, *how: Any, **named: Any) -> Response:
        raise NotImplementedError

    def get(self, url: str = "/", **how: Any) -> Response:
        return self.request("GET", url, **how)

    def head(self, url: str = "/", **how: Any) -> Response:
        return self.request("HEAD", url, **how)

    def post(self, url: str = "/", **how: Any) -> Response:
        return self.request("POST", url, **how)

    def put(self, url: str = "/", **how: Any) -> Response:
        return self.request("PUT", url, **how)

    def patch(self, url: str = "/", **how: Any) -> Response:
        return self.request("PATCH", url, **how)

    def delete(self, url: str = "/", **how: Any) -> Response:
        return self.request("DELETE", url, **how)

    def options(self, url: str = "/", **how: Any) -> Response:
        return self.request("OPTIONS", url, **how)
