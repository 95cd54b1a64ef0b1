"""The pool as a state machine: requests, answers, deaths, cancellations and time in any order that hypothesis finds.

Its connections are the real ones of HTTP/1.1, its origins are h11's: what reaches them is parsed by somebody else, and
one request at a time is all that they take.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import h11
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stack.clock import VirtualClock, settle
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.errors import HopError, PoolExhausted
from stack.http.message import Request, Response
from stack.net.h1_client import H1ClientConnection
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.memory import End, Link, Network

LIMITS = PoolLimits(connections=3, idle=2, waiting=8)
TIMES = UpstreamTimeouts(connect=5, send=30, head=60, body=60, idle=30, acquire=5)


class Origin(asyncio.Protocol):
    """One accepted connection. h11 raises, and the test fails, when something is sent that is no request."""

    def __init__(self, seen: dict[int, int]) -> None:
        self._seen = seen
        self._h11 = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None
        """Of which the whole head is here, and no answer was given yet."""
        self.complete = False
        self.end: End

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.end = transport

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        return False

    def _read(self) -> None:
        while True:
            event = self._h11.next_event()
            if event is h11.PAUSED:
                assert not self._h11.trailing_data[0], "a second request before the first is answered"
                return
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Request):
                assert self.request is None
                self.request, self.complete = event, False
                number = int(event.target.rpartition(b"/")[2])
                self._seen[number] = self._seen.get(number, 0) + 1
            elif isinstance(event, h11.EndOfMessage):
                self.complete = True

    def answer(self, *, chunked: bool, close: bool, size: int, interim: bool) -> None:
        request, self.request = self.request, None
        assert request is not None
        fields = [("x-request", request.target.decode())]
        if not chunked:
            fields.append(("content-length", str(size)))
        if close or not self.complete:
            fields.append(("connection", "close"))
        out: list[Any] = [h11.InformationalResponse(status_code=103, headers=[("link", "</a>")])] if interim else []
        out += [h11.Response(status_code=200, headers=fields), h11.Data(data=bytes(size)), h11.EndOfMessage()]
        self.end.write(b"".join(self._h11.send(event) or b"" for event in out))
        if self._h11.our_state is h11.MUST_CLOSE or self._h11.our_state is h11.CLOSED or not self.complete:
            self.end.close()
        else:
            self._h11.start_next_cycle()
            self._read()


class Ask:
    def __init__(self, number: int, method: bytes, task: asyncio.Task[None] | None = None) -> None:
        self.number, self.method, self.task = number, method, task
        self.response: Response | None = None
        self.cancelled = False


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.seen: dict[int, int] = {}
        self.net = Network(self.loop, lambda: Origin(self.seen))
        self.net.instant = False
        self.held: set[str] = set()
        """What comes only by a rule of its own: connections, bytes."""
        self.clock = VirtualClock()
        self.tasks = Tasks()
        self.pool = Pool(
            Upstream("origin", "127.0.0.1", 80, protocol="h1"),
            limits=LIMITS, timeouts=TIMES, clock=self.clock, tasks=self.tasks,
        )  # fmt: skip
        self.asks: list[Ask] = []
        self.failures: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.failures.append(str(context)))
        self.rushing = False

    def settle(self) -> None:
        self.loop.run_until_complete(settle(12))

    # What requests do.

    async def _ask(self, ask: Ask, content: str, leaves: bool) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 1000

        body: Any = {"none": b"", "whole": b"hello", "stream": pieces()}[content]
        request = Request(ask.method, b"/%d" % ask.number, [(b"a", b"b")], authority=b"a.test", body=body)
        response = await self.pool.send(request, Exchange("t", self.clock.now))
        ask.response = response
        assert response.get(b"x-request") == request.target, "the answer of another request"
        if not isinstance(response.body, bytes):
            if not leaves:
                async for _ in response.body:
                    pass
            await response.body.aclose()  # type: ignore[union-attr]

    @rule(
        kinds=st.lists(
            st.tuples(st.sampled_from([b"GET", b"POST"]), st.sampled_from(["none", "whole", "stream"]), st.booleans()),
            min_size=1,
            max_size=5,
        )
    )
    def send(self, kinds: list[tuple[bytes, str, bool]]) -> None:
        for method, content, leaves in kinds:
            ask = Ask(len(self.asks), method)
            self.asks.append(ask)
            ask.task = self.loop.create_task(self._ask(ask, "none" if method == b"GET" else content, leaves))

    @rule(held=st.sampled_from(["", "", "", "connections", "bytes"]))
    def hold(self, held: str) -> None:
        self.held = {held}

    @precondition(lambda self: any(not ask.task.done() for ask in self.asks))
    @rule(data=st.data(), at_once=st.booleans())
    def cancel(self, data: st.DataObject, at_once: bool) -> None:
        ask = data.draw(st.sampled_from([ask for ask in self.asks if not ask.task.done()]))  # type: ignore[union-attr]
        ask.cancelled = True
        assert ask.task is not None
        ask.task.cancel()
        self.rushing = at_once

    # What the network and the origin do.

    @precondition(lambda self: self.net.arriving)
    @rule(error=st.sampled_from([None, None, None, ConnectionRefusedError()]), at_once=st.booleans())
    def connect(self, error: OSError | None, at_once: bool) -> None:
        self.net.connect(error)
        self.rushing = at_once

    def origins(self) -> list[Origin]:
        return [origin for link in self.net.alive if isinstance(origin := link.server.protocol, Origin)]

    @precondition(lambda self: any(link.client.out or link.server.out for link in self.net.alive))
    @rule(data=st.data(), count=st.sampled_from([1, 30, 10**6]), at_once=st.booleans())
    def deliver(self, data: st.DataObject, count: int, at_once: bool) -> None:
        ends = [end for link in self.net.alive for end in (link.client, link.server) if end.out]
        end = data.draw(st.sampled_from(ends))
        end.link.move(end, count)
        self.rushing = at_once

    def deliver_all(self) -> None:
        self.settle()
        moved = True
        while moved:
            moved = False
            for link in self.net.alive:
                moved |= link.move(link.client, 10**6)
                moved |= link.move(link.server, 10**6)
            self.settle()

    def flow(self) -> None:
        """All that is not held."""
        self.settle()
        if "connections" not in self.held:
            while self.net.arriving:
                self.net.connect()
                self.settle()
        if "bytes" not in self.held:
            self.deliver_all()

    def _answer(self, data: st.DataObject, origin: Origin) -> None:
        origin.answer(
            chunked=data.draw(st.booleans()),
            close=data.draw(st.sampled_from([False, False, True])),
            size=data.draw(st.sampled_from([0, 5, 200_000])),
            interim=data.draw(st.sampled_from([False, False, True])),
        )

    @precondition(lambda self: any(origin.request for origin in self.origins()))
    @rule(data=st.data(), at_once=st.booleans())
    def answer(self, data: st.DataObject, at_once: bool) -> None:
        self._answer(data, data.draw(st.sampled_from([origin for origin in self.origins() if origin.request])))
        self.rushing = at_once

    @precondition(lambda self: any(origin.request for origin in self.origins()))
    @rule(data=st.data(), rounds=st.integers(1, 3))
    def answer_all(self, data: st.DataObject, rounds: int) -> None:
        for _ in range(rounds):
            for origin in self.origins():
                if origin.request:
                    self._answer(data, origin)
            self.flow()

    @precondition(lambda self: self.net.alive)
    @rule(data=st.data(), reset=st.booleans(), at_once=st.booleans())
    def die(self, data: st.DataObject, reset: bool, at_once: bool) -> None:
        link: Link = data.draw(st.sampled_from(self.net.alive))
        link.server.abort() if reset else link.server.close()
        self.rushing = at_once

    @rule(seconds=st.sampled_from([0.3, 1.0, 1.0, 4.0, 6.0, 31.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.flow()
        self.loop.run_until_complete(self.clock.advance(seconds))

    # What must hold whenever nothing is about to happen.

    def connections(self) -> list[H1ClientConnection]:
        found = [link.client.protocol for link in self.net.links]
        return [one for one in found if isinstance(one, H1ClientConnection) and not one.closed]

    @invariant()
    def holds(self) -> None:
        if self.rushing:
            self.rushing = False  # the next rule comes in the same turn of the loop
            return
        self.flow()
        assert not self.failures, self.failures
        now = self.pool.statistics()
        assert now.open == len(self.connections()) == len(self.pool._open)
        assert now.connecting == len(self.net.arriving)
        assert now.open + now.connecting <= LIMITS.connections
        assert now.waiting == sum(not turn.done() for turn in self.pool._waiting) <= LIMITS.waiting + LIMITS.connections
        idle = [one for one in self.connections() if one.idle]
        assert now.idle == len(idle) <= LIMITS.idle
        if now.waiting:
            assert not idle, "somebody waits beside a free connection"
            assert now.open + now.connecting == LIMITS.connections, "somebody waits where there is room"
        for ask in self.asks:
            assert self.seen.get(ask.number, 0) <= (2 if ask.method == b"GET" else 1), f"{ask.method!r} was sent again"
            assert ask.task is not None
            if ask.task.done() and not ask.task.cancelled() and (error := ask.task.exception()) is not None:
                assert isinstance(error, HopError), error

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.settle()
            self.loop.close()

    def finish(self) -> None:
        """From here on every connection is made and every request answered: all must come to an end."""
        self.held, self.rushing = set(), False
        self.settle()
        done = {ask.number for ask in self.asks if ask.task and ask.task.done()}
        for _ in range(100):
            self.flow()
            if all(ask.task is not None and ask.task.done() for ask in self.asks):
                break
            for origin in self.origins():
                if origin.request:
                    origin.answer(chunked=False, close=False, size=3, interim=False)
        for ask in self.asks:
            assert ask.task is not None
            assert ask.task.done(), f"request {ask.number} never ends"
            if ask.number not in done and not ask.task.cancelled() and (error := ask.task.exception()) is not None:
                assert not isinstance(error, PoolExhausted), "a waiter that nobody served"
        self.holds()
        self.loop.run_until_complete(self.pool.close())
        self.deliver_all()
        now = self.pool.statistics()
        assert (now.open, now.idle, now.connecting, now.waiting) == (0, 0, 0, 0)
        assert all(link.client.lost for link in self.net.links), "a socket is left"
        assert len(self.tasks) == 0, "an upload is left"
        with contextlib.suppress(HopError):
            self.loop.run_until_complete(self.clock.advance(100))
        assert not self.failures, self.failures


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
