"""A fault on a link, as the hop before it sees it: each kind, over HTTP/1.1 and HTTP/2, on reused connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from stack.clock import eventually
from stack.errors import (
    ClosedEarly,
    ConnectRefused,
    ConnectTimeout,
    HopError,
    ResponseIncomplete,
    ResponseTimeout,
)
from stack.faults.spec import parse
from tests.stack.faults.lab import CONTENT, Lab, lab, stream


@pytest.fixture(params=["h1-whole", "h1-stream", "h2-whole", "h2-stream"])
async def link(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    protocol, _, shape = request.param.partition("-")
    async with lab(protocol, streamed=shape == "stream") as made:
        assert await made.get() == CONTENT  # from here on connections are reused
        made.asked.clear()
        yield made


def words(lab: Lab) -> list[str]:
    assert lab.exchange is not None
    return [word for step, word, _ in lab.exchange.marks if step == "fault"]


async def test_latency(link: Lab) -> None:
    link.add("edge-fra>lb-a latency=200ms name=slow")
    before = link.clock.now()
    assert await link.get() == CONTENT
    assert link.clock.now() - before == pytest.approx(0.2)
    assert link.exchange is not None
    assert link.exchange.faults == ("slow",)
    assert link.exchange.server_timing() == b'edge-fra.fault;dur=200.0;desc="latency"'
    assert link.counted() == {("slow", "latency"): 1}


async def test_latency_beyond_the_time_out_is_one(link: Lab) -> None:
    link.add("edge-*>lb-a latency=90s")
    before = link.clock.now()
    with pytest.raises(ResponseTimeout) as raised:
        await link.send()
    assert link.clock.now() - before == pytest.approx(60.0)
    assert raised.value.injected == "edge-any-lb-a-latency"
    assert not link.asked


@pytest.mark.parametrize(
    ("text", "kind", "status", "after"),
    [
        ("edge-fra>lb-a refused name=x", ConnectRefused, "connection_refused", 0.0),
        ("edge-fra>lb-a blackhole name=x", ResponseTimeout, "http_response_timeout", 60.0),
        ("edge-fra>lb-a reset=0 name=x", ClosedEarly, "connection_terminated", 0.0),
    ],
)
async def test_no_answer(link: Lab, text: str, kind: type[HopError], status: str, after: float) -> None:
    link.add(text)
    before = link.clock.now()
    with pytest.raises(kind) as raised:
        await link.send()
    error = raised.value
    assert (error.injected, error.detail, error.proxy_status) == ("x", "injected: x", status)
    assert "edge-fra>lb-a" in error.private
    assert link.clock.now() - before == pytest.approx(after)
    assert len(link.asked) == ("reset" in text)  # a reset comes after the request went through


async def test_a_black_hole_that_is_cleared_lets_go(link: Lab) -> None:
    link.add("edge-fra>lb-a blackhole name=x")
    waiting = asyncio.ensure_future(link.pool.send(link.request(), link.exchange))  # type: ignore[arg-type]
    await eventually(lambda: link.faults.waiting() is not None)
    assert link.faults.remove("x")
    with pytest.raises(ResponseTimeout):
        await waiting
    assert link.faults.waiting() is None
    assert await link.get() == CONTENT


async def test_a_black_hole_ends_with_its_time(link: Lab) -> None:
    link.add("edge-fra>lb-a blackhole for=5s name=x")
    before = link.clock.now()
    with pytest.raises(ResponseTimeout):
        await link.send()
    assert link.clock.now() - before == pytest.approx(5)
    assert await link.get() == CONTENT


async def test_a_status(link: Lab) -> None:
    link.add("edge-fra>lb-a status=503 name=x")
    response = await link.send()
    assert response.status == 503
    assert response.get(b"proxy-status") == b'edge-fra;error=proxy_internal_response;details="injected: x"'
    document = json.loads(await link.read(response))
    assert (document["status"], document["detail"], document["hop"]) == (503, "injected: x", "edge-fra")
    assert not link.asked


@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_content_that_ends_early(link: Lab, kind: str) -> None:
    link.add(f"edge-fra>lb-a {kind}=1234 name=x")
    response = await link.send()
    assert response.status == 200
    with pytest.raises(ResponseIncomplete) as raised:
        await link.read(response)
    assert raised.value.injected == "x"
    assert raised.value.args[-1] == CONTENT[:1234]
    assert words(link) == [kind]
    link.faults.clear()
    assert await link.get() == CONTENT


async def test_a_corrupted_byte(link: Lab) -> None:
    link.add("edge-fra>lb-a corrupt=5000")
    got = await link.get()
    assert [at for at in range(len(CONTENT)) if got[at] != CONTENT[at]] == [5000]
    assert len(got) == len(CONTENT)
    assert words(link) == ["corrupt"]


async def test_bandwidth_down(link: Lab) -> None:
    link.add("edge-fra>lb-a down=1024")
    before = link.clock.now()
    assert await link.get() == CONTENT
    assert link.clock.now() - before == pytest.approx(len(CONTENT) / 1024, rel=0.01)


@pytest.mark.parametrize("streamed", [False, True])
async def test_bandwidth_up(link: Lab, streamed: bool) -> None:
    link.add("edge-fra>lb-a up=1024")
    before = link.clock.now()
    content = b"u" * 2048
    request = link.request(b"POST", body=stream(content, 500) if streamed else content)
    assert await link.get(request) == content
    assert link.clock.now() - before == pytest.approx(2.0, rel=0.01)


async def test_the_last_byte_late(link: Lab) -> None:
    link.add("edge-fra>lb-a slow_close=5s")
    response = await link.send()
    before = link.clock.now()
    assert await link.read(response) == CONTENT
    assert link.clock.now() - before == pytest.approx(5.0)
    assert words(link) == ["slow-close"]


@pytest.mark.parametrize("kind", ["reset", "truncate", "corrupt"])
async def test_an_offset_beyond_the_end_touches_nothing(kind: str) -> None:
    async with lab() as link:
        link.add(f"edge-fra>lb-a {kind}={len(CONTENT)}")
        assert await link.get() == CONTENT
        assert words(link) == []
        assert link.counted() == {}


async def test_no_content_no_harm() -> None:
    async with lab() as link:
        link.add("edge-fra>lb-a reset=10 truncate=5 corrupt=1 down=10 slow_close=3s")
        before = link.clock.now()
        response = await link.send(link.request(b"HEAD"))
        assert (response.status, response.body) == (200, b"")
        assert link.clock.now() - before == pytest.approx(3.0)
        assert words(link) == ["slow-close"]


async def test_the_first_fail_and_the_rest_succeed(link: Lab) -> None:
    link.add("edge-fra>lb-a status=500 first=2")
    assert [(await link.send()).status for _ in range(4)] == [500, 500, 200, 200]


async def test_several_act_together(link: Lab) -> None:
    link.add("edge-fra>lb-a latency=1s name=a")
    link.add("edge-*>lb-a latency=2s corrupt=0 name=b")
    before = link.clock.now()
    assert (await link.get())[:1] == bytes((CONTENT[0] ^ 0xFF,))
    assert link.clock.now() - before == pytest.approx(3.0)
    assert link.exchange is not None
    assert link.exchange.faults == ("a", "b")


async def test_one_that_is_over_leaves_the_pool_untouched(link: Lab) -> None:
    link.add("edge-fra>lb-a refused for=10s")
    with pytest.raises(ConnectRefused):
        await link.send()
    await link.clock.advance(10)
    assert await link.get() == CONTENT
    assert link.pool.hindered is None
    assert len(link.faults) == 0


async def test_off_is_untouched() -> None:
    async with lab() as link:

        def hindered() -> tuple[bool, bool]:
            return link.pool.hindered is not None, link.server.context.service is not link.service

        assert hindered() == (False, False)
        link.add("edge-fra>lb-a refused name=x")
        assert hindered() == (True, False)
        link.add("lb-a refused name=y")
        assert hindered() == (True, True)
        assert not link.faults.places(parse("other>lb-a refused"))
        link.faults.clear()
        link.serving.clear()
        assert hindered() == (False, False)


@pytest.mark.parametrize(
    ("text", "raises"),
    [
        ("edge-fra>lb-a refused", ConnectRefused),
        ("edge-fra>lb-a blackhole", ConnectTimeout),
        ("edge-fra>lb-a latency=2s checks=yes", ConnectTimeout),
        ("edge-fra>lb-a latency=2s", None),
        ("edge-fra>lb-a refused first=5", None),
        ("edge-fra>lb-a refused checks=no", None),
    ],
)
async def test_a_check_that_only_connects(text: str, raises: type[HopError] | None) -> None:
    async with lab() as link:
        link.add(text)
        connecting = link.net.connect("127.0.0.1", link.service.port, timeout=1.0, name="lb-a")
        if raises is None:
            await link.passing(connecting)
        else:
            with pytest.raises(raises):
                await link.passing(connecting)


@pytest.mark.parametrize(("text", "meets"), [("edge-fra>lb-a refused", True), ("edge-fra>lb-a status=500", False)])
async def test_a_check_that_asks(text: str, meets: bool) -> None:
    async with lab() as link:
        checks = link.net.pool(link.pool.upstream, checks=True)
        link.add(text)
        exchange = link.exchange or None
        sending = link.passing(checks.send(link.request(), exchange))  # type: ignore[arg-type]
        if meets:
            with pytest.raises(ConnectRefused):
                await sending
        else:
            assert (await sending).status == 200
