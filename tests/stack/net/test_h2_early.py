"""RFC 9113 §8.1: an answer before the request has ended, and what becomes of the rest of it."""

from __future__ import annotations

from hyperframe.frame import RstStreamFrame

from stack.clock import VirtualClock, eventually
from stack.http.message import Request, Response
from stack.net.h2_early import PATIENCE
from stack.telemetry.exchange import Exchange
from tests.support.h2_peer import POST, client
from tests.support.wire import serving


def refuse(request: Request, exchange: Exchange) -> Response:
    return Response(403, [], b"no")


async def test_the_rest_is_refused_when_the_answer_could_be_read() -> None:
    clock = VirtualClock()
    async with serving(refuse, clock=clock) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, POST, end=False), peer.data(1, bytes(1000)))
        head, content, _ = await peer.answer(1)
        assert (head[0], content) == ((b":status", b"403"), b"no")
        await peer.pong()
        assert not any(isinstance(frame, RstStreamFrame) for frame in peer.seen)
        assert len(service.exchanges) == 1, "the exchange ends with its answer"
        await clock.advance(PATIENCE + 1)
        assert await peer.reset_of(1) == 0


async def test_a_client_that_ends_in_time_meets_no_reset_and_loses_no_window() -> None:
    clock = VirtualClock()
    async with serving(refuse, clock=clock) as (service, server), client(service.port) as peer:
        for stream in range(1, 401, 2):  # more than fits into the connection's window, and than may be open at a time
            peer.send(peer.headers(stream, POST, end=False), peer.data(stream, bytes(8000)))
            await peer.answer(stream)
            if stream % 4 == 1:
                peer.send(
                    peer.data(stream, bytes(8000)), peer.data(stream, bytes(8000)), peer.data(stream, b"", end=True)
                )
            else:
                peer.send(peer.reset(stream))
        await peer.pong()
        await clock.advance(PATIENCE + 1)
        await peer.pong(b"barrier2")
        assert not any(isinstance(frame, RstStreamFrame) for frame in peer.seen)
        [connection] = server.context.connections
        await eventually(lambda: not connection._early._held and not connection._h2._streams)  # type: ignore[attr-defined]
