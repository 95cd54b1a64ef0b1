"""`hopstack up`, in the foreground and detached."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click
import msgspec

from stack.cli.table import invitation, table
from stack.clock import SystemClock
from stack.errors import ConfigError
from stack.hop import registry
from stack.hop.child import Event, State
from stack.plan.default import default_plan
from stack.supervisor.state import StateDir
from stack.supervisor.supervisor import Supervisor, has_many_addresses

PATIENCE: Final = 60.0
"""Seconds that a detached stack has to say whether it is ready."""
SERIOUS: Final = frozenset({State.RESTARTING, State.CRASH_LOOP, State.FAILED})


def run_foreground(*, port_base: int | None, database_url: str, as_json: bool) -> int:
    state = StateDir.chosen()
    state.create()
    state.lock()
    plan = default_plan(
        registry, state.path, port_base=port_base, many_addresses=has_many_addresses(), database_url=database_url
    )
    with own_terminal():
        return asyncio.run(_supervise(Supervisor, plan, state, as_json=as_json))


async def _supervise(make: type[Supervisor], plan: Any, state: StateDir, *, as_json: bool) -> int:
    is_up = False

    def report(event: Event) -> None:
        moved_on = is_up and event.new in (State.READY, State.NOT_READY)
        if not (event.new in SERIOUS or moved_on):
            return
        moment = datetime.now().astimezone().strftime("%H:%M:%S")
        say(f"{moment} {event.name} {event.new.value}{': ' if event.reason else ''}{event.reason}")
        if event.new in (State.CRASH_LOOP, State.FAILED):
            last_words(event.name)

    def last_words(name: str) -> None:
        for line in supervisor.last_words(name):
            say(f"  {line}")

    def ready() -> None:
        nonlocal is_up
        is_up = True
        status = supervisor.status()
        if as_json:
            say(msgspec.json.encode(status).decode(), err=False)
        else:
            say(f"{table(status)}\n\n{invitation(status)}\n\nCtrl-C stops the stack.", err=False)

    supervisor = make(plan, state, SystemClock(), report=report, say=say)
    try:
        await supervisor.run(ready)
    except ConfigError as error:
        for name in supervisor.late:
            say(f"{name} did not become ready; the end of {state.log(name)}:")
            last_words(name)
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


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Be the terminal's foreground job alone: Ctrl-C then asks this process to stop, and kills no `make` around it."""
    try:
        group = os.getpgrp()
        mine = sys.stdin.isatty() and group != os.getpid() and os.tcgetpgrp(sys.stdin.fileno()) == group
    except (OSError, ValueError):
        mine = False
    if not mine:
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(sys.stdin.fileno(), os.getpid())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(sys.stdin.fileno(), group)
        signal.signal(signal.SIGTTOU, before)


def run_detached(*, port_base: int | None, database_url: str, as_json: bool) -> int:
    """Start the supervisor in a session of its own, and wait for what becomes of it."""
    state = StateDir.chosen()
    state.create()
    if state.locked():
        state.lock()  # says who holds it
        state.unlock()  # who held it has just gone
    argv = [sys.executable, "-m", "stack", "up", "--json"]
    if port_base is not None:
        argv += ["--port-base", str(port_base)]
    environ = {**os.environ, "HOPSTACK_HOME": str(state.path)}
    if database_url:
        environ["DATABASE_URL"] = database_url
    log = state.log("supervisor")
    with log.open("wb"):
        pass  # begun anew
    with log.open("ab") as output:  # appended to: it may be cut short when it has grown large
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ, start_new_session=True
        )
    return asyncio.run(_await_ready(process, state, as_json=as_json))


async def _await_ready(process: subprocess.Popen[bytes], state: StateDir, *, as_json: bool) -> int:
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
            return 0
        await clock.sleep(0.02)
    process.terminate()
    click.echo(f"hopstack: the stack was not ready within {PATIENCE:g} s; see {state.log('supervisor')}", err=True)
    return 1
