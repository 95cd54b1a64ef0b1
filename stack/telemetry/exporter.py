"""Finished exchanges on their way to a collector: queued within a bound, sent in batches behind the requests' backs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from stack.clock import Clock
from stack.telemetry.access_log import is_routine
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics
from stack.telemetry.otlp import Finished, Spans

log = logging.getLogger("hopstack.otlp")

QUEUE: Final = 2048
"""Exchanges that wait at most; what comes then is dropped, and counted."""
BATCH: Final = 64
"""Exchanges of one message: about two milliseconds to write."""
DELAY: Final = 1.0
"""Seconds that an exchange waits for others at most."""
PAUSE: Final = 1.0
"""Seconds before the one other attempt."""
LAST: Final = 0.8
"""Seconds for what is left when the hop stops."""


class NotTaken(Exception):
    """A collector that could not be reached, or did not take a message. `again`: another attempt may help."""

    def __init__(self, reason: str, *, again: bool, after: float = PAUSE) -> None:
        super().__init__(reason)
        self.again, self.after = again, after


class Send(Protocol):
    """Takes a message to the collector; the number of spans that it refused. Raises NotTaken."""

    def __call__(self, message: bytes) -> Awaitable[int]: ...


class Exporter:
    """Call it with each finished exchange; `run` is its task."""

    def __init__(
        self,
        spans: Spans,
        send: Send,
        *,
        hop: str,
        collector: str,
        clock: Clock,
        metrics: Metrics,
        skip: Iterable[str] = (),
    ) -> None:
        """`skip`: request targets whose success is not exported, as for the access log."""
        self._spans, self._send, self._clock = spans, send, clock
        self._now: Callable[[], float] = clock.now
        self._collector = collector
        self._skip = frozenset(target.encode() for target in skip)
        self._queue: deque[Finished] = deque()
        self._some, self._enough, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._fails = False
        self._ran: asyncio.Future[None] | None = None
        counter = metrics.counter(
            "hopstack_otlp_spans_total",
            "Spans by what became of them: exported, dropped (the queue was full), refused by the collector, "
            "failed (it could not be reached or did not take them).",
            ("hop", "result"),
        )
        self._counts = counter.values
        self._labels = {word: (hop, word) for word in ("exported", "dropped", "refused", "failed")}
        self._counts.update(dict.fromkeys(self._labels.values(), 0.0))

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.sampled:
            return
        request = exchange.request
        if request is not None and is_routine(exchange.status) and request.target in self._skip:
            return
        queue = self._queue
        if len(queue) >= QUEUE:
            self._count("dropped", 1 + len(exchange.marks))
            return
        queue.append(Finished(exchange, self._now(), self._clock.time()))
        if len(queue) == 1:
            self._some.set()
        elif len(queue) == BATCH:
            self._enough.set()

    async def run(self) -> None:
        """Until `close`. Nothing that a collector does ends it."""
        self._ran = asyncio.get_running_loop().create_future()
        try:
            while self._queue or not self._closing.is_set():
                await self._some.wait()
                await self._enough_or(DELAY)
                await self._export()
                if not self._queue:
                    self._some.clear()
        finally:
            self._ran.set_result(None)

    async def close(self) -> None:
        """Send what is left, for `LAST` seconds at most."""
        for event in (self._closing, self._some, self._enough):
            event.set()
        if self._ran is not None:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(LAST):
                    await asyncio.shield(self._ran)
        self._count("dropped", _spans(self._queue))
        self._queue.clear()

    def statistics(self) -> dict[str, Any]:
        counts = {word: int(self._counts[labels]) for word, labels in self._labels.items()}
        return {"collector": self._collector, "waiting": len(self._queue), **counts}

    async def _enough_or(self, seconds: float) -> None:
        """Until there is a whole batch, or the hop stops, or time is up."""
        if self._closing.is_set() or len(self._queue) >= BATCH:
            return
        self._enough.clear()
        await self._wait(self._enough, seconds)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(seconds):
                await event.wait()

    async def _export(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        if not batch:
            return
        spans = _spans(batch)
        try:
            refused = min(await self._sent(self._spans.request(batch)), spans)
        except NotTaken as error:
            self._count("failed", spans)
            if not self._fails:
                log.warning("%s takes no spans: %s; they are dropped until it does", self._collector, error)
            self._fails = True
            return
        except Exception as error:
            # a defect of ours costs these spans, and not those of the rest of the hop's life
            self._count("failed", spans)
            log.error("spans were lost: %r", error, exc_info=error)
            return
        except BaseException:
            self._count("failed", spans)
            raise
        self._count("refused", refused)
        self._count("exported", spans - refused)
        if self._fails:
            log.info("%s takes spans again", self._collector)
        self._fails = False

    async def _sent(self, message: bytes) -> int:
        try:
            return await self._send(message)
        except NotTaken as error:
            if not error.again or self._closing.is_set():
                raise
            await self._wait(self._closing, error.after)
        return await self._send(message)

    def _count(self, word: str, number: int) -> None:
        self._counts[self._labels[word]] += number


def _spans(finished: Iterable[Finished]) -> int:
    return sum(1 + len(one.marks) for one in finished)
