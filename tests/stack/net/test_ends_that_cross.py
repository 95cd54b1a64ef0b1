"""A client that goes in the very moment in which its answer begins: nothing stays behind, whoever is told first.

The connections are in memory, so that both come in one turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from stack.clock import eventually
from stack.http.h2_wire import PREFACE
from stack.http.message import Peer, Request, Response
from stack.net.context import Context
from stack.net.h1_server import H1ServerConnection
from stack.net.h2_server import H2ServerConnection
from stack.telemetry.exchange import Exchange
from tests.stack.net.test_conversations import Pair
from tests.support.h2_peer import GET, Wire
from tests.support.memory import Link

ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Silent(asyncio.Protocol):
    """The other end."""


class Content:
    """A response's, of which nothing ever comes."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.get_running_loop().create_future()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class Service:
    """Answers with a future, as an app's hop does, or with a coroutine, as those that forward."""

    def __init__(self, *, awaits: bool = False) -> None:
        self.awaits = awaits
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.content = Content()
        self.ended: list[Exchange] = []

    def handle(self, request: Request, exchange: Exchange) -> asyncio.Future[Response]:
        return self._wait() if self.awaits else self.answer  # type: ignore[return-value]

    async def _wait(self) -> Response:
        return await self.answer

    def give(self) -> None:
        self.answer.set_result(Response(200, [], self.content))


def context_of(service: Service) -> Context:
    context = Pair("h1", [], 1).contexts[0]
    context.service = service
    context.finished = (service.ended.append,)
    return context


async def all_ended(service: Service, context: Context) -> None:
    await eventually(lambda: context.in_flight == 0 and len(context.tasks) == 0)
    assert [exchange.termination for exchange in service.ended] == ["client-gone"]


@pytest.mark.parametrize("awaits", [False, True])
async def test_h1_lost_within_the_turn_in_which_a_request_begins(awaits: bool) -> None:
    service = Service(awaits=awaits)
    context = context_of(service)
    link = Link(asyncio.get_running_loop())
    connection = H1ServerConnection(context, Peer("127.0.0.1", 1), b"http", None)
    link.start(Silent(), connection)
    connection.data_received(ASKED)
    connection.connection_lost(ConnectionResetError())
    await all_ended(service, context)
    assert service.answer.cancelled()


async def test_h1_lost_within_the_turn_in_which_a_stream_is_answered() -> None:
    service = Service()
    context = context_of(service)
    link = Link(asyncio.get_running_loop())
    connection = H1ServerConnection(context, Peer("127.0.0.1", 1), b"http", None)
    link.start(Silent(), connection)
    connection.data_received(ASKED)
    service.give()  # the connection hears of it in the next turn, and then of its own end
    asyncio.get_running_loop().call_soon(connection.connection_lost, ConnectionResetError())
    await all_ended(service, context)
    assert service.content.closed


def reset(connection: H2ServerConnection, wire: Wire) -> None:
    connection.data_received(wire.reset(1))


def lost(connection: H2ServerConnection, wire: Wire) -> None:
    connection.connection_lost(ConnectionResetError())


@pytest.mark.parametrize("end", [reset, lost])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("given", [False, True])
async def test_h2_ended_within_the_turn_in_which_a_stream_is_answered(
    end: Callable[[H2ServerConnection, Wire], None], turns: int, given: bool
) -> None:
    service = Service()
    context = context_of(service)
    link = Link(asyncio.get_running_loop())
    connection, wire = H2ServerConnection(context, Peer("127.0.0.1", 1), b"http"), Wire()
    link.start(Silent(), connection)
    connection.data_received(PREFACE + wire.settings() + wire.headers(1, GET))
    for _ in range(turns):
        await asyncio.sleep(0)
    if given:
        service.give()
    end(connection, wire)
    await all_ended(service, context)
    assert service.content.closed if given else service.answer.cancelled()
