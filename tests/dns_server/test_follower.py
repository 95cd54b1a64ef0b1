"""A worker, without the process that it belongs to."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from random import Random

import pytest

from dns_server.config import Config
from dns_server.follower import Follower
from dns_server.rules.names import from_text
from dns_server.zonefile import load_text
from stack.clock import VirtualClock
from stack.net import Net
from stack.telemetry.metrics import Metrics

UPDATE = b"\0\1\x28\0\0\1\0\0\0\0\0\0\4shop\4test\0\0\6\0\1"


def follower(directory: Path) -> Follower:
    clock = VirtualClock()
    return Follower(
        "dns", Config(workers=0), clock=clock, net=Net(clock, Random(1)), metrics=Metrics(), state_dir=directory
    )


async def test_a_change_that_gives_another_zone_than_the_servers_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = follower(tmp_path)
    origin = from_text("shop.test")
    zone, _ = load_text(origin, "$TTL 60\n@ IN SOA ns h 5 1 1 1 30\n@ IN NS ns\nns IN A 192.0.2.1\n")
    worker._received(["names", 1, origin, origin, list(zone.packed.items())])
    worker._received(["commit", 1, [["zone", origin]], [], False])
    assert worker._book.zones.by_key[origin].serial == 5
    ended: list[bool] = []
    monkeypatch.setattr(worker._feed, "abort", lambda: ended.append(True))
    worker._received(["commit", 2, [["records", origin, 6, [], []]], [], False])
    assert ended == [True]
    assert worker._book.zones.by_key[origin].serial == 5


async def test_what_is_dropped_before_it_begins_is_neither_asked_nor_kept(tmp_path: Path) -> None:
    """As a listener does that has too many datagrams waiting."""
    worker = follower(tmp_path)
    for _ in range(100):
        found = worker.handler.answer(UPDATE, "127.0.0.1", "udp")
        assert isinstance(found, Coroutine)
        found.close()
    assert worker._asked == {}
