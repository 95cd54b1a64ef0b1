"""All attempts of one request together have a time, and hops wait the longer the further out they stand."""

from __future__ import annotations

import asyncio

import pytest

from cdn_edge.config import OriginTimeouts
from loadbalancer.config import BackendTimeouts
from stack.clock import VirtualClock, settle
from stack.config.base import UpstreamTimeouts
from stack.errors import ResponseTimeout
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.loadbalancer.scripted import Bench, ScriptedBody, ScriptedPool


class Slow(ScriptedPool):
    """Answers so many seconds later."""

    def __init__(self, seconds: float, status: int) -> None:
        super().__init__(status)
        self.seconds, self.clock = seconds, VirtualClock()

    async def send(self, request: Request, exchange: Exchange) -> Response:
        await self.clock.sleep(self.seconds)
        return await super().send(request, exchange)


def bench(*pools: Slow, retries: int = 5) -> Bench:
    made = Bench(*pools, retries=retries)
    assert isinstance(made.clock, VirtualClock)
    for pool in pools:
        pool.clock = made.clock
    return made


async def ask(made: Bench, body: ScriptedBody | bytes = b"") -> tuple[Response | Exception, float]:
    """What came of it, and after how many seconds."""
    assert isinstance(made.clock, VirtualClock)
    before = made.clock.now()
    asking = asyncio.ensure_future(made.send(b"GET", body))
    for _ in range(300):
        await settle()
        if asking.done():
            break
        await made.clock.advance(1)
    error = asking.exception()
    return error if isinstance(error, Exception) else asking.result(), made.clock.now() - before


async def test_another_attempt_has_what_is_left() -> None:
    made = bench(Slow(60, 504), Slow(20, 200))
    response, seconds = await ask(made)
    assert isinstance(response, Response)
    assert (response.status, seconds) == (200, 80)


async def test_an_attempt_ends_with_the_time_of_all_and_the_real_answer_is_passed_on() -> None:
    made = bench(Slow(60, 504), Slow(60, 200), Slow(0, 200))
    response, seconds = await ask(made)
    assert isinstance(response, Response)
    assert (response.status, response.body, seconds) == (504, b"504", 90)
    assert made.tried == "a"
    assert made.words[-1] == ("attempt", "timeout")
    assert made.metric('hopstack_lb_given_up_total{reason="time"}') == 1


async def test_without_a_real_answer_it_is_our_504() -> None:
    class Silent(Slow):
        async def send(self, request: Request, exchange: Exchange) -> Response:
            await self.clock.sleep(self.seconds)
            raise ResponseTimeout

    made = bench(Silent(65, 0), Silent(65, 0))
    error, seconds = await ask(made)
    assert isinstance(error, ResponseTimeout)
    assert (error.status, error.private, seconds) == (
        504, "b: no response 90 s after the first of 2 attempts", 90,
    )  # fmt: skip


async def test_no_attempt_is_begun_afterwards() -> None:
    made = bench(Slow(95, 503), Slow(0, 200))
    response, _ = await ask(made)
    assert isinstance(response, Response)
    assert response.status == 503
    assert made.tried == "a"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        pytest.param(OriginTimeouts().head, BackendTimeouts().total, id="edge and balancer"),
        pytest.param(BackendTimeouts().total, BackendTimeouts().head, id="all attempts and one"),
        pytest.param(BackendTimeouts().head, UpstreamTimeouts().head, id="balancer and proxy"),
    ],
)
def test_who_is_further_out_waits_longer(outer: float, inner: float) -> None:
    """By what a hop needs to connect besides: an inner 504 says more than an outer one, and may be retried."""
    assert outer >= inner + UpstreamTimeouts().connect
