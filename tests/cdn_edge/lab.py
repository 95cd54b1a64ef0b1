"""An edge without sockets: a scripted origin behind it, a virtual clock under it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from cdn_edge.handler import Edge
from cdn_edge.rules.judging import Policy
from cdn_edge.store import Store
from stack.clock import VirtualClock, settle
from stack.errors import ResponseIncomplete
from stack.http.dates import http_date
from stack.http.message import BodyStream, Fields, Peer, Request, Response, combined, get
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics

Script = Callable[[Request], Response | BaseException]


def lines(text: str) -> Fields:
    """`Name: value` lines as fields."""
    found = []
    for line in text.strip().splitlines():
        name, _, value = line.strip().partition(":")
        found.append((name.strip().lower().encode("latin-1"), value.strip().encode("latin-1")))
    return found


@dataclass
class Reply:
    status: int
    fields: Fields
    body: bytes
    exchange: Exchange
    at_once: bool
    """Answered without anything awaited."""

    def get(self, name: str) -> str | None:
        value = combined(self.fields, name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def cache_status(self) -> str:
        return self.get("cache-status") or ""

    @property
    def is_hit(self) -> bool:
        return "; hit" in self.cache_status

    def word(self, step: str) -> str | None:
        return next((word for name, word, _ in reversed(self.exchange.marks) if name == step), None)


class Stream:
    """Content in pieces; ends with `error` if there is one."""

    def __init__(self, *pieces: bytes, error: BaseException | None = None) -> None:
        self.pieces = list(pieces)
        self.error = error
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Lab:
    size: int = 1_000_000
    max_object: int = 100_000
    policy: Policy = field(default_factory=Policy)
    name: str = "edge"
    most_variants: int = 200
    edge_type: type[Edge] = Edge

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.tasks = Tasks()
        self.metrics = Metrics()
        self.store = Store(
            self.size, max_object=self.max_object, select=self.policy.select, most_variants=self.most_variants
        )
        self.seen: list[Request] = []
        self.script: list[Script] = []
        self.delay = 0.0
        self.edge = self.edge_type(
            fetch=self._fetch,
            store=self.store,
            clock=self.clock,
            tasks=self.tasks,
            random=random.Random(7),
            metrics=self.metrics,
            policy=self.policy,
            name=self.name,
        )

    async def _fetch(self, request: Request, exchange: Exchange) -> Response:
        self.seen.append(request)
        if self.delay:
            await self.clock.sleep(self.delay)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        made = step(request)
        if isinstance(made, BaseException):
            raise made
        return made

    def origin(self, *steps: Script | Response | BaseException) -> None:
        """What the origin does, in turn; the last goes on."""
        self.script = [step if callable(step) else (lambda _, step=step: step) for step in steps]

    def response(
        self, text: str = "", status: int = 200, body: bytes | Stream = b"content", *, date: float | None = 0
    ) -> Script:
        """A script's step. `date` is Date relative to now; None sends none. {+N} in the text is a date N s from now."""

        def make(_: Request) -> Response:
            now = self.clock.time()
            fields = self._dated(text)
            if date is not None:
                fields.append((b"date", http_date(now + date)))
            if isinstance(body, bytes) and get(fields, b"content-length") is None and status not in (204, 304):
                fields.append((b"content-length", b"%d" % len(body)))
            return Response(status, fields, body)

        return make

    def _dated(self, text: str) -> Fields:
        found: Fields = []
        for name, value in lines(text):
            if value[:1] == b"{" and value[-1:] == b"}":
                value = http_date(self.clock.time() + int(value[1:-1]))
            found.append((name, value))
        return found

    async def ask(
        self,
        target: str = "/",
        text: str = "",
        *,
        method: str = "GET",
        scheme: str = "https",
        authority: str = "shop.test",
        body: bytes = b"",
        trusted: bool = False,
    ) -> Reply:
        """One request and all of its response."""
        request = Request(
            method.encode(),
            target.encode(),
            self._dated(text),
            authority=authority.encode(),
            scheme=scheme.encode(),
            body=body,
            peer=Peer("192.0.2.1", 1234, trusted=trusted),
        )
        exchange = self._exchange(request)
        answer = self.edge.handle(request, exchange)
        at_once = isinstance(answer, Response)
        response = answer if isinstance(answer, Response) else await answer
        content = b""
        if isinstance(response.body, bytes):
            content = response.body
        else:
            try:
                async for chunk in response.body:
                    content += chunk
            except ResponseIncomplete:
                content += b"<cut>"
            finally:
                await response.body.aclose()
        await settle()
        fields = [*(response.block.fields if response.block is not None else []), *response.fields]
        return Reply(response.status, fields, content, exchange, at_once)

    async def begin(self, target: str, text: str = "") -> BodyStream:
        """The content of one response, which is a stream, for who reads it slowly or not to the end."""
        peer = Peer("192.0.2.1", 1234)
        fields = self._dated(text)
        request = Request(b"GET", target.encode(), fields, authority=b"shop.test", scheme=b"https", peer=peer)
        answer = self.edge.handle(request, self._exchange(request))
        response = answer if isinstance(answer, Response) else await answer
        assert not isinstance(response.body, bytes)
        return response.body

    def _exchange(self, request: Request) -> Exchange:
        exchange = Exchange(self.name, self.clock.now, request)
        exchange.request_id, exchange.trace_id, exchange.span_id = b"own-id", b"1" * 32, b"2" * 16
        exchange.client = "192.0.2.1"
        return exchange

    def pass_time(self, seconds: float) -> None:
        """Without timers: nothing waits."""
        self.clock._now += seconds

    @property
    def asked(self) -> int:
        """Requests that reached the origin."""
        return len(self.seen)
