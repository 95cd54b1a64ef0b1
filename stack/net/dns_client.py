"""One DNS message to a server and its response back, over UDP or TCP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

from stack.clock import Clock

Address = tuple[str, int]
Accept = Callable[[bytes], bool]


async def ask_udp(
    address: Address, message: bytes, *, accept: Accept, clock: Clock, timeout: float, source: str | None = None
) -> bytes:
    """The first datagram from `address` that `accept` takes; others are ignored, as forgeries and late ones must be.

    Every call has a socket, and so a random source port, of its own (RFC 5452 §9.2); it is connected, so that the
    kernel drops what other addresses send. `source`: the address it is sent from. Raises TimeoutError after `timeout`
    seconds, OSError when nobody listens.
    """
    loop = asyncio.get_running_loop()
    received: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Once(received, accept), remote_addr=address, local_addr=_local(source)
    )
    try:
        transport.sendto(message)
        async with clock.timeout(timeout):
            return await received
    finally:
        transport.close()


class _Once(asyncio.DatagramProtocol):
    def __init__(self, received: asyncio.Future[bytes], accept: Accept) -> None:
        self._received, self._accept = received, accept

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if not self._received.done() and self._accept(data):
            self._received.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._received.done():
            self._received.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._received.done():
            self._received.cancel()


async def ask_tcp(
    address: Address,
    message: bytes,
    *,
    accept: Accept,
    clock: Clock,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    source: str | None = None,
) -> bytes:
    """The same over a connection of its own (RFC 7766), with `tls` as DNS over TLS (RFC 7858).

    Raises TimeoutError, OSError, EOFError.
    """
    async with clock.timeout(timeout):
        reader, writer = await asyncio.open_connection(*address, ssl=tls, local_addr=_local(source))
        try:
            writer.write(len(message).to_bytes(2, "big") + message)
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                response = await reader.readexactly(size)
                if accept(response):
                    return response
        finally:
            writer.transport.abort()


async def stream_tcp(
    address: Address,
    message: bytes,
    *,
    clock: Clock,
    connect: float,
    idle: float,
    tls: ssl.SSLContext | None = None,
    source: str | None = None,
) -> AsyncIterator[bytes]:
    """The messages that answer one query, until the caller has enough (RFC 5936 §4.1). Seconds for the connection, and
    for each message. Raises TimeoutError, OSError, and EOFError when the other side ends it.

    To be closed by `aclosing`: the connection ends with it.
    """
    async with clock.timeout(connect):
        reader, writer = await asyncio.open_connection(*address, ssl=tls, local_addr=_local(source))
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        while True:
            async with clock.timeout(idle):
                response = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            yield response
    finally:
        writer.transport.abort()


def _local(source: str | None) -> Address | None:
    return None if source is None else (source, 0)
