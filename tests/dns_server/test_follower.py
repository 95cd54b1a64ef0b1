"""A worker, without the process that it belongs to."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from random import Random

from dns_server.config import Config
from dns_server.follower import Follower
from stack.clock import VirtualClock
from stack.net import Net
from stack.telemetry.metrics import Metrics

UPDATE = b"\0\1\x28\0\0\1\0\0\0\0\0\0\4shop\4test\0\0\6\0\1"


async def test_what_is_dropped_before_it_begins_is_neither_asked_nor_kept(tmp_path: Path) -> None:
    """As a listener does that has too many datagrams waiting."""
    clock = VirtualClock()
    follower = Follower(
        "dns", Config(workers=0), clock=clock, net=Net(clock, Random(1)), metrics=Metrics(), state_dir=tmp_path
    )
    for _ in range(100):
        found = follower.handler.answer(UPDATE, "127.0.0.1", "udp")
        assert isinstance(found, Coroutine)
        found.close()
    assert follower._asked == {}
