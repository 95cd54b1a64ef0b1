"""The profile of a hop measures whole, good answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

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


def test_a_bad_answer_is_no_measurement(tmp_path: Path) -> None:
    async def profiled() -> None:
        async with built("proxy", tmp_path, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") as bench:
            await bench.batch()

    with asyncio.Runner(loop_factory=WiredLoop) as runner, pytest.raises(RuntimeError, match="answered with"):
        runner.run(profiled())
