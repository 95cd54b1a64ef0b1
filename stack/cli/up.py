"""`hopstack up`, in the foreground and detached."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
import msgspec

from stack.cli.options import argv as flags
from stack.cli.options import given
from stack.cli.report import Reporter, log_in_lines, moment
from stack.cli.table import invitation, table
from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.net.loopback import has_many_addresses
from stack.plan.model import StackPlan
from stack.supervisor.outside import waiting
from stack.supervisor.source import Source, chosen
from stack.supervisor.state import StateDir
from stack.supervisor.supervisor import Supervisor

PATIENCE: Final = 60.0
"""Seconds that a detached stack has to say whether it is ready."""
STDIN: Final = 0
"""By number: there is no sys.stdin when it was closed."""
Values = Mapping[str, Any]
"""Options of `up`, by the name of their parameter."""


def run_foreground(values: Values, *, watch: bool, as_json: bool) -> int:
    state = StateDir.chosen()
    state.create()
    state.lock()
    source = source_of(state, values)
    plan = source.plan()
    check_watch(plan, watch)
    log_in_lines()
    with own_terminal():
        return asyncio.run(_supervise(plan, state, source, watch=watch, as_json=as_json))


def source_of(state: StateDir, values: Values) -> Source:
    return chosen(
        state.path,
        given(values),
        config=values.get("config") or "",
        no_config=bool(values.get("no_config")),
        many_addresses=has_many_addresses(),
    )


def check_watch(plan: StackPlan, watch: bool) -> None:
    if watch and not plan.of("appserver"):
        raise ConfigError("--reload watches the code of an --app, and this stack runs none; leave it out")


async def _supervise(plan: StackPlan, state: StateDir, source: Source, *, watch: bool, as_json: bool) -> int:
    def ready() -> None:
        reporter.is_up = True
        status = supervisor.status()
        if as_json:
            say(msgspec.json.encode(status).decode(), err=False)
        else:
            say(f"{table(status)}\n\n{invitation(status)}\n\nCtrl-C stops the stack.", err=False)
        for line in waiting(supervisor.plan):
            say(line)

    for warning in plan.warnings:
        say(f"hopstack: warning: {warning}")
    reporter = Reporter(say)
    supervisor = Supervisor(plan, state, SystemClock(), report=reporter, say=say_when, source=source, watch=watch)
    reporter.last_words = supervisor.last_words
    try:
        await supervisor.run(ready)
    except ConfigError as error:
        for name in supervisor.late:
            say(f"{name} did not become ready; the end of {state.log(name)}:")
            reporter.quote(name)
        say(f"hopstack: {error}")
        return 2
    if not as_json:
        say("The stack is down.")
    return 0


def say(text: str, *, err: bool = True) -> None:
    """Print it, or nothing from now on if nobody reads any more (`up | head`): the stack serves on."""
    try:
        click.echo(text, err=err)
    except OSError:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2 if err else 1)  # what is still buffered goes there too, and cannot fail at the end
            os.close(nowhere)


def say_when(text: str) -> None:
    """What happens while the stack runs has a time, as in every log."""
    say(f"{moment()} {text}")


def in_foreground() -> bool:
    """Whether Ctrl-C at the terminal of standard input, if it is one, comes to this process."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return False


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Be the terminal's foreground job alone: Ctrl-C then asks this process to stop, and kills no `make` around it."""
    group = os.getpgrp()
    if group == os.getpid() or not in_foreground():
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(STDIN, os.getpid())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(STDIN, group)
        signal.signal(signal.SIGTTOU, before)


def run_detached(values: Values, *, watch: bool, as_json: bool) -> int:
    """Start the supervisor in a session of its own, and wait for what becomes of it."""
    state = StateDir.chosen()
    state.create()
    if state.locked():
        state.lock()  # says who holds it
        state.unlock()  # who held it has just gone
    plan = source_of(state, values).plan()  # whatever is wrong is told here
    check_watch(plan, watch)
    for warning in plan.warnings:
        say(f"hopstack: warning: {warning}")
    argv = [sys.executable, "-P", "-m", "stack", "up", "--json", *flags(values), *(["--reload"] if watch else [])]
    environ = {**os.environ, "HOPSTACK_HOME": str(state.path)}
    if values.get("database_url"):
        environ["DATABASE_URL"] = values["database_url"]
    log = state.log("supervisor")
    with log.open("wb"):
        pass  # begun anew
    with log.open("ab") as output:  # appended to: it may be cut short when it has grown large
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the status is for a caller, and is in status.json
            stderr=output,
            env=environ,
            start_new_session=True,
        )
    return asyncio.run(_await_ready(process, state, plan, as_json=as_json))


async def _await_ready(process: subprocess.Popen[bytes], state: StateDir, plan: StackPlan, *, as_json: bool) -> int:
    clock = SystemClock()
    deadline = clock.now() + PATIENCE
    while clock.now() < deadline:
        exited = process.poll()
        status = state.status()
        if exited is not None:
            said = state.last_lines("supervisor", 40)
            click.echo("\n".join(said) or f"hopstack: the supervisor ended with status {exited}", err=True)
            return exited if exited > 0 else 1
        if status.get("pid") == process.pid and status.get("phase") == "ready":
            if as_json:
                click.echo(msgspec.json.encode(status))
            else:
                click.echo(f"{table(status)}\n\n{invitation(status)}\n\n`hopstack down` stops the stack.")
            for line in waiting(plan):
                click.echo(line, err=True)
            return 0
        await clock.sleep(0.02)
    process.terminate()
    click.echo(f"hopstack: the stack was not ready within {PATIENCE:g} s; see {state.log('supervisor')}", err=True)
    return 1
