"""How long the whole default stack takes from the command to ready, the first time and again."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stack.path import HOPS
from tests.bench.meter import cpu, rss, tree
from tests.support.stack import free_base

LIMIT = 2.5
"""Seconds."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Started:
    seconds: float
    cpu: float
    """Seconds on a CPU that all processes had spent by then."""
    rss: int
    hops: int
    first: bool
    """In an empty state directory: the local CA and the zones are made, too."""


def start(home: Path, *, first: bool) -> Started:
    """Runs `hopstack up` in `home` until it says that it is ready, and stops it. RuntimeError where it does not."""
    environ = {**os.environ, "HOPSTACK_HOME": str(home / "state")}
    environ.pop("DATABASE_URL", None)
    argv = [sys.executable, "-m", "stack", "up", "--json", "--port-base", str(free_base())]
    with (home / "errors").open("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(argv, cwd=home, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            readable, _, _ = select.select([process.stdout], (), (), 60)
            line = process.stdout.readline() if readable else ""
            took = time.monotonic() - began
            if not line:
                errors.seek(0)
                raise RuntimeError(f"hopstack up did not become ready: {errors.read()[-1000:]}")
            found = Started(took, cpu(tree(process.pid)), rss(process.pid), len(json.loads(line)["hops"]), first)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
    return found


def starts(rounds: int) -> list[Started]:
    """One in an empty directory, the others in the one that it left; all with the bytecode that an installation has."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", *HOPS, "stack"], cwd=ROOT, check=False)
    with tempfile.TemporaryDirectory(prefix="hopstack-bench-") as home:
        return [start(Path(home), first=number == 0) for number in range(rounds + 1)]
