"""Many slow clients of large content: what they read is the store's, and they keep no more alive than they may."""

from __future__ import annotations

import tracemalloc

from cdn_edge.holding import Holding
from cdn_edge.rules.judging import Policy
from tests.cdn_edge.lab import Lab
from tests.cdn_edge.ranged import File, counted

MIB = 1024 * 1024


def test_who_has_not_moved_on_for_longest_loses_its_hold() -> None:
    holding = Holding(10)
    first, second = holding.hold(b"x" * 4), holding.hold(b"y" * 4)
    holding.used(first)
    third = holding.hold(b"z" * 4)
    assert (first.body, second.body, third.body) == (b"xxxx", b"", b"zzzz")
    holding.used(second)
    holding.release(second)
    assert holding.bytes == 8
    holding.release(first)
    holding.release(third)
    assert holding.bytes == 0


def test_one_may_always_be_held() -> None:
    holding = Holding(10)
    small, large = holding.hold(b"x"), holding.hold(b"y" * 11)
    assert (small.body, len(large.body), holding.bytes) == (b"", 11, 11)


async def test_slow_clients_do_not_keep_alive_what_has_left() -> None:
    lab = Lab(size=8 * MIB, max_object=MIB, policy=Policy(max_object=MIB, slice=MIB, slice_from=MIB))
    file = File(lab.clock, counted(8 * MIB), chunk=MIB)
    lab.origin(file)
    await lab.ask("/a", "Range: bytes=0-0")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        streams, got = [], []
        for number in range(7):
            streams.append(await lab.begin("/a", f"Range: bytes={number * MIB}-{(number + 1) * MIB - 1}"))
            got.append(len(await anext(aiter(streams[-1]))))  # type: ignore[arg-type]
        lab.store.invalidate(b"https://shop.test/a")
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 2.5 * MIB, "one slice, and a step of each"
    for number, stream in enumerate(streams):
        at, stop = number * MIB + got[number], (number + 1) * MIB
        async for chunk in stream:
            assert chunk == file.content[at : at + len(chunk)]
            at += len(chunk)
        assert at == stop
    assert len(lab.tasks) == 0
