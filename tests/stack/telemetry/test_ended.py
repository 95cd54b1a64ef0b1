"""Exchanges are told to their readers many at a time, in order, each once, and never later than promised."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stack.clock import VirtualClock
from stack.telemetry.ended import HELD, MOST, Ended
from stack.telemetry.exchange import Exchange


class Reader:
    def __init__(self) -> None:
        self.heard: list[list[Exchange]] = []

    def __call__(self, ended: Sequence[Exchange]) -> None:
        self.heard.append(list(ended))


def exchanges(clock: VirtualClock, count: int) -> list[Exchange]:
    return [Exchange("lb-a", clock.now) for _ in range(count)]


async def test_within_the_time_that_was_promised() -> None:
    clock, first, second = VirtualClock(), Reader(), Reader()
    ended = Ended(clock, [first, second], within=0.1)
    one, two, three = exchanges(clock, 3)
    ended(one)
    await clock.advance(0.09)
    ended(two)
    assert first.heard == []
    await clock.advance(0.01)
    assert first.heard == second.heard == [[one, two]]
    await clock.advance(1)
    ended(three)
    await clock.advance(0.1)
    assert first.heard == [[one, two], [three]]


def test_at_once_when_there_are_many() -> None:
    clock, reader = VirtualClock(), Reader()
    ended = Ended(clock, [reader], within=None)
    all_of_them = exchanges(clock, MOST + 1)
    for exchange in all_of_them:
        ended(exchange)
    assert reader.heard == [all_of_them[:MOST]]
    ended.close()
    assert reader.heard == [all_of_them[:MOST], all_of_them[MOST:]]
    ended.close()
    assert len(reader.heard) == 2


@pytest.mark.parametrize(("size", "told"), [(HELD, False), (HELD + 1, True)])
def test_content_is_not_held_for_others(size: int, told: bool) -> None:
    clock, reader = VirtualClock(), Reader()
    ended = Ended(clock, [reader], within=None)
    [exchange] = exchanges(clock, 1)
    exchange.bytes_in = size
    ended(exchange)
    assert bool(reader.heard) is told


async def test_no_timer_without_a_promise() -> None:
    clock, reader = VirtualClock(), Reader()
    ended = Ended(clock, [reader], within=None)
    ended(exchanges(clock, 1)[0])
    assert clock.due() is None
    ended.tell()
    assert len(reader.heard) == 1


async def test_closing_leaves_no_timer() -> None:
    clock = VirtualClock()
    ended = Ended(clock, [Reader()], within=0.1)
    ended(exchanges(clock, 1)[0])
    ended.close()
    assert clock.due() is None
