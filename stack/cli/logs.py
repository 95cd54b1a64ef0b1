"""`hopstack logs`."""

from __future__ import annotations

import asyncio
import difflib
from pathlib import Path
from typing import Final

import click

from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.supervisor.state import StateDir

EVERY: Final = 0.2
"""Seconds between two looks at what was written."""


def show(hop: str | None, *, follow: bool) -> int:
    state = StateDir.chosen()
    known = {path.stem: path for path in sorted(state.logs.glob("*.log"))}
    if hop is not None and hop not in known:
        near = difflib.get_close_matches(hop, known, 1)
        hint = f"one of {', '.join(known)}" if known else "no stack ran here yet"
        if near:
            hint = f"did you mean {near[0]}?"
        raise ConfigError(f"no log of a hop called {hop!r} in {state.logs}: {hint}")
    chosen = {hop: known[hop]} if hop is not None else known
    files = [_Log(name, path, prefix=hop is None) for name, path in chosen.items()]
    for file in files:
        file.print_new()
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
        for file in files:
            file.print_new()


class _Log:
    """One file, and how far it is printed."""

    def __init__(self, name: str, path: Path, *, prefix: bool) -> None:
        self._path = path
        self._prefix = f"{name:<10} " if prefix else ""
        self._at = 0
        self._rest = b""

    def print_new(self) -> None:
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._at:
                    self._at, self._rest = 0, b""  # begun anew
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            click.echo(self._prefix + line.decode("utf-8", "replace"))
