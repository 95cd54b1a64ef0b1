"""A WSGI app in real threads, asked without sockets; and apps to ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from wsgiref.validate import validator

from appserver.threads import Threads
from appserver.wsgi import App, StartResponse, WsgiService
from stack.clock import eventually
from stack.http.message import Body, Fields, Peer, Request, Response
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange

TEXT = [("Content-Type", "text/plain")]
Ask = Callable[..., "asyncio.Future[Response]"]


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[Ask]:
    """`valid`: under wsgiref.validate, whose iterables have no length."""
    threads, tasks = Threads(4, name="app-1"), Tasks()

    def ask(
        app: App,
        *,
        method: bytes = b"GET",
        content: Body = b"",
        fields: Fields | None = None,
        buffer: int = 64,
        valid: bool = True,
    ) -> Awaitable[Response]:
        checked: Any = validator(app) if valid else app  # type: ignore[arg-type]
        service = WsgiService(checked, threads=threads, tasks=tasks, buffer=buffer)
        request = Request(
            method, b"/p?q=1", fields or [], authority=b"x", body=content, peer=Peer("127.0.0.1", 1, local=("", 80))
        )
        exchange = Exchange("app-1", lambda: 0.0, request)
        exchange.request_id = b"id-7"
        return service.handle(request, exchange)

    yield ask  # type: ignore[misc]
    await eventually(lambda: threads.unfinished == 0, within=10)
    threads.close()
    await tasks.close()


async def whole(response: Response) -> bytes:
    body = response.body
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


async def pieces(body: Body) -> list[bytes]:
    assert not isinstance(body, bytes)
    return [piece async for piece in body]


def answering(*content: bytes, status: str = "200 OK", headers: list[tuple[str, str]] | None = None) -> App:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response(status, TEXT if headers is None else headers)
        return list(content)

    return app


class Closing:
    """An iterable that knows whether it was closed."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.source, self.closed = source, 0

    def __iter__(self) -> Iterator[bytes]:
        return self.source

    def close(self) -> None:
        self.closed += 1
