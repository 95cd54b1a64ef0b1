"""What `hopstack doctor` is made of: findings, the probes that come to them, and how they are run and shown."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import click

from stack.clock import Clock, SystemClock
from stack.errors import ConfigError

PATIENCE: Final = 10.0
"""Seconds for all probes; what takes longer is a finding itself."""
COMMAND: Final = 5.0
"""Seconds for a program that a probe runs."""
WIDTH: Final = 80


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    """Something works less well, or only what needs this does not."""
    MISSING = "missing"
    """`hopstack up` cannot work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` is what is the case, `remedy` what to do about it: lines to read or to paste."""

    name: str
    level: Level
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a probe asks. A test hands in another one."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    directory: Path = field(default_factory=Path.cwd)
    clock: Clock = field(default_factory=SystemClock)
    system: str = field(default_factory=lambda: os.uname().sysname)
    command: Callable[[Sequence[str]], tuple[int, str]] = lambda argv: run(argv)
    """Exit status and output of a program; FileNotFoundError, or TimeoutError after a few seconds."""

    @property
    def home(self) -> Path:
        chosen = self.environ.get("HOPSTACK_HOME")
        return Path(chosen).absolute() if chosen else self.directory / ".hopstack"


Probe = Callable[[Machine], Iterable[Finding]]


def run(argv: Sequence[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{argv[0]} did not answer within {COMMAND:g} s") from None
    return done.returncode, done.stdout.decode("utf-8", "replace")


def examine(probes: Mapping[str, Probe], machine: Machine, *, patience: float = PATIENCE) -> list[Finding]:
    """All findings, in the order of the probes, which are at work at the same time. No probe can end or hold it."""
    found: dict[str, list[Finding]] = {}

    def work(name: str, probe: Probe) -> None:
        try:
            found[name] = list(probe(machine))
        except TimeoutError as error:
            found[name] = [Finding(name, Level.WARN, str(error) or "no answer in time")]
        except Exception as error:
            reason = str(error) if isinstance(error, ConfigError | OSError) else f"{type(error).__name__}: {error}"
            found[name] = [Finding(name, Level.WARN, f"could not be looked at: {' '.join(reason.split())}")]

    threads = [
        threading.Thread(target=work, args=item, name=f"doctor {item[0]}", daemon=True) for item in probes.items()
    ]
    for thread in threads:
        thread.start()
    now = machine.clock.now
    deadline = now() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - now()))
    late = Finding("", Level.WARN, f"not known after {patience:g} s")
    return [
        item
        for name in probes
        for item in found.get(name) or ([] if name in found else [Finding(name, late.level, late.text)])
    ]


def status(findings: Iterable[Finding]) -> int:
    """0 when nothing that is needed is missing, else 1."""
    return int(any(item.level is Level.MISSING for item in findings))


def report(findings: Sequence[Finding], *, colour: bool) -> str:
    lines: list[str] = []
    indent = " " * 9
    for item in findings:
        level = item.level.value.ljust(9)
        shown = click.style(level, fg=_COLOURS[item.level]) if colour else level
        first, *rest = wrap(f"{item.name}: {item.text}", WIDTH - len(indent)) or [item.name]
        lines += [shown + first, *(indent + line for line in rest)]
        for line in item.remedy.splitlines():
            # a line to paste stays whole
            lines += [indent + part for part in ([line] if line.startswith("  ") else wrap(line, WIDTH - len(indent)))]
    counts = {level: sum(item.level is level for item in findings) for level in Level}
    missing, warnings = counts[Level.MISSING], counts[Level.WARN]
    words = [f"{missing} missing"] if missing else []
    words += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
    lines += ["", (", ".join(words) if words else "All is well") + "."]
    return "\n".join(lines)


_COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.MISSING: "red"}


def as_plain(findings: Sequence[Finding]) -> dict[str, Any]:
    return {"ok": status(findings) == 0, "findings": [asdict(item) for item in findings]}
