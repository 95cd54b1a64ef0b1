"""What processes cost, read from /proc: seconds on a CPU and resident bytes, of a process with its descendants."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def tree(*roots: int) -> list[int]:
    """Processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: dict[int, None] = {}
    todo = list(roots)
    while todo:
        found[pid := todo.pop()] = None
        todo += children.get(pid, [])
    return list(found)


def cpu(pids: Iterable[int]) -> float:
    """Seconds on a CPU, all threads, in nanoseconds of the scheduler's account."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(thread.read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def spent(root: int) -> float:
    """Seconds on a CPU that a process, its descendants and those that it has waited for took so far."""
    fields = Path(f"/proc/{root}/stat").read_text().rpartition(")")[2].split()
    return cpu(tree(root)) + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def pss(*roots: int) -> int:
    """Resident bytes of processes and their descendants, what they share counted once."""
    total = 0
    for one in tree(*roots):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def rss(*roots: int) -> int:
    """Resident bytes of processes and their descendants."""
    total = 0
    for one in tree(*roots):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total
