"""Our client and our server back to back in memory: what arrives is what was sent, however the bytes are split.

Random requests and answers at a time, whole and streamed, cancelled and broken off in the middle, over HTTP/1.1 and
HTTP/2. What one exchange meets concerns no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.clock import VirtualClock, settle
from stack.config.base import Limits, PoolLimits, Timeouts, UpstreamTimeouts
from stack.errors import HopError
from stack.http.message import Fields, Peer, Request, Response, has_no_content
from stack.http.trust import Trust
from stack.net.context import Context
from stack.net.h1_server import H1ServerConnection
from stack.net.h2_server import H2ServerConnection
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.memory import Network

NAMES = st.sampled_from([b"x-a", b"x-b", b"x-c"])
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x80")).map(
    lambda text: text.encode("latin-1")
)
FIELDS = st.lists(
    st.tuples(NAMES, VALUES.filter(lambda value: b"\x85" not in value and b"\xa0" not in value)), max_size=3
)
SIZES = st.one_of(st.integers(0, 50), st.sampled_from([1000, 16384, 16385, 70_000, 200_000]))
PIECES = st.lists(SIZES, max_size=4)


@dataclass(frozen=True)
class Content:
    sizes: list[int]
    form: Literal["whole", "streamed", "measured"]
    """`measured`: streamed, with its length declared."""
    trailers: Fields

    @property
    def bytes(self) -> bytes:
        return b"".join(bytes((index + 65,)) * size for index, size in enumerate(self.sizes))

    def fields(self) -> Fields:
        return [(b"content-length", b"%d" % sum(self.sizes))] if self.form == "measured" else []

    def body(self, *, broken: bool = False) -> Any:
        if self.form == "whole" and not broken:
            return self.bytes
        return self._pieces(broken)

    async def _pieces(self, broken: bool) -> AsyncIterator[bytes]:
        for index, size in enumerate(self.sizes):
            if broken and index == len(self.sizes) // 2:
                break
            await asyncio.sleep(0)
            yield bytes((index + 65,)) * size
        if broken:
            raise HopError("broken off")


CONTENT = st.builds(
    Content,
    sizes=PIECES,
    form=st.sampled_from(["whole", "streamed", "measured"]),
    trailers=st.lists(st.tuples(st.sampled_from([b"x-t", b"x-u"]), st.just(b"1")), max_size=2),
)


@dataclass(frozen=True)
class Plan:
    """One exchange."""

    method: bytes
    fields: Fields
    request: Content
    status: int
    answer_fields: Fields
    response: Content
    reads: Literal["first", "never", "meanwhile"]
    """When the server reads the request's content."""
    interim: bool
    fault: Literal["", "", "", "", "cancelled", "left", "request broken", "response broken", "handler"]
    after: int
    """Turns of the loop before it is cancelled."""


PLANS = st.lists(
    st.builds(
        Plan,
        method=st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"FOO"]),
        fields=FIELDS,
        request=CONTENT,
        status=st.sampled_from([200, 200, 200, 204, 205, 299, 304, 404, 503]),
        answer_fields=FIELDS,
        response=CONTENT,
        reads=st.sampled_from(["first", "first", "never", "meanwhile"]),
        interim=st.booleans(),
        fault=st.sampled_from(["", "", "", "", "cancelled", "left", "request broken", "response broken", "handler"]),
        after=st.integers(0, 40),
    ),
    min_size=1,
    max_size=5,
)


def mine(fields: Fields) -> Fields:
    return [field for field in fields if field[0].startswith(b"x-") and field[0] != b"x-request-id"]


async def read(body: Any) -> bytes:
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


