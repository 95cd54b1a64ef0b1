"""CPU microseconds per request: the time that a process and its descendants spent, over the answers that wrk counted.

Holds on a shared, noisy machine, where requests per second do not.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

LUA = Path(__file__).with_name("varied.lua")


@dataclass
class Target:
    """A server under measurement."""

    name: str
    pid: int
    url: str
    micros: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    faults: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.micros)


def tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        found.append(pid := todo.pop())
        todo += children.get(pid, [])
    return found


def cpu(pids: list[int]) -> float:
    """Seconds on a CPU, all threads, at the resolution of the scheduler."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(thread.read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def drive(target: Target, *, seconds: int, connections: int, count: bool) -> None:
    pids = tree(target.pid)
    before = cpu(pids)
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(LUA), target.url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    ).stdout
    spent = cpu(pids) - before
    requests = int(re.findall(r"(\d+) requests in", out)[0])
    if "Non-2xx" in out or "Socket errors" in out:
        target.faults += 1
    if count and requests:
        target.micros.append(spent / requests * 1e6)
        target.rates.append(requests / seconds)


def compare(targets: list[Target], *, rounds: int, seconds: int, connections: int) -> None:
    """Alternating rounds; the first only warms up."""
    for number in range(rounds + 1):
        for target in targets:
            drive(target, seconds=seconds if number else 1, connections=connections, count=number > 0)


def rss(pid: int) -> int:
    """Resident bytes of a process and its descendants."""
    total = 0
    for one in tree(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total
