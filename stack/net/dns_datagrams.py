"""Datagrams of a DNS server (RFC 1035 §4.2.1): one UDP socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from stack.net.dns_listener import DnsListener

MAX_WAITING: Final = 2000
"""Datagrams that wait for their answers at one time; further ones that would have to wait are dropped, as a full
socket buffer would."""


class Datagrams(asyncio.DatagramProtocol):
    __slots__ = ("_answer", "_listener", "_transport")

    def __init__(self, listener: DnsListener) -> None:
        self._listener = listener
        self._answer = listener.answerer.answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        response = self._answer(data, addr[0], "udp")
        if response is None:
            return
        if isinstance(response, bytes):
            self._send(response, addr)
        elif isinstance(response, AsyncIterator):
            self._listener.dropped += 1  # several messages are for a stream
        elif self._listener.waiting >= MAX_WAITING or self._listener.draining:
            self._listener.dropped += 1
            if asyncio.iscoroutine(response):
                response.close()
        else:
            self._listener.waiting += 1
            self._listener.tasks.spawn(self._later(response, addr), name="dns-udp")

    async def _later(self, response: Awaitable[bytes | None], addr: tuple[Any, ...]) -> None:
        try:
            message = await response
        finally:
            self._listener.waiting -= 1
        if message is not None:
            self._send(message, addr)

    def _send(self, message: bytes, addr: tuple[Any, ...]) -> None:
        try:
            self._transport.sendto(message, addr)
        except (OSError, ValueError):
            # a source nothing can be sent to, such as port 0: forged
            self._listener.dropped += 1

    def error_received(self, exc: Exception) -> None:
        """An ICMP error for something we sent: the client has gone."""
