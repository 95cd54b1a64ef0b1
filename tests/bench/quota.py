"""A share of a core for a process, by a control group: so that two of them and what drives them fit on two cores."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

PERIOD: Final = 10_000
"""Microseconds over which a share is counted out."""
ROOT: Final = Path("/sys/fs/cgroup")


class NoQuota(Exception):
    """This machine, or this user, has none to give."""


def limit(pid: int, percent: int) -> Path:
    """Let the process have that much of one core; gives its group, to be removed when the process has ended."""
    quota = PERIOD * percent // 100
    first = ROOT / "cpu" if (ROOT / "cpu").is_dir() else ROOT
    group = first / f"hopstack-bench-{pid}"
    try:
        group.mkdir(exist_ok=True)
        if first is ROOT:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise NoQuota(f"no share of a core can be given ({error.strerror}): run this bench as root") from None
    return group
