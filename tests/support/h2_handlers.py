"""Handlers behind HTTP/2 connections under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.h2_peer import GET

Fields = list[tuple[bytes, bytes]]


def hello(request: Request, exchange: Exchange) -> Response:
    exchange.mark("lookup", "hit")
    return Response(200, [(b"content-type", b"text/plain")], b"hello")


async def later(request: Request, exchange: Exchange) -> Response:
    await asyncio.sleep(0)
    return Response(200, [], b"later")


async def collected(request: Request) -> bytes:
    body = request.body
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


async def echo(request: Request, exchange: Exchange) -> Response:
    content = await collected(request)
    return Response(200, [(b"x-target", request.target), *request.trailers], content)


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


def path(target: bytes) -> Fields:
    return [*GET[:3], (b":path", target)]