class Pair:
    def __init__(self, protocol: Literal["h1", "h2"], plans: list[Plan], connections: int) -> None:
        self.plans = plans
        self.seen: dict[int, tuple[bytes, Fields, bytes, Fields]] = {}
        self.begun: list[int] = []
        self.clock = VirtualClock()
        self.tasks, self.server_tasks = Tasks(), Tasks()
        self.contexts: list[Context] = []
        self.generation()
        peer = Peer("127.0.0.1", 1)
        loop = asyncio.get_running_loop()
        self.net = Network(
            loop,
            lambda: (
                H1ServerConnection(self.contexts[-1], peer, b"http", None)
                if protocol == "h1"
                else H2ServerConnection(self.contexts[-1], peer, b"http")
            ),
        )
        self.pool = Pool(
            Upstream("server", "127.0.0.1", 80, protocol=protocol),
            limits=PoolLimits(connections=connections, idle=connections, waiting=100),
            timeouts=UpstreamTimeouts(),
            clock=self.clock,
            tasks=self.tasks,
        )
        self.interims: dict[int, list[int]] = {}

    def generation(self) -> None:
        """A server anew; the one before it drains, and new connections come to this one."""
        for context in self.contexts:
            context.draining = True
            for connection in list(context.connections):
                connection.drain()
        self.contexts.append(
            Context(
                self, name="s", clock=self.clock, random=random.Random(1), tasks=self.server_tasks, limits=Limits(),
                timeouts=Timeouts(), trust=Trust(()),
            )
        )  # fmt: skip

    # The server.

    def handle(self, request: Request, exchange: Exchange) -> Any:
        number = int(request.target[1:])
        self.begun.append(number)
        plan = self.plans[number]
        at_once = plan.request.form == plan.response.form == "whole" and plan.fault != "response broken"
        if at_once and isinstance(request.body, bytes):
            if plan.fault == "handler":
                raise HopError("refused", status=500)
            self.seen[number] = (request.method, mine(request.fields), request.body, mine(request.trailers))
            return self._answer(plan, plan.response.body())
        return self._handle(number, plan, request)

    async def _handle(self, number: int, plan: Plan, request: Request) -> Response:
        if plan.interim and request.interim is not None:
            request.interim(103, [(b"link", b"</a>")])
        if plan.fault == "handler":
            raise HopError("refused", status=500)
        if plan.reads == "first":
            await self._read(number, request)
        body = plan.response.body(broken=plan.fault == "response broken")
        if plan.reads == "meanwhile":
            body = self._meanwhile(number, request, body)
        return self._answer(plan, body)

    async def _read(self, number: int, request: Request) -> None:
        content = await read(request.body)
        self.seen[number] = (request.method, mine(request.fields), content, mine(request.trailers))

    async def _meanwhile(self, number: int, request: Request, body: Any) -> AsyncIterator[bytes]:
        if isinstance(body, bytes):
            await self._read(number, request)
            yield body
        else:
            async for piece in body:
                yield piece
            await self._read(number, request)

    def _answer(self, plan: Plan, body: Any) -> Response:
        fields = [*plan.answer_fields, *(plan.response.fields() if plan.status not in (204, 304) else [])]
        return Response(plan.status, fields, body, trailers=list(plan.response.trailers))

    # The client.

    async def ask(self, number: int) -> tuple[int, Fields, bytes, Fields]:
        plan = self.plans[number]
        seen = self.interims.setdefault(number, [])
        request = Request(
            plan.method,
            b"/%d" % number,
            [*plan.fields, *plan.request.fields()],
            authority=b"a.test",
            body=plan.request.body(broken=plan.fault == "request broken"),
            trailers=list(plan.request.trailers) if plan.request.form != "whole" else [],
            interim=lambda status, fields: seen.append(status),
        )
        response = await self.pool.send(request, Exchange("t", self.clock.now))
        if plan.fault == "left" and not isinstance(response.body, bytes):
            await response.body.aclose()
            return response.status, [], b"", []
        try:
            content = await read(response.body)
        finally:
            if not isinstance(response.body, bytes):
                await response.body.aclose()
        return response.status, mine(response.fields), content, mine(response.trailers)

    async def run(self, splits: list[int], gap: int, drains: list[int]) -> list[Any]:
        """Each exchange begins `gap` turns after the one before; all bytes come over in pieces of `splits`."""
        source, sizes = random.Random(len(splits)), [*splits, 50_000]
        asked: list[asyncio.Task[Any]] = []
        cancels: dict[int, list[int]] = {}
        for turn in range(3_000):
            if len(asked) < len(self.plans) and turn >= gap * len(asked):
                number = len(asked)
                asked.append(asyncio.ensure_future(self.ask(number)))
                if self.plans[number].fault == "cancelled":
                    cancels.setdefault(turn + self.plans[number].after, []).append(number)
            if turn in drains:
                self.generation()
            for number in cancels.pop(turn, ()):
                asked[number].cancel()
            for link in self.net.alive:
                link.move(link.client, source.choice(sizes))
                link.move(link.server, source.choice(sizes))
            await asyncio.sleep(0)
            if len(asked) == len(self.plans) and all(task.done() for task in asked):
                break
        else:
            raise AssertionError([task for task in asked if not task.done()])
        return await asyncio.gather(*asked, return_exceptions=True)

    async def flow(self) -> None:
        for _ in range(200):
            for link in self.net.alive:
                link.move(link.client, 10**6)
                link.move(link.server, 10**6)
            await settle(2)

    def check(self, outcomes: list[Any], protocol: str) -> None:
        for number, (plan, outcome) in enumerate(zip(self.plans, outcomes, strict=True)):
            count = self.begun.count(number)
            assert count <= (1 if plan.method in (b"POST", b"FOO") else 2), "sent again"
            if plan.fault in ("", "left"):
                assert not isinstance(outcome, BaseException), (plan, outcome)
                self.check_one(number, plan, outcome, protocol)
            elif plan.fault == "response broken" and not isinstance(outcome, BaseException):
                # a fault that is found before the head is sent is a status; content that is cut never looks whole
                none = has_no_content(plan.method, plan.status) or plan.reads == "meanwhile"
                assert none or outcome[0] == 500 or plan.status == 205, (plan, outcome)

    def check_one(self, number: int, plan: Plan, outcome: Any, protocol: str) -> None:
        status, fields, content, trailers = outcome
        assert status == plan.status
        if plan.fault == "left":
            return
        assert fields == plan.answer_fields
        empty = has_no_content(plan.method, plan.status)
        assert content == (b"" if empty else plan.response.bytes), "content is not what was sent"
        if plan.reads == "first" and number in self.seen:
            method, got, sent, request_trailers = self.seen[number]
            assert (method, got, sent) == (plan.method, plan.fields, plan.request.bytes)
            expected = plan.request.trailers if plan.request.form != "whole" else []
            if protocol == "h1" and plan.request.form == "measured":
                expected = []  # a message with a length has no trailers
            assert request_trailers == expected
        if not empty and plan.response.form == "streamed":
            assert trailers == plan.response.trailers

    async def close(self) -> None:
        await self.flow()
        assert not any(context.in_flight for context in self.contexts), "an exchange was not ended"
        statistics = self.pool.statistics()
        assert statistics.waiting == statistics.connecting == 0
        assert statistics.idle == statistics.open, "a connection is neither idle nor closed"
        await self.pool.close()
        await self.flow()
        for connection in [one for context in self.contexts for one in context.connections]:
            connection.abort()
        await self.flow()
        assert len(self.tasks) == len(self.server_tasks) == 0, "a task is left"
        assert not any(context.connections for context in self.contexts)


