"""Where a request's time goes in a hop: in one process, without sockets, each stage in microseconds.

Usage: python -m tests.bench.profile HOP [--seconds N] [--functions N] (HOP: edge, edge-miss, edge-cold, loadbalancer, proxy, dns)

The least of many batches counts: what else the machine does makes a batch longer, never shorter.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import dns_profile
from tests.bench.inprocess import CONNECTIONS, FLAGS, Bench, WiredLoop, built
from tests.bench.stages import MANY, stages


async def whole(bench: Bench, seconds: float) -> list[float]:
    """Microseconds per request of each batch."""
    for _ in range(30):
        await bench.batch()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        taken.append(await bench.batch() / CONNECTIONS * 1e6)
    return sorted(taken)


def micros(call: Callable[[], Any], seconds: float = 0.25) -> float:
    """The least time of one call, in microseconds."""
    count = 20
    best = float("inf")
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        best = min(best, timeit.timeit(call, number=count, timer=time.thread_time))
    return best / count * 1e6


async def quick(name: str, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="hopstack-profile-") as home:
        async with built(name, Path(home)) as bench:
            gc.collect()
            gc.freeze()
            print(f"{(await whole(bench, seconds))[0]:.2f}")


async def profile(name: str, seconds: float, functions: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hopstack-profile-") as home:
        async with built(name, Path(home)) as bench:
            gc.collect()
            gc.freeze()
            taken = await whole(bench, seconds)
            gc.disable()
            without = await whole(bench, seconds / 3)
            gc.enable()
            print(f"{name}, Python {sys.version.split()[0]}: microseconds per request without socket and kernel")
            print(
                f"  least {taken[0]:.2f}   median {taken[len(taken) // 2]:.2f}   without the collector {without[0]:.2f}"
            )
            print("  stages, the least of many calls:")
            total = 0.0
            for stage, call in stages(bench):
                cost = micros(call) / (MANY if stage.startswith("afterwards") else 1)
                total += cost
                print(f"    {stage:44}{cost:7.2f}")
            print(f"    {'the rest: connections, handler, task, pool':44}{without[0] - total:7.2f}")
            if functions:
                profiler = cProfile.Profile()
                profiler.enable()
                for _ in range(200):
                    await bench.batch()
                profiler.disable()
                pstats.Stats(profiler).sort_stats("tottime").print_stats(functions)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("hops", nargs="+", metavar="HOP", choices=[*FLAGS, "dns"], help=", ".join([*FLAGS, "dns"]))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--functions", type=int, default=0, help="also the N functions that cost most (cProfile)")
    parser.add_argument("--quick", action="store_true", help="the least time of a request and nothing else")
    options = parser.parse_args()
    for name in options.hops:
        if name == "dns":
            with tempfile.TemporaryDirectory(prefix="hopstack-profile-") as home:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(dns_profile.show(Path(home), options.seconds))
            continue
        with asyncio.Runner(loop_factory=WiredLoop) as runner:
            runner.run(
                quick(name, options.seconds) if options.quick else profile(name, options.seconds, options.functions)
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
