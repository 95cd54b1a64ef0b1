"""Commands and their options. What they do is in the other modules of this package, imported when asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from stack.errors import ConfigError

FAULT = 2
"""Exit status for a fault of the user's: a flag, a port, a privilege, a file."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="hopstack", prog_name="hopstack")
def cli() -> None:
    """The whole web path on this machine: DNS, CDN edge, load balancer, reverse
    proxy, app server and database, as real servers.

    State (certificates, logs, the shop's data) is kept in $HOPSTACK_HOME, else
    in .hopstack in the working directory.
    """


@cli.command()
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


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> int:
    """Show the hops of the running stack.

    Exit status: 0 every hop is ready, 1 not every hop is, 3 nothing runs here.
    """
    from stack.cli.control import show_status

    return show_status(as_json=as_json)


@cli.command()
def down() -> int:
    """Stop the running stack, and wait until it has stopped.

    Exit status: 0 it is down (also when nothing ran), 1 it had to be killed.
    """
    from stack.cli.control import stop

    return stop()


@cli.command()
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


@cli.group(invoke_without_command=True)
@click.pass_context
def ca(context: click.Context) -> None:
    """Say how to trust the certificate authority of this stack."""
    if context.invoked_subcommand is None:
        from stack.cli.authority import explain

        explain()


@ca.command("path")
def ca_path() -> None:
    """Print the path of the CA certificate, and nothing else."""
    from stack.cli.authority import ensure

    click.echo(ensure())


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status. A fault of the user's is one line on standard error and 2."""
    try:
        result = cli.main(argv, prog_name="hopstack", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show(sys.stdout)
        return 0
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx is not None else "hopstack"
        click.echo(f"{context}: {error.format_message()} See `{context} --help`.", err=True)
        return FAULT
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        click.echo(f"hopstack: {error.format_message()}", err=True)
        return FAULT
    except ConfigError as error:
        click.echo(f"hopstack: {error}", err=True)
        return FAULT
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return result if isinstance(result, int) else 0