async def converse(
    protocol: Literal["h1", "h2"],
    plans: list[Plan],
    splits: list[int],
    gap: int,
    most: int,
    drains: list[int] | None = None,
) -> Pair:
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    pair = Pair(protocol, plans, most)
    try:
        outcomes = await pair.run(splits, gap, drains or [])
        pair.check(outcomes, protocol)
        await pair.close()
        assert not failures, failures
    finally:
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
                with contextlib.suppress(BaseException):
                    await task
    return pair


@pytest.mark.parametrize("protocol", ["h1", "h2"])
@given(
    plans=PLANS,
    splits=st.lists(st.sampled_from([1, 2, 9, 100, 4096, 10**6]), max_size=4),
    gap=st.sampled_from([0, 0, 3, 50]),
    most=st.sampled_from([1, 2, 5]),
    drains=st.lists(st.integers(0, 200), max_size=2),
)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_arrives_is_what_was_sent(
    protocol: Literal["h1", "h2"], plans: list[Plan], splits: list[int], gap: int, most: int, drains: list[int]
) -> None:
    """Also while the server gives way to another one, now and then (`drains`, in turns of the loop)."""
    asyncio.run(converse(protocol, plans, splits, gap, most, drains))


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_connections_are_reused_exactly(protocol: Literal["h1", "h2"]) -> None:
    """One after the other: one connection; five at a time: five of HTTP/1.1 and one of HTTP/2."""
    plain = Plan(
        b"POST", [], Content([5], "streamed", []), 200, [], Content([5], "streamed", []), "first", False, "", 0
    )
    pair = asyncio.run(converse(protocol, [plain] * 6, [7], 100, 5))
    assert (pair.pool.statistics().opened, pair.pool.statistics().reused) == (1, 5)
    pair = asyncio.run(converse(protocol, [plain] * 5, [7], 0, 5))
    assert pair.pool.statistics().opened == (5 if protocol == "h1" else 1)
