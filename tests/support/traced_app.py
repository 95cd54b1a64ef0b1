"""Small applications of a host: `app` in ASGI, `wsgi`, `make` on aiohttp."""

from __future__ import annotations

from typing import Any

from aiohttp import web


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def make() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        request["hopstack.exchange"].mark("db", "asked")
        return web.Response(text="hello")

    made = web.Application()
    made.router.add_get("/{path:.*}", hello)
    return made
