"""`hopstack up`, `status`, `down` and `logs`: their options. What they do is imported when asked for."""

from __future__ import annotations

from typing import Any

import click

from stack.cli.complete import hops
from stack.cli.options import stack_options


@click.command()
@stack_options
@click.option("--reload", "-r", "watch", is_flag=True, help="Replace the app's workers when its code changes.")
@click.option("--detach", "-d", is_flag=True, help="Return when every hop is ready; `hopstack down` stops it.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON instead of a table.")
def up(watch: bool, detach: bool, as_json: bool, **values: Any) -> int:
    """Start the stack, in the foreground: with the demo shop, or in front of what
    is yours (--app, --origin, --static, or a stack.toml).

    Ctrl-C stops every hop, outermost first, and lets requests in flight end.

    Exit status: 0 stopped as asked (with --detach: every hop is ready), 1 with
    --detach: not every hop was within a minute, 2 could not start.
    """
    from stack.cli.up import run_detached, run_foreground

    run = run_detached if detach else run_foreground
    return run(values, watch=watch, as_json=as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(as_json: bool) -> int:
    """Show the hops of the running stack.

    Exit status: 0 every hop is ready, 1 not every hop is, 3 nothing runs here.
    """
    from stack.cli.control import show_status

    return show_status(as_json=as_json)


@click.command()
def down() -> int:
    """Stop the running stack, and wait until it has stopped.

    Exit status: 0 it is down (also when nothing ran), 1 it had to be killed.
    """
    from stack.cli.control import stop

    return stop()


@click.command()
@click.argument("hop", required=False, shell_complete=hops)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--lines", "-n", type=click.IntRange(0), metavar="N", help="Only the last N lines. Default: all.")
def logs(hop: str | None, follow: bool, lines: int | None) -> int:
    """Print the log of HOP (such as edge-fra), or of all hops by time.

    Each line is JSON for a request, plain text for anything else.

    Exit status: 0 printed, 2 no such hop, 3 no logs here.
    """
    from stack.cli.logs import show

    return show(hop, follow=follow, last=lines)
