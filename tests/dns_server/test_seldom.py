"""Log lines that a client can cause."""

from __future__ import annotations

from dns_server.seldom import Seldom
from stack.clock import VirtualClock


async def test_a_flood_is_a_line_every_ten_seconds_with_its_number() -> None:
    clock = VirtualClock()
    seldom = Seldom(clock.now)
    assert [seldom.told() for _ in range(3)] == [1, 0, 0]
    await clock.advance(9.9)
    assert seldom.told() == 0
    await clock.advance(0.2)
    assert [seldom.told(), seldom.told()] == [4, 0]
