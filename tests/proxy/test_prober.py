"""Readiness follows the app's health, on a virtual clock."""

from __future__ import annotations

import asyncio

import pytest

from proxy.prober import Prober
from stack.clock import VirtualClock
from stack.errors import ConnectRefused
from stack.http.message import Request, Response
from stack.http.statuses import Statuses
from stack.net.stream import Incoming
from stack.telemetry.exchange import Exchange


class App:
    """Answers with `now`: a status, an error, or silence."""

    def __init__(self, now: int | Exception | None) -> None:
        self.now = now
        self.asked: list[Request] = []

    async def send(self, request: Request, exchange: Exchange) -> Response:
        self.asked.append(request)
        if isinstance(self.now, Exception):
            raise self.now
        if self.now is None:
            await asyncio.Event().wait()
        assert isinstance(self.now, int)
        return Response(self.now, [], b"ok")


def prober(app: App, clock: VirtualClock, passing: str = "200-299") -> Prober:
    return Prober(
        app,
        name="proxy-1",
        app_name="app-1",
        authority=b"127.0.0.1:9001",
        path="/health",
        passing=Statuses([passing]),
        interval=1.0,
        timeout=2.0,
        clock=clock,
    )


@pytest.mark.parametrize(
    ("now", "ready", "reason"),
    [
        (200, True, ""),
        (204, True, ""),
        (503, False, "app-1 answers 503 to GET /health"),
        (302, False, "app-1 answers 302 to GET /health"),
        (404, False, "app-1 answers 404 to GET /health"),
        (ConnectRefused(), False, "app-1 did not answer GET /health: connection_refused"),
        (ZeroDivisionError(), False, "app-1 could not be asked: ZeroDivisionError"),  # our fault, and seen
    ],
)
async def test_one_look(now: int | Exception, ready: bool, reason: str) -> None:
    app = App(now)
    found = await prober(app, VirtualClock()).look()
    assert (found.ready, found.reason) == (ready, reason)
    (asked,) = app.asked
    assert (asked.method, asked.target, asked.authority) == (b"GET", b"/health", b"127.0.0.1:9001")


@pytest.mark.parametrize(("now", "ready"), [(200, True), (404, True), (499, True), (500, False), (503, False)])
async def test_an_app_without_a_page_for_its_health_is_up_while_it_answers(now: int, ready: bool) -> None:
    assert (await prober(App(now), VirtualClock(), "100-499").look()).ready is ready


async def test_an_app_that_says_nothing() -> None:
    clock = VirtualClock()
    looking = asyncio.ensure_future(prober(App(None), clock).look())
    await clock.advance(1.9)
    assert not looking.done()
    await clock.advance(0.2)
    assert (await looking).reason == "app-1 did not answer GET /health within 2 s"


async def test_the_answer_is_read_to_its_end() -> None:
    content = Incoming(100)

    class Streaming(App):
        async def send(self, request: Request, exchange: Exchange) -> Response:
            return Response(200, [], content)

    looking = asyncio.ensure_future(prober(Streaming(200), VirtualClock()).look())
    await asyncio.sleep(0)
    content.feed(b"{}")
    await asyncio.sleep(0)
    assert not looking.done()
    content.end()
    assert (await looking).ready


async def test_readiness_follows() -> None:
    clock, app = VirtualClock(), App(ConnectRefused())
    watch = prober(app, clock)
    assert watch.statistics().reason == "app-1 was not asked yet"
    running = asyncio.ensure_future(watch.run())
    await clock.advance(0.0)
    assert len(app.asked) == 1  # at once
    await clock.advance(0.9)
    assert len(app.asked) == 5  # five times a second while it is down
    app.now = 200
    await clock.advance(0.2)
    assert watch.statistics().ready
    asked = len(app.asked)
    await clock.advance(3.0)
    assert len(app.asked) == asked + 3  # once a second while it is up
    app.now = 503
    await clock.advance(1.0)
    statistics = watch.statistics()
    assert (statistics.ready, statistics.changed) == (False, 2)
    running.cancel()
