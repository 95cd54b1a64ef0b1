"""`hopstack logs`."""

from __future__ import annotations

import asyncio
import difflib
import heapq
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from stack.cli.control import NOTHING_RUNS
from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.supervisor.state import StateDir

EVERY: Final = 0.2
"""Seconds between two looks at what was written."""

_TIME: Final = re.compile(r'(?:\{"time": ?")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})')
"""How a line begins that says when it was written, JSON or text; both in UTC, to the millisecond."""

Line = tuple[str, str]
"""When it was written, and what to print."""


def show(hop: str | None, *, follow: bool, last: int | None = None) -> int:
    state = StateDir.chosen()
    known = {path.stem: path for path in sorted(state.logs.glob("*.log"))}
    if hop is not None and hop not in known:
        near = difflib.get_close_matches(hop, known, 1)
        hint = f"one of {', '.join(known)}" if known else "no stack ran here yet"
        if near:
            hint = f"did you mean {near[0]}?"
        raise ConfigError(f"no log of a hop called {hop!r} in {state.logs}: {hint}")
    if not known:
        click.echo(f"No logs in {state.logs}; `hopstack up` starts a stack.", err=True)
        return NOTHING_RUNS
    chosen = {hop: known[hop]} if hop is not None else known
    files = [_Log(name, path, prefix=hop is None) for name, path in chosen.items()]
    lines = list(_by_time(files, unfinished=not follow))
    for _, line in lines if last is None else lines[len(lines) - min(last, len(lines)) :]:
        click.echo(line)
    if follow:
        try:
            asyncio.run(_follow(files))
        except KeyboardInterrupt:
            return 0
    return 0


async def _follow(files: list[_Log]) -> None:
    clock = SystemClock()
    while True:
        await clock.sleep(EVERY)
        for _, line in _by_time(files):
            click.echo(line)


def _by_time(files: Iterable[_Log], *, unfinished: bool = False) -> Iterator[Line]:
    """What is new in all of them. Lines of one file keep their order, whatever their times say."""
    return heapq.merge(*(file.new(unfinished=unfinished) for file in files), key=lambda line: line[0])


class _Log:
    """One file, and how far it is read."""

    def __init__(self, name: str, path: Path, *, prefix: bool) -> None:
        self._path = path
        self._prefix = f"{name:<10} " if prefix else ""
        self._at = 0
        self._rest = b""
        self._time = ""

    def new(self, *, unfinished: bool = False) -> list[Line]:
        """The lines that came since. A line without a time belongs to the one before."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._at:
                    self._at, self._rest = 0, b""  # begun anew
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if unfinished and self._rest:
            lines.append(self._rest)
        return [self._timed(line.decode("utf-8", "replace")) for line in lines]

    def _timed(self, line: str) -> Line:
        found = _TIME.match(line)
        if found is not None:
            self._time = max(self._time, found[1])
        return self._time, self._prefix + line
