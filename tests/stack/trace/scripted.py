"""Servers of every sort for the tracer, and the tracer run against them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trustme

from stack.clock import SystemClock
from stack.net.tasks import Tasks
from stack.trace.known import KnownStack
from stack.trace.run import Order, Outcome, Tracer
from stack.trace.target import parse

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"


@asynccontextmanager
async def server(script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that runs `script` for each connection."""
    running: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            running.discard(task)

    listener = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def answering(*responses: bytes, heads: list[bytes] | None = None, requests: int = 99) -> Script:
    """One response for each request, the last one again and again, until `requests` were answered."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(requests):
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head)
            writer.write(responses[min(number, len(responses) - 1)])
            await writer.drain()

    return script


async def traced(url: str, *, stack: KnownStack | None = None, sink: Any = None, **options: Any) -> list[Outcome]:
    tasks = Tasks()
    order = Order(target=parse(url), **{"seconds": 10.0, **options})
    tracer = Tracer(order, stack, clock=SystemClock(), random=Random(5), tasks=tasks, sink=sink)
    try:
        return [outcome async for outcome in tracer.outcomes()]
    finally:
        await tasks.close()


def lines(outcome: Outcome) -> list[str]:
    assert outcome.trace is not None
    return [f"{span.kind} {span.decision}{' !' if span.error else ''}" for span in outcome.trace.spans]


def server_tls(ca: trustme.CA, *names: str, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(list(alpn))
    return context
