"""A small ASGI app that does what tests ask it to."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl


class Probe:
    """Answers by path; remembers what it did. One object is one replica."""

    def __init__(self) -> None:
        self.count = 0
        self.started = self.stopped = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.count += scope["path"] != "/health"
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = dict(parse_qsl(scope["query_string"].decode()))
        status, headers, content = await self._answer(scope, query, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Any, query: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        path = scope["path"]
        headers = [(name.encode(), value.encode()) for name, value in query.items() if name in _GIVEN]
        if path == "/echo":
            seen = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            said = {
                "method": scope["method"],
                "scheme": scope["scheme"],
                "client": scope["client"],
                "path": path,
                "query": scope["query_string"].decode(),
                "headers": seen,
                "body": body.decode("latin-1"),
            }
            return 200, [(b"content-type", b"application/json"), *headers], json.dumps(said).encode()
        if path == "/redirect":
            return int(query.get("status", "302")), [(b"location", query["to"].encode())], b""
        if path == "/cookie":
            return 200, [(b"set-cookie", query["set"].encode())], b"set"
        if path == "/slow":
            await asyncio.sleep(float(query["s"]))
        if path == "/never":
            await asyncio.Event().wait()
        if path == "/fail":
            raise RuntimeError("as asked")
        return int(query.get("status", "200")), headers, query.get("body", f"{self.count}").encode()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        self.started = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.stopped = True
        await send({"type": "lifespan.shutdown.complete"})


_GIVEN = ("cache-control", "vary", "set-cookie", "etag", "expires", "date", "content-encoding")
MINUTE = "/x?cache-control=max-age%3D60"
"""Fresh for a minute."""
