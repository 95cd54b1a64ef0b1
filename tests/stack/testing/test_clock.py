"""The stack's clock: order, leaps, what is waited for and what is not."""

from __future__ import annotations

import asyncio

import pytest

from stack.testing.clock import StackClock


async def test_it_begins_at_a_whole_second_and_stands_still() -> None:
    clock = StackClock(time=1_700_000_000.7)
    assert clock.time() == 1_700_000_000
    before = clock.now()
    await asyncio.sleep(0.01)
    assert clock.now() == before
    assert clock.now().machine > before.machine  # type: ignore[attr-defined]


async def test_timers_fire_in_order_each_at_its_own_time() -> None:
    clock, began = StackClock(), StackClock().now()
    fired: list[tuple[str, float]] = []
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("never", 9.0)):
        clock.call_later(seconds, lambda name=name: fired.append((name, clock.now() - began)))  # type: ignore[misc]
    clock.call_later(1.5, lambda: None).cancel()
    await clock.advance(5)
    assert fired == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


async def test_on_a_long_way_a_repeating_timer_fires_less_often_and_still_at_both_ends() -> None:
    clock = StackClock()
    began, fired = clock.now(), list[float]()

    def tick() -> None:
        fired.append(clock.now() - began)
        clock.call_later(1.0, tick)

    clock.call_later(1.0, tick)
    await clock.advance(3600)
    assert fired[:10] == [float(second) for second in range(1, 11)]
    assert len(fired) < 30
    assert fired[-1] >= 3599
    assert fired == sorted(fired)


async def test_what_is_under_way_ends_before_its_time_out_fires() -> None:
    """A check that needs the machine's time: 20 ms of it, and half a second of the stack's before it has failed."""
    clock = StackClock()
    results: list[str] = []

    async def check() -> None:
        try:
            async with clock.timeout(0.5):
                await asyncio.sleep(0.02)
            results.append("passed")
        except TimeoutError:
            results.append("timeout")

    running = asyncio.ensure_future(check())
    await clock.advance(10)
    assert results == ["passed"]
    await running


async def test_what_never_ends_meets_its_time_out_and_holds_up_nothing_for_long() -> None:
    clock = StackClock()

    async def stuck() -> None:
        async with clock.timeout(5):
            await asyncio.Event().wait()

    running = asyncio.ensure_future(stuck())
    await clock.advance(10)
    with pytest.raises(TimeoutError):
        await running


async def test_moves_follow_one_another() -> None:
    clock = StackClock(time=1000)
    clock.advance(1)
    last = clock.advance(2)
    assert not last.done()
    await last
    assert clock.time() == 1003
    clock.advance(4)
    await clock.caught_up()
    assert clock.time() == 1007
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    await clock.close()
