"""The demo shop: `appserver.shop:create_app`."""

from __future__ import annotations

from typing import Any


def create_app() -> Any:
    """An `aiohttp.web.Application`."""
    from aiohttp import web

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"<h1>{request.path}</h1>" * 100, content_type="text/html", headers={"Cache-Control": "public, s-maxage=60", "ETag": '"x"'})

    async def health(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/{tail:.*}", page)
    return app
