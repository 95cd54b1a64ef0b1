"""Expect: 100-continue through an intermediary: the origin decides whether the content is sent (RFC 9110 §10.1.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.h1_hops import INTERMEDIARIES, Client, Hop, client, hop
from tests.support.strict_origin import Line, Received, StrictOrigin, answer_ok, strict_origin

CONTENT = b"0123456789" * 100
PATIENCE = 1.0
"""Seconds that the hops wait for a 100."""


class Way:
    """A hop, and an origin that does by target what a scenario says."""

    def __init__(self, origin: StrictOrigin, running: Hop) -> None:
        self.origin, self.hop = origin, running
        self.heads: dict[bytes, Callable[[Received, Line], Awaitable[bool]]] = {}
        origin.head = self._head

    async def _head(self, request: Received, line: Line) -> bool:
        return await self.heads.get(request.target, said_nothing)(request, line)

    def received(self, target: bytes) -> list[Received]:
        return [request for request in self.origin.received if request.target == target]


async def said_nothing(request: Received, line: Line) -> bool:
    return True


def asks(target: bytes, *more: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % target, b"Host: a.test", b"Content-Length: 1000", *more, b"", b""]
    return b"\r\n".join(lines)


EXPECT = b"Expect: 100-continue"


async def gets(one: Client, *statuses: int) -> None:
    async def seen() -> bool:
        one.seen.read()
        return len(one.seen.answers) >= len(statuses) and all(answer.complete for answer in one.seen.answers)

    await eventually(seen, within=15)
    assert [answer.status for answer in one.seen.answers] == list(statuses)


async def the_origin_s_100_is_what_the_client_gets(way: Way) -> None:
    """Not before it: until then the origin has the head alone."""
    go, asked = asyncio.Event(), asyncio.Event()

    async def head(request: Received, line: Line) -> bool:
        assert request.all(b"expect") == [b"100-continue"]
        asked.set()
        await go.wait()
        line.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    way.heads[b"/100"] = head
    async with client(way.hop.port) as one:
        await one.send(asks(b"/100", EXPECT))
        async with asyncio.timeout(15):
            await asked.wait()
        await asyncio.sleep(PATIENCE / 10)
        assert one.seen.data == b""
        go.set()
        await gets(one, 100)
        await one.send(CONTENT)
        await gets(one, 100, 200)
        await one.send(asks(b"/behind") + CONTENT)  # the connection goes on
        await gets(one, 100, 200, 200)
    assert [request.body for request in way.received(b"/100") + way.received(b"/behind")] == [CONTENT, CONTENT]


async def a_final_answer_instead_of_it_spares_the_content(way: Way) -> None:
    async def one_of(status: int) -> None:
        async def head(request: Received, line: Line) -> bool:
            line.writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
            await line.reader.read()  # the content never comes
            return False

        target = b"/%d" % status
        way.heads[target] = head
        async with client(way.hop.port) as one:
            await one.send(asks(target, EXPECT))
            await one.until(1, closed=True)
            assert [(answer.status, answer.body) for answer in one.seen.answers] == [(status, b"no")]
            # what would come next on the connection may be content, or not
            assert one.seen.final[0].all(b"connection") == [b"close"]
        [request] = way.received(target)
        assert not request.complete
        assert request.body == b""

    await asyncio.gather(*(one_of(status) for status in (401, 413, 417)))


async def an_origin_that_never_says_100_gets_the_content_after_a_while(way: Way) -> None:
    async with client(way.hop.port) as one:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await one.send(asks(b"/never", EXPECT))
        await gets(one, 100)
        assert loop.time() - start > PATIENCE * 0.75
        await one.send(CONTENT)
        await gets(one, 100, 200)
    assert way.received(b"/never")[0].body == CONTENT


async def content_that_comes_unasked_is_taken(way: Way) -> None:
    async with client(way.hop.port) as one:
        await one.send(asks(b"/unasked", EXPECT) + CONTENT)
        await gets(one, 200)  # the 100 may be left out: the content is here
    assert way.received(b"/unasked")[0].body == CONTENT


async def in_http_1_0_it_is_not_passed_on(way: Way) -> None:
    async with client(way.hop.port) as one:
        await one.send(asks(b"/old", EXPECT).replace(b"1.1", b"1.0") + CONTENT)
        await gets(one, 200)
    assert way.received(b"/old")[0].all(b"expect") == []


async def without_content_it_is_not_passed_on(way: Way) -> None:
    async with client(way.hop.port) as one:
        await one.send(b"GET /none HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n")
        await gets(one, 200)
    assert way.received(b"/none")[0].all(b"expect") == []


async def an_http_1_0_origin_is_asked_once(way: Way) -> None:
    """It knows no 100: the next request is answered 100 by the hop and goes without the field."""

    async def answer(request: Received, line: Line) -> bool:
        if not request.target.startswith(b"/1.0"):
            return await answer_ok(request, line)
        line.writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return False

    way.origin.answer = answer
    for target in (b"/1.0/first", b"/1.0/second"):
        async with client(way.hop.port) as one:
            await one.send(asks(target, EXPECT))
            await gets(one, 100)
            await one.send(CONTENT)
            await gets(one, 100, 200)
    assert way.received(b"/1.0/first")[0].all(b"expect") == [b"100-continue"]
    assert way.received(b"/1.0/second")[0].all(b"expect") == []


AT_ONCE = (
    the_origin_s_100_is_what_the_client_gets,
    a_final_answer_instead_of_it_spares_the_content,
    an_origin_that_never_says_100_gets_the_content_after_a_while,
    content_that_comes_unasked_is_taken,
    in_http_1_0_it_is_not_passed_on,
    without_content_it_is_not_passed_on,
)
THEN = (an_http_1_0_origin_is_asked_once,)
"""What is learnt of an origin holds for all that comes later."""


async def run(kind: str, home: Path) -> dict[str, BaseException | None]:
    flag = {"cdn_edge": "origin", "loadbalancer": "backend", "proxy": "upstream"}[kind]
    async with (
        strict_origin() as origin,
        hop(kind, home, origin.port, f"--{flag}-timeouts-expect", f"{PATIENCE:g}s") as running,
    ):
        way = Way(origin, running)
        found = await asyncio.gather(*(scenario(way) for scenario in AT_ONCE), return_exceptions=True)
        found += await asyncio.gather(*(scenario(way) for scenario in THEN), return_exceptions=True)
    return {scenario.__name__: error for scenario, error in zip((*AT_ONCE, *THEN), found, strict=True)}


@pytest.fixture(scope="module", params=INTERMEDIARIES)
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseException]:
    return asyncio.run(run(request.param, tmp_path_factory.mktemp("expect") / "home"))


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in (*AT_ONCE, *THEN)])
def test_expect(outcomes: dict[str, BaseException], scenario: str) -> None:
    if (error := outcomes[scenario]) is not None:
        raise error
