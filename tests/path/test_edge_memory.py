"""What an edge is given for its cache is what its process takes: far beyond the bound, and for a day."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from stack.http.message import Request, Response
from tests.cdn_edge.processes import EdgeProcess, cacheable, edge, origin

MIB: Final = 1024 * 1024
LIMIT: Final = 24 * MIB
CONTENT: Final = os.urandom(MIB)
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def of_all_sizes(request: Request) -> Response:
    number = int(request.target.rpartition(b"/")[2])
    size = min(int(random.Random(number).lognormvariate(9.5, 1.2)), MIB)
    return cacheable(CONTENT[:size], more=[(b"etag", b'"%d"' % number)])


async def test_a_process_filled_far_beyond_its_bound(tmp_path: Path) -> None:
    async with origin(of_all_sizes) as behind, edge(behind.url, "--cache-size", "24M", home=tmp_path) as front:
        await ask(front, range(3))
        empty = resident(front.process.pid)
        most = 0
        for start in range(0, 3_600, 100):
            await asyncio.gather(*(ask(front, range(at, at + 10)) for at in range(start, start + 100, 10)))
            most = max(most, resident(front.process.pid))
        cache = await front.cache()
        assert cache["stored"] > 3_000
        assert cache["evicted"] > 1_500
        assert LIMIT * 0.85 < cache["bytes"] <= LIMIT
        assert most - empty <= LIMIT * 1.25


async def ask(front: EdgeProcess, numbers: range) -> None:
    for number in numbers:
        assert (await front.ask(f"/{number}")).status == 200


def test_a_day_of_traffic_leaves_no_growth() -> None:
    """By Zipf, with variants, 304s, errors, outages, crawlers, purges, changes, ranges and clients that leave."""
    requests = 480_000 if os.environ.get("HOPSTACK_LONG") else 24_000
    argv = [sys.executable, "-m", "tests.support.cache_day", "24", str(requests)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    day: dict[str, Any] = json.loads(done.stdout)
    assert day["seconds"] > 86_000
    assert day["evicted"] > 5_000
    assert day["hits"] > 0.2
    assert day["most"] <= day["limit"] * 1.25
    # what it takes at night is what it took at six in the morning
    assert max(day["hours"][12:]) <= max(day["hours"][:12]) + day["limit"] * 0.05
    assert (day["recordings"], day["pending"]) == (0, 0)
