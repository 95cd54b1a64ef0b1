"""The profile of a hop measures whole, good answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import uvloop

from tests.bench import dns_profile
from tests.bench.inprocess import CONNECTIONS, FLAGS, WiredLoop, built
from tests.bench.stages import stages


@pytest.mark.parametrize("name", FLAGS)
def test_every_hop_can_be_profiled(name: str, tmp_path: Path) -> None:
    async def profiled() -> None:
        async with built(name, tmp_path) as bench:
            for _ in range(4):
                assert await bench.batch() > 0
            for stage, call in stages(bench):
                assert stage
                call()
            assert not bench.hop.context.in_flight

    with asyncio.Runner(loop_factory=WiredLoop) as runner:
        runner.run(profiled())
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert sum('"path":"/page' in line for line in lines) >= 4 * CONNECTIONS


def test_the_parts_of_a_dns_query(tmp_path: Path) -> None:
    """Kernel, loop and each way to an answer, for each size of a burst; lines are written where they are said to be."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = dict(runner.run(dns_profile.profile(tmp_path, 0.2)))
    assert len(rows) == 8
    assert all(len(figures) == len(dns_profile.BURSTS) and min(figures) > 0 for figures in rows.values())
    finished, whole = rows["ours: finished before"], rows["ours: the whole way"]
    assert finished[-1] < whole[-1]
    assert not (tmp_path / "log-False" / "query.log").exists()
    words = {(line["type"], line["rcode"]) for line in map(json.loads, (tmp_path / "log-True" / "query.log").open())}
    assert words == {("A", "NOERROR"), ("A", "NXDOMAIN"), ("MX", "NOERROR")}


def test_a_bad_answer_is_no_measurement(tmp_path: Path) -> None:
    async def profiled() -> None:
        async with built("proxy", tmp_path, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") as bench:
            await bench.batch()

    with asyncio.Runner(loop_factory=WiredLoop) as runner, pytest.raises(RuntimeError, match="answered with"):
        runner.run(profiled())
