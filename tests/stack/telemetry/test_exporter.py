"""The exporter under a virtual clock and a scripted collector: batches, bounds, the one other attempt, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from random import Random

import pytest

from stack.clock import VirtualClock, settle
from stack.http.message import Request
from stack.telemetry.exchange import Exchange
from stack.telemetry.exporter import BATCH, DELAY, LAST, PAUSE, QUEUE, Exporter, NotTaken
from stack.telemetry.metrics import Metrics
from stack.telemetry.otlp import Spans


class Lab:
    def __init__(self) -> None:
        self.clock, self.metrics = VirtualClock(), Metrics()
        self.sent: list[bytes] = []
        self.script: list[Exception | int] = []
        self.attempts = 0
        self.stuck: asyncio.Event | None = None
        self.exporter = Exporter(
            Spans("hop", kind="proxy", instance="hop", version="0", random=Random(1)),
            self.send,
            hop="hop",
            collector="http://collector.test",
            clock=self.clock,
            metrics=self.metrics,
            skip=["/health"],
        )

    async def send(self, message: bytes) -> int:
        self.attempts += 1
        if self.stuck is not None:
            await self.stuck.wait()
        answer = self.script.pop(0) if self.script else 0
        if isinstance(answer, Exception):
            raise answer
        self.sent.append(message)
        return answer

    def finish(self, count: int = 1, *, sampled: bool = True, target: bytes = b"/x", status: int = 200) -> None:
        for _ in range(count):
            one = Exchange("hop", self.clock.now, Request(b"GET", target, [], authority=b"a"))
            one.trace_id, one.span_id, one.sampled, one.status = b"a" * 32, b"b" * 16, sampled, status
            self.exporter(one)

    def spans(self, message: bytes) -> int:
        return len(json.loads(message)["resourceSpans"][0]["scopeSpans"][0]["spans"])

    def counts(self) -> dict[str, int]:
        shown = self.exporter.statistics()
        return {name: shown[name] for name in ("exported", "dropped", "refused", "failed") if shown[name]}


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()
    task = asyncio.create_task(lab.exporter.run())
    await settle()
    yield lab
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_what_finished_within_a_second_is_one_message(lab: Lab) -> None:
    lab.finish(3)
    await lab.clock.advance(DELAY - 0.01)
    assert not lab.sent
    await lab.clock.advance(0.02)
    assert [lab.spans(message) for message in lab.sent] == [3]
    lab.finish()
    await lab.clock.advance(DELAY)
    assert [lab.spans(message) for message in lab.sent] == [3, 1]


async def test_a_whole_batch_does_not_wait(lab: Lab) -> None:
    lab.finish(BATCH * 2)
    await settle()
    assert [lab.spans(message) for message in lab.sent] == [BATCH, BATCH]
    assert lab.counts() == {"exported": 2 * BATCH}


async def test_what_is_not_sampled_and_health_checks_are_left_out(lab: Lab) -> None:
    lab.finish(sampled=False)
    lab.finish(target=b"/health")
    await lab.clock.advance(2 * DELAY)
    assert not lab.sent
    lab.finish(target=b"/health", status=503)
    await lab.clock.advance(DELAY)
    assert len(lab.sent) == 1, "a check that failed is worth a look"


async def test_a_slow_collector_costs_spans_not_memory(lab: Lab) -> None:
    lab.stuck = asyncio.Event()
    lab.finish(BATCH)
    await settle()
    lab.finish(QUEUE + 10)
    assert lab.counts() == {"dropped": 10}
    lab.stuck.set()
    lab.stuck = None
    await lab.clock.advance(DELAY)
    assert lab.counts() == {"dropped": 10, "exported": QUEUE + BATCH}


async def test_one_other_attempt(lab: Lab) -> None:
    lab.script = [NotTaken("it answers 503", again=True)]
    lab.finish()
    await lab.clock.advance(DELAY)
    assert (lab.attempts, lab.sent) == (1, [])
    await lab.clock.advance(PAUSE)
    assert lab.attempts == 2
    assert lab.counts() == {"exported": 1}


async def test_not_a_third_one_and_one_line_in_the_log(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.script = [NotTaken("refused", again=True) for _ in range(4)]
    with caplog.at_level(logging.INFO, logger="hopstack.otlp"):
        for _ in range(2):
            lab.finish()
            await lab.clock.advance(DELAY + PAUSE)
        assert (lab.attempts, lab.counts()) == (4, {"failed": 2})
        lab.finish()
        await lab.clock.advance(DELAY)
    assert [record.getMessage() for record in caplog.records] == [
        "http://collector.test takes no spans: refused; they are dropped until it does",
        "http://collector.test takes spans again",
    ]


async def test_no_other_attempt_where_it_cannot_help(lab: Lab) -> None:
    lab.script = [NotTaken("it answers 400", again=False)]
    lab.finish()
    await lab.clock.advance(DELAY + PAUSE)
    assert (lab.attempts, lab.counts()) == (1, {"failed": 1})


async def test_a_partial_success_is_counted(lab: Lab) -> None:
    lab.script = [2]
    lab.finish(3)
    await lab.clock.advance(DELAY)
    assert lab.counts() == {"exported": 1, "refused": 2}
    assert lab.metrics.samples()['hopstack_otlp_spans_total{hop="hop",result="refused"}'] == 2


async def test_what_cannot_be_written_costs_its_message_alone(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.script = [ValueError("a defect")]
    lab.finish()
    await lab.clock.advance(DELAY)
    lab.finish(2)
    await lab.clock.advance(DELAY)
    assert lab.counts() == {"failed": 1, "exported": 2}
    assert "spans were lost: ValueError('a defect')" in caplog.text


async def test_what_waits_is_sent_when_the_hop_stops(lab: Lab) -> None:
    lab.finish(BATCH + 5)
    await lab.exporter.close()
    assert lab.counts() == {"exported": BATCH + 5}


async def test_a_collector_that_is_silent_holds_a_stop_for_less_than_a_second(lab: Lab) -> None:
    lab.stuck = asyncio.Event()
    lab.finish(BATCH + 1)
    closing = asyncio.create_task(lab.exporter.close())
    await lab.clock.advance(LAST + 0.01)
    assert closing.done()
    assert lab.counts() == {"dropped": 1}
    assert LAST < 1


async def test_a_stop_does_not_wait_for_the_other_attempt(lab: Lab) -> None:
    lab.script = [NotTaken("refused", again=True), NotTaken("refused", again=True)]
    lab.finish()
    await lab.clock.advance(DELAY)
    await lab.exporter.close()
    assert (lab.attempts, lab.counts()) == (2, {"failed": 1})


async def test_closed_before_it_ran() -> None:
    lab = Lab()
    lab.finish()
    await lab.exporter.close()
    assert lab.counts() == {"dropped": 1}
