"""`hopstack status` and `hopstack down`."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

import click
import msgspec

from stack.cli import certificates, zones
from stack.cli.table import table
from stack.supervisor.state import StateDir

if TYPE_CHECKING:
    from stack.clock import Clock

PATIENCE: Final = 60.0
"""Seconds that a stack has to stop before it is killed: more than the supervisor allows its hops together."""
WORD: Final = 2.0
"""Seconds that a supervisor which has just locked the state directory has to say who it is."""
QUIET: Final = 1.0
"""Seconds of waiting after which it is said for what."""
NOTHING_RUNS: Final = 3


def show_status(*, as_json: bool) -> int:
    state = StateDir.chosen()
    status = state.running()
    if not status:
        if state.locked():
            click.echo(f"A stack is about to start in {state.path}.", err=True)
            return NOTHING_RUNS
        if as_json:
            click.echo('{"hops": []}')
        click.echo(f"No stack runs in {state.path}; `hopstack up` starts one.", err=True)
        return NOTHING_RUNS
    certificates.gather(status)
    zones.gather(status)
    if as_json:
        click.echo(msgspec.json.encode(status))
    else:
        click.echo(table(status))
        from stack.clock import SystemClock

        if told := [*zones.lines(status), *certificates.lines(status, SystemClock().time())]:
            click.echo("\n" + "\n".join(told))
        if status.get("reload_error"):
            click.echo(f"\nThe last reload was refused, and all is as before:\n{status['reload_error']}", err=True)
    return 0 if all(hop["state"] == "ready" for hop in status["hops"]) else 1


def stop() -> int:
    state = StateDir.chosen()
    if not state.locked():
        click.echo(f"No stack runs in {state.path}.", err=True)
        return 0
    import asyncio

    from stack.clock import SystemClock

    status = asyncio.run(_stop(state, SystemClock()))
    if not state.locked():
        click.echo("The stack is down." if status == 0 else "The stack did not stop in time, and was killed.")
    return status


async def _stop(state: StateDir, clock: Clock) -> int:
    deadline = clock.now() + WORD
    while (pid := state.holder()) is None:
        if not state.locked():
            return 0
        if clock.now() > deadline:
            click.echo(f"{state.path}: the lock does not say which process runs the stack.", err=True)
            return 1
        await clock.sleep(0.02)
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return 0
        deadline = clock.now() + patience
        quiet = clock.now() + QUIET
        while clock.now() < deadline:
            if not state.locked():
                return 0 if number == signal.SIGTERM else 1
            if clock.now() > quiet:
                quiet = deadline
                click.echo("Stopping; what is in flight, open WebSockets too, has until timeouts.drain.", err=True)
            await clock.sleep(0.02)
    click.echo(f"The supervisor {pid} does not end.", err=True)
    return 1
