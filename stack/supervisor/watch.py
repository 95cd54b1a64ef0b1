"""`up --reload`: a changed file of an app's code replaces the app's workers. The one door to watchfiles."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

from watchfiles import Change, DefaultFilter, awatch

from stack.clock import Clock
from stack.hop.child import BROKEN, State
from stack.hop.master import Master
from stack.net.tasks import Tasks
from stack.plan.model import HopPlan, StackPlan

SUFFIXES: Final = frozenset(
    {".py", ".html", ".jinja", ".jinja2", ".j2", ".mako", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".env"}
)
"""What code is made of. Not what apps write: databases, logs, uploads."""
IGNORED: Final = frozenset({".venv", "venv", ".nox", ".ruff_cache", ".hopstack", "build", "dist"})
"""Directories besides those that watchfiles passes over itself: .git, __pycache__, node_modules, .tox, ..."""
DEBOUNCE_MS: Final = 400
"""An editor's save, a formatter and a checkout are one change."""
STEP_MS: Final = 60
PATIENCE: Final = 45.0
"""Seconds that an app hop has for its new workers: more than its own start-timeout."""
LOOK: Final = 0.05
"""Seconds between two questions whether they are there."""


class Code(DefaultFilter):
    """Which changes count."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(ignore_dirs=(*DefaultFilter.ignore_dirs, *IGNORED), ignore_paths=[os.path.realpath(state_dir)])

    def __call__(self, change: Change, path: str) -> bool:
        name = os.path.basename(path)
        return (os.path.splitext(name)[1] in SUFFIXES or name == ".env") and super().__call__(change, path)


class CodeWatch:
    """Watches the directories of a plan's apps until it is told of another plan."""

    def __init__(
        self,
        master: Master,
        clock: Clock,
        tasks: Tasks,
        say: Callable[[str], object],
        state_dir: Path,
        *,
        changing: asyncio.Lock,
        restart: Callable[[Sequence[str]], Awaitable[Sequence[str]]],
    ) -> None:
        """`changing` is held by whatever else changes hops, the start first of all; `restart`, which takes it, starts
        hops that were given up, and says what went wrong."""
        self._master, self._clock, self._tasks, self._say = master, clock, tasks, say
        self._changing, self._restart = changing, restart
        self._filter = Code(state_dir)
        self._task: asyncio.Task[None] | None = None
        self._watched: tuple[HopPlan, ...] = ()

    def start(self, plan: StackPlan) -> None:
        """Instead of what was watched before."""
        apps = plan.of("appserver")
        if [watched(app) for app in apps] != [watched(app) for app in self._watched] or self._task is None:
            self.stop()
            directories = sorted({watched(app) for app in apps})
            self._say(f"Watching {', '.join(map(str, directories))} for changes of the apps' code.")
            self._task = self._tasks.spawn(self._watch(directories), name="watch code")
        self._watched = apps

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self, directories: Collection[Path]) -> None:
        try:
            async for changed in awatch(
                *directories, watch_filter=self._filter, debounce=DEBOUNCE_MS, step=STEP_MS, recursive=True
            ):
                await self._replace(told(sorted({path for _, path in changed})))
        except (OSError, RuntimeError) as error:
            self._say(f"--reload: {', '.join(map(str, directories))} cannot be watched: {error}")

    async def _replace(self, what: str) -> None:
        """One app first: code that does not import is not tried on the others. Those that were given up, last."""
        async with self._changing:
            broken = await self._replace_running(what)
        if broken and (problems := await self._restart(broken)):
            self._say(f"{what} changed, but {', '.join(broken)} still cannot run: {'; '.join(problems)}")

    async def _replace_running(self, what: str) -> list[str]:
        """Those that were given up, when the code is fit to try them with."""
        standings = self._master.statistics()
        states = {app.name: standings[app.name].state for app in self._watched if app.name in standings}
        broken = [name for name, state in states.items() if state in BROKEN]
        # who is just started again has the new code of itself
        leave = {*BROKEN, State.STOPPING, State.RESTARTING}
        names = [name for name, state in states.items() if state not in leave]
        began = self._clock.now()
        for group in (names[:1], names[1:]):
            errors = await asyncio.gather(*(self._reload(name) for name in group))
            for error in errors:
                if error:
                    self._say(f"{what} changed, but the old code serves on: {error}")
                    return []
        took = self._clock.now() - began
        if names:
            self._say(f"{what} changed: {', '.join(names)} replaced in {took:.1f} s")
        return broken

    async def _reload(self, name: str) -> str:
        """What went wrong, or nothing."""
        before = await self._attempts(name)
        if before is None:
            return f"{name} does not run; `hopstack reload` starts it again"
        self._master.signal(name, signal.SIGHUP)
        until = self._clock.now() + PATIENCE
        while self._clock.now() < until:
            await self._clock.sleep(LOOK)
            stats = await self._master.ask(name, "stats")
            if isinstance(stats, dict) and stats.get("reload_attempts", 0) > before:
                return str(stats.get("reload_error", ""))
        return f"{name} did not say within {PATIENCE:g} s what became of it"

    async def _attempts(self, name: str) -> int | None:
        stats: Any = await self._master.ask(name, "stats")
        return int(stats.get("reload_attempts", 0)) if isinstance(stats, dict) else None


def watched(app: HopPlan) -> Path:
    return Path(getattr(app.config, "app_dir", "") or ".").absolute()


def told(paths: list[str]) -> str:
    """`app.py`, or `app.py and 3 more`, as seen from the working directory."""
    first = os.path.relpath(paths[0])
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
