"""Priorities on the wire (RFC 9218): which of the responses of one connection goes first when not all of them can."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame, HeadersFrame

from stack.clock import VirtualClock, eventually
from stack.config.base import Timeouts
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.h2_handlers import pieces
from tests.support.h2_peer import GET, Peer, client, raw
from tests.support.wire import serving

SIZE = 256 * 1024
FRAME = 16384
Asked = list[tuple[bytes, bytes]]


def answer(request: Request, exchange: Exchange) -> Response:
    """As much as the target says, at once or in pieces, with the origin's own opinion if asked for."""
    kind, _, size = request.path[1:].partition(b"/")
    fields = [(b"priority", value) for name, value in request.fields if name == b"x-origin-says"]
    count = int(size or SIZE)
    if kind == b"stream":
        return Response(200, fields, pieces(*[b"s" * FRAME] * (count // FRAME)))
    return Response(200, fields, b"w" * count)


@contextlib.asynccontextmanager
async def held() -> AsyncIterator[Peer]:
    """A client whose connection window is shut: nothing goes until it says so."""
    async with serving(answer) as (service, _), client(service.port, {4: 2**31 - 1}) as peer:
        peer.send(peer.headers(1, [*GET[:3], (b":path", b"/whole/65535")]))
        await peer.answer(1, credit=False)
        yield peer


def ask(peer: Peer, stream: int, path: bytes, *fields: tuple[bytes, bytes]) -> bytes:
    return peer.headers(stream, [*GET[:3], (b":path", path), *fields])


async def order(peer: Peer, streams: int) -> list[int]:
    """Open the window; of which stream every DATA frame was, until so many streams have ended."""
    peer.send(peer.window(0, 2**31 - 1 - 65535))
    seen: list[int] = []
    while streams:
        frame = await peer.next()
        if isinstance(frame, DataFrame):
            if frame.data:
                seen.append(frame.stream_id)
            streams -= "END_STREAM" in frame.flags
    return seen


def ends(seen: list[int]) -> list[int]:
    """Streams by their last frame."""
    return [stream for at, stream in enumerate(seen) if stream not in seen[at + 1 :]]


@pytest.mark.parametrize("kind", [b"/whole", b"/stream"])
@pytest.mark.parametrize(
    ("asked", "ended"),
    [
        pytest.param({3: None, 5: None, 7: None}, [3, 5, 7], id="10-in-order-by-default"),
        pytest.param({3: b"u=5", 5: b"u=3", 7: b"u=0"}, [7, 5, 3], id="10-urgent-first"),
        pytest.param({3: b"u=7", 5: None, 7: b"u=2, i"}, [7, 5, 3], id="4.1-3-is-the-default"),
        pytest.param({3: b"nonsense!", 5: b"u=1", 7: b"u=9"}, [5, 3, 7], id="4-nonsense-says-nothing"),
    ],
)
async def test_the_most_urgent_goes_first(kind: bytes, asked: dict[int, bytes | None], ended: list[int]) -> None:
    async with held() as peer:
        for stream, priority in asked.items():
            peer.send(ask(peer, stream, kind, *([] if priority is None else [(b"priority", priority)])))
        await heads(peer, 3)
        seen = await order(peer, 3)
        assert len(seen) >= 3 * SIZE // FRAME
        assert ends(seen) == ended
        switches = sum(a != b for a, b in itertools.pairwise(seen))
        if kind == b"/whole":
            assert switches == 2, "each goes on its own"


async def heads(peer: Peer, count: int) -> None:
    for _ in range(count):
        await peer.until(lambda f: isinstance(f, HeadersFrame))
    await peer.pong()


async def test_incremental_responses_take_turns() -> None:
    async with held() as peer:
        for stream in (3, 5, 7):
            peer.send(ask(peer, stream, b"/whole", (b"priority", b"i")))
        await heads(peer, 3)
        seen = await order(peer, 3)
    for at in range(0, 30, 3):
        assert sorted(seen[at : at + 3]) == [3, 5, 7]


async def test_incremental_ones_go_on_beside_one_that_is_not() -> None:
    async with held() as peer:
        for stream, priority in ((3, b"u=3"), (5, b"i"), (7, b"u=3")):
            peer.send(ask(peer, stream, b"/whole", (b"priority", priority)))
        await heads(peer, 3)
        seen = await order(peer, 3)
    assert ends(seen).index(3) < ends(seen).index(7)
    first = seen[: seen.index(7)]
    assert 0 < first.count(5) < first.count(3), "it has its turns, and 3 goes first"


async def test_a_long_response_does_not_hold_up_a_short_one() -> None:
    """Of one urgency nobody starves: after a lap of 1 MiB the others have their turn."""
    async with held() as peer:
        peer.send(ask(peer, 3, b"/whole/%d" % (6 * 1024 * 1024)))
        peer.send(ask(peer, 5, b"/whole/%d" % SIZE))
        await heads(peer, 2)
        seen = await order(peer, 2)
    assert ends(seen) == [5, 3]
    assert seen.index(5) <= 1024 * 1024 // FRAME + 4


async def test_priority_update_overtakes_the_field() -> None:
    """RFC 9218 7: before the request, and while it waits."""
    async with held() as peer:
        peer.send(raw(16, 0, 0, b"\0\0\0\x05u=1"))
        for stream in (3, 5, 7, 9):
            peer.send(ask(peer, stream, b"/whole", (b"priority", b"u=4")))
        await heads(peer, 4)
        peer.send(raw(16, 0, 0, b"\0\0\0\x09u=0"))
        await peer.pong()
        assert ends(await order(peer, 4)) == [9, 5, 3, 7]


async def test_the_origin_knows_better() -> None:
    """RFC 9218 8: what a response's own field says overrides the client's, and only that."""
    async with held() as peer:
        peer.send(ask(peer, 3, b"/whole", (b"priority", b"u=1"), (b"x-origin-says", b"u=6")))
        peer.send(ask(peer, 5, b"/whole", (b"priority", b"u=4")))
        peer.send(ask(peer, 7, b"/whole", (b"priority", b"u=5"), (b"x-origin-says", b"i")))
        await heads(peer, 3)
        assert ends(await order(peer, 3)) == [5, 7, 3]


async def test_the_urgent_one_that_cannot_go_holds_up_nobody() -> None:
    async with serving(answer) as (service, _), client(service.port, {4: 1000}) as peer:
        peer.send(ask(peer, 1, b"/whole", (b"priority", b"u=0")))
        await peer.until(lambda f: isinstance(f, DataFrame) and f.stream_id == 1)
        peer.send(ask(peer, 3, b"/whole/900", (b"priority", b"u=7")))
        assert len((await peer.answer(3))[1]) == 900


async def test_who_waits_for_a_more_urgent_one_is_not_stalled() -> None:
    """Its client keeps no window shut: the time-out of a client that takes nothing is not for it."""
    clock = VirtualClock()
    async with (
        serving(answer, clock=clock, timeouts=Timeouts()) as (service, server),
        client(service.port, {4: 2**31 - 1}) as peer,
    ):
        peer.send(ask(peer, 1, b"/whole/%d" % (1024 * 1024), (b"priority", b"u=1")))
        await peer.until(lambda f: isinstance(f, DataFrame))
        peer.send(ask(peer, 3, b"/whole/100"))
        await peer.until(lambda f: isinstance(f, HeadersFrame) and f.stream_id == 3)
        for _ in range(4):
            await clock.advance(20)
            peer.send(peer.window(0, 10_000))
            await peer.pong()
        assert server.context.in_flight == 2
        await clock.advance(31)  # now it takes nothing at all
        await eventually(lambda: server.context.in_flight == 0)
        await asyncio.sleep(0)
    assert [exchange.termination for exchange in service.exchanges] == ["timeout", "timeout"]
