"""`hopstack up`, `status`, `down` and `logs`: their options. What they do is imported when asked for."""

from __future__ import annotations

import click


@click.command()
@click.option("--detach", "-d", is_flag=True, help="Return when every hop is ready; `hopstack down` stops it.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON instead of a table.")
@click.option(
    "--port-base",
    type=click.IntRange(1, 60000),
    metavar="N",
    help="http on N+80, https on N+443, DNS on N+53, DNS over HTTPS on N+54, the rest above N+100. "
    "Default: 8080, 8443, 5053, 8053.",
)
@click.option(
    "--database-url",
    envvar="DATABASE_URL",
    metavar="URL",
    help="Database of the demo shop, as postgresql://user:password@host/name. Default: SQLite in the state directory.",
)
def up(detach: bool, as_json: bool, port_base: int | None, database_url: str | None) -> int:
    """Start the default stack with the demo shop, in the foreground.

    Ctrl-C stops every hop, outermost first, and lets requests in flight end.
    Exit status: 0 stopped as asked, 2 could not start.
    """
    from stack.cli.up import run_detached, run_foreground

    run = run_detached if detach else run_foreground
    return run(port_base=port_base, database_url=database_url or "", as_json=as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
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
@click.argument("hop", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--lines", "-n", type=click.IntRange(0), metavar="N", help="Only the last N lines. Default: all.")
def logs(hop: str | None, follow: bool, lines: int | None) -> int:
    """Print the log of HOP (such as edge-fra), or of all hops by time.

    Each line is JSON for a request, plain text for anything else.
    Exit status: 0 printed, 2 no such hop, 3 no logs here.
    """
    from stack.cli.logs import show

    return show(hop, follow=follow, last=lines)
