"""`hopstack exec`: a command beside a stack, its own or the one that runs here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from stack.cli.environment import environment
from stack.cli.options import argv as flags
from stack.cli.report import Reporter, log_in_lines
from stack.cli.up import in_foreground, say, source_of
from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.net.tasks import Tasks
from stack.plan.model import StackPlan
from stack.supervisor.sockets import Sockets
from stack.supervisor.source import Source
from stack.supervisor.state import StateDir
from stack.supervisor.supervisor import Supervisor

BASES: Final = range(10_000, 32_000, 250)
"""Port bases to choose from: below what systems give to clients (RFC 6056 §3.2; Linux begins at 32768)."""
TRIES: Final = 20
PATIENCE: Final = 60.0
"""Seconds that a stack which is just starting here has to become ready."""
CANNOT_RUN: Final = 126
NOT_FOUND: Final = 127
FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def run(values: Mapping[str, Any], command: Sequence[str]) -> int:
    """The command's exit status."""
    log_in_lines()
    program = shutil.which(command[0])
    if program is None:
        if os.path.dirname(command[0]) and os.path.lexists(command[0]):
            say(f"hopstack: exec: {command[0]}: cannot be executed; is it a program, and may you (chmod +x)?")
            return CANNOT_RUN
        say(f"hopstack: exec: there is no command {command[0]!r}")
        return NOT_FOUND
    state = StateDir.chosen()
    if state.locked() and not flags(values) and "database_url" not in _explicit(values):
        return asyncio.run(_beside_running(state, command))
    with _own_state() as own:
        return asyncio.run(_beside_own(own, values, command))


def _explicit(values: Mapping[str, Any]) -> set[str]:
    """Options that were given as flags; DATABASE_URL in the environment is none."""
    return {
        name
        for name, value in values.items()
        if value and not (name == "database_url" and "DATABASE_URL" in os.environ)
    }


@contextlib.contextmanager
def _own_state() -> Iterator[StateDir]:
    named = os.environ.get("HOPSTACK_HOME")
    if named and not StateDir.chosen().locked():
        yield StateDir.chosen()
        return
    path = tempfile.mkdtemp(prefix="hopstack-")
    try:
        yield StateDir(Path(path))
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def _beside_running(state: StateDir, command: Sequence[str]) -> int:
    clock = SystemClock()
    until = clock.now() + PATIENCE
    while (status := state.running()).get("phase") != "ready":
        if not state.locked() or clock.now() > until or status.get("phase") in ("stopping", "failed"):
            raise ConfigError(f"the stack in {state.path} is not ready ({status.get('phase', 'starting')})")
        await clock.sleep(0.02)
    return await _Command(command, environment(status, state.path, os.environ)).run()


async def _beside_own(state: StateDir, values: Mapping[str, Any], command: Sequence[str]) -> int:
    state.create()
    state.lock()
    source, plan = placed(state, values)

    reporter = Reporter(say, steps=False)
    supervisor = Supervisor(plan, state, SystemClock(), report=reporter, say=say, source=source)
    reporter.last_words = supervisor.last_words
    beside = _Beside(supervisor, command, state, reporter)
    try:
        return await beside.run()
    finally:
        state.unlock()


def placed(state: StateDir, values: Mapping[str, Any]) -> tuple[Source, StackPlan]:
    """On ports that nobody has now, unless they were named."""
    if values.get("port_base") is not None:
        source = source_of(state, values)
        return source, source.plan()
    for base in random.sample(BASES, TRIES):
        source = source_of(state, {**values, "port_base": base})
        plan = source.plan()
        try:
            tried = Sockets()
            tried.bind(plan.hops)
            tried.keep(())
        except ConfigError as error:
            taken = error
            continue
        return source, plan
    raise taken


class _Beside:
    """A supervisor that runs as long as a command does."""

    def __init__(self, supervisor: Supervisor, command: Sequence[str], state: StateDir, reporter: Reporter) -> None:
        self._supervisor, self._state, self._reporter = supervisor, state, reporter
        self._argv = command
        self._ready = asyncio.Event()
        self._broken_off = 0

    async def run(self) -> int:
        tasks = Tasks()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._break_off, number)
        serving = tasks.spawn(self._serve(), name="stack")
        ready = tasks.spawn(self._ready.wait(), name="ready")
        try:
            await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ready.is_set() or self._broken_off:
                return await serving or 128 + self._broken_off
            self._reporter.is_up = True
            status = environment(self._supervisor.status(), self._state.path, os.environ)
            return await _Command(self._argv, status).run()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._break_off, number)
            self._supervisor.stop(all_at_once=True)  # who asked has gone
            await asyncio.wait({serving})
            await tasks.close()

    async def _serve(self) -> int:
        try:
            await self._supervisor.run(self._ready.set, signals=False)
        except ConfigError as error:
            for name in self._supervisor.late:
                say(f"{name} did not become ready; the end of its log:")
                self._reporter.quote(name)
            say(f"hopstack: {error}")
            return 2
        return 0

    def _break_off(self, number: int) -> None:
        if self._broken_off:
            os._exit(128 + number)  # asked twice: the hops go with their master
        self._broken_off = number
        self._supervisor.stop(all_at_once=True)


class _Command:
    """The command in the foreground: it has the terminal, and it is who is interrupted."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv, self._environ = argv, environ
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self._forward, number)
        # Ctrl-C goes to everybody before the terminal, so the command has it already
        from_terminal = in_foreground()
        loop.add_signal_handler(signal.SIGINT, (lambda _: None) if from_terminal else self._forward, signal.SIGINT)
        try:
            self._process = await asyncio.create_subprocess_exec(*self._argv, env=dict(self._environ))
        except OSError as error:
            say(f"hopstack: exec: {self._argv[0]}: {error.strerror}")
            return CANNOT_RUN
        status = await self._process.wait()
        return status if status >= 0 else 128 - status

    def _forward(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
