"""What a hop adds to the latency of a request at a steady rate, beside what its peer adds."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.benches import app, chain, edge, loadbalancer, proxy
from tests.bench.peers import ORIGIN
from tests.bench.rounds import Target
from tests.bench.servers import Servers


@dataclass
class Timed:
    """One target's latency in microseconds: median and 99th percentile of each round."""

    target: Target
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


MEASURED = {"edge hit": edge, "load balancer": loadbalancer, "reverse proxy": proxy, "three": chain, "ASGI app": app}
ANSWERS_ITSELF = ("edge hit", "ASGI app")
"""Their whole latency is their own; from that of the others the latency of what stands behind them is taken."""


def measure(timed: Timed, *, rate: int, seconds: int) -> None:
    argv = [sys.executable, "-m", "tests.bench.openloop", timed.target.url]
    done = subprocess.run(
        [*argv, "--rate", str(rate), "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode:
        timed.faults.append(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the generator failed")
        return
    said = json.loads(done.stdout)
    if said["faults"]:
        timed.faults.append(f"{said['faults']} of {said['sent']} requests failed")
    if said["p50"] is not None:
        timed.p50.append(said["p50"])
        timed.p99.append(said["p99"])


def compare(timed: Sequence[Timed], *, rate: int, rounds: int, seconds: int) -> None:
    for one in timed:
        measure(Timed(one.target), rate=rate, seconds=1)
    for number in range(rounds):
        for one in timed if number % 2 == 0 else list(reversed(timed)):
            measure(one, rate=rate, seconds=seconds)


def added(values: Sequence[float], base: Sequence[float]) -> float:
    """The median over the rounds of what is on top of `base`; of the values themselves where there is none."""
    if not values:
        return float("nan")
    if not base:
        return statistics.median(values)
    return statistics.median(one - below for one, below in zip(values, base, strict=False))


def targets(name: str, run: Servers) -> tuple[Timed | None, list[Timed]]:
    """What stands behind, asked directly, and who stands before it."""
    found = [Timed(target) for target in MEASURED[name](run)]
    if name in ANSWERS_ITSELF:
        return None, found
    port = run.appserver("base")[1] if name == "three" else run.nginx("base", ORIGIN)[1]
    return Timed(Target("behind it", (), f"http://127.0.0.1:{port}/page")), found
