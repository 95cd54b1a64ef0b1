"""The `hopstack` command: which subcommands there are, each in a module that is imported when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from stack.errors import ConfigError, ConfigErrors

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FAULT = 2
"""Exit status for a fault of the user's: a flag, a port, a privilege, a file."""
FAILED = 1
"""Exit status for what nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: `module:attribute` of its click command, and its line in `hopstack --help`."""

    target: str
    help: str


COMMANDS: Final[Mapping[str, Mapping[str, Entry]]] = {
    "Run": {
        "up": Entry("stack.cli.running:up", "Start the stack: the demo shop, or your own app."),
        "down": Entry("stack.cli.running:down", "Stop the running stack."),
        "status": Entry("stack.cli.running:status", "Show what runs, where, and how it does."),
        "reload": Entry("stack.cli.reload:reload", "Apply the changed configuration; no request is lost."),
        "restart": Entry("stack.cli.reload:restart", "Replace a hop by a new process of it; no request is lost."),
        "exec": Entry("stack.cli.execute:execute", "Run a command that finds and trusts the stack."),
        "logs": Entry("stack.cli.running:logs", "Print or follow the log of one or all hops."),
    },
    "Look": {
        "trace": Entry("stack.cli.trace:trace", "Send one request and show every hop as a waterfall."),
        "explain": Entry("stack.cli.explain:explain", "Say why a URL is, or is not, answered from the edges' caches."),
        "dig": Entry("stack.cli.dig:dig", "Ask a DNS server, and say what its answer means."),
    },
    "Change": {
        "purge": Entry("stack.cli.purge:purge", "Remove a URL from the edges' caches."),
        "dns": Entry("stack.cli.dns:dns", "Show and change DNS records while they are served."),
        "fault": Entry("stack.cli.fault:fault", "Make a link or a hop slow, lossy or broken."),
    },
    "Set up": {
        "init": Entry("stack.cli.init:init", "Write a commented stack.toml for this directory."),
        "config": Entry("stack.cli.config:config", "Check and show the configuration."),
        "ca": Entry("stack.cli.ca:ca", "Say how to trust the stack's certificates."),
        "doctor": Entry("stack.cli.doctor:doctor", "Say what is missing on this machine, and how to mend it."),
        "completion": Entry("stack.cli.completion:completion", "Print the shell's completion script."),
    },
}


class Lazy(click.Group):
    """A group whose commands are imported one by one: `--help` and `status` need not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for section in COMMANDS.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name].target.partition(":")
                command: click.Command = getattr(importlib.import_module(module), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known = args[0], self.list_commands(ctx)
        if not ctx.resilient_parsing and name not in known and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, known, 1)
            raise click.UsageError(f"No such command {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: no command is imported to complete its name."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=entry.help)
            for section in COMMANDS.values()
            for name, entry in section.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in section.items()], col_max=12)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="hopstack", prog_name="hopstack")
def cli() -> None:
    """The whole web path on this machine: DNS, CDN edge, load balancer, reverse
    proxy, app server and database, as real servers.

    State (certificates, logs, the shop's data) is kept in $HOPSTACK_HOME, else
    in .hopstack in the working directory.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status. A fault of the user's is one line on standard error and 2; whatever else fails is one and 1."""
    try:
        result = cli.main(argv, prog_name="hopstack", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show(sys.stdout)
        return 0
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx is not None else _command(argv)
        said = error.format_message()
        click.echo(f"{context}: {said}{'' if said.endswith(('.', '?')) else '.'} See `{context} --help`.", err=True)
        return FAULT
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        click.echo(f"hopstack: {error.format_message()}", err=True)
        return FAULT
    except ConfigErrors as error:
        click.echo(str(error), err=True)
        return FAULT
    except ConfigError as error:
        click.echo(f"hopstack: {error}", err=True)
        return FAULT
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception as error:
        if isinstance(error, FileNotFoundError) and error.filename is None and _is_nowhere():
            click.echo("hopstack: the working directory was deleted; change to another", err=True)
            return FAULT
        return _failed(error)
    return result if isinstance(result, int) else 0


def _command(argv: Sequence[str] | None) -> str:
    """What was asked for; click does not say it where an option lacks its value."""
    words = sys.argv[1:] if argv is None else argv
    known = {name for section in COMMANDS.values() for name in section}
    return f"hopstack {words[0]}" if words and words[0] in known else "hopstack"


def _is_nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _failed(error: Exception) -> int:
    """Where it failed in the code is for whoever asks: HOPSTACK_LOG=debug."""
    hint = "; HOPSTACK_LOG=debug shows where"
    if "debug" in os.environ.get("HOPSTACK_LOG", ""):
        import traceback

        traceback.print_exception(error)
        hint = ""
    if isinstance(error, OSError) and error.strerror:
        said = ": ".join(map(str, filter(None, (error.filename, error.strerror))))
    else:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
    click.echo(f"hopstack: {' '.join(said.split())}{hint}", err=True)
    return FAILED
