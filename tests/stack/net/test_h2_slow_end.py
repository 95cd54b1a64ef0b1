"""The end of a downstream HTTP/2 connection whose client is slow: what was handed over is not what has arrived."""

from __future__ import annotations

import asyncio

import pytest

from stack.clock import VirtualClock
from stack.http.message import Peer, Request, Response
from stack.net.h2_server import H2ServerConnection
from stack.telemetry.exchange import Exchange
from tests.stack.net.test_conversations import Pair
from tests.support.h2_peer import GET, PREFACE, Wire
from tests.support.memory import Link

CONTENT = b"~" * 60_000
WINDOW = {4: 2**20}


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


class Slow:
    """A server's connection and a client that takes `rate` bytes a second."""

    def __init__(self, rate: int) -> None:
        pair = Pair("h2", [], 1)
        assert isinstance(pair.clock, VirtualClock)
        self.clock, self.rate = pair.clock, rate
        context = pair.contexts[0]
        context.service = type("Service", (), {"handle": staticmethod(self.handle)})()
        self.client, self.link = Client(), Link(asyncio.get_running_loop())
        self.connection = H2ServerConnection(context, Peer("127.0.0.1", 1), b"http")
        self.link.start(self.client, self.connection)

    def handle(self, request: Request, exchange: Exchange) -> Response:
        return Response(200, [], CONTENT)

    async def until_lost(self, most: int) -> float:
        """Seconds until the server has let the connection go."""
        for seconds in range(most):
            if self.link.server.lost:
                return seconds
            self.link.move(self.link.server, self.rate)
            await self.clock.advance(1)
            if self.connection.deadline <= self.clock.now():
                self.connection.expire()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        raise AssertionError("the connection stays")


@pytest.mark.parametrize("how", ["drain", "client's GOAWAY"])
async def test_a_slow_client_gets_all_of_what_was_answered(how: str) -> None:
    slow, wire = Slow(1500), Wire()
    slow.connection.data_received(
        PREFACE + wire.settings(WINDOW) + wire.window(0, 2**20) + wire.settings(ack=True) + wire.headers(1, GET)
    )
    if how == "drain":
        slow.connection.drain()
        slow.connection.data_received(wire.ping(b"hopstack", ack=True))
    else:
        slow.connection.data_received(wire.go_away(0))
    await slow.until_lost(600)
    assert slow.client.received.count(b"~") >= len(CONTENT)


async def test_a_client_that_takes_nothing_is_let_go_of() -> None:
    slow, wire = Slow(0), Wire()
    slow.connection.data_received(
        PREFACE + wire.settings(WINDOW) + wire.window(0, 2**20) + wire.settings(ack=True) + wire.headers(1, GET)
    )
    slow.connection.data_received(wire.go_away(0))
    assert await slow.until_lost(600) <= slow.connection._send_timeout + 2
