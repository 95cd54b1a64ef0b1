"""`hopstack config`: its subcommands and options."""

from __future__ import annotations

from typing import Any

import click

from stack.cli.complete import hops
from stack.cli.options import stack_options


@click.group()
def config() -> None:
    """Check and show the configuration.

    FILE is stack.toml in the working directory if it is not named, or the
    default stack if there is none.
    """


@config.command()
@click.argument("file", required=False)
@click.option("--config", "-c", "also", metavar="FILE", help="The same as FILE.")
def check(file: str | None, also: str | None) -> int:
    """Say everything that is wrong with FILE, a line each.

    A line is FILE:LINE: KEY: what is wrong, and the remedy. Warnings are of
    what works and will surprise.

    Exit status: 0 it is fine (warnings or not), 2 it is not.
    """
    from stack.cli.configuration import check_file

    return check_file(file or also or "")


@config.command(short_help="Print the whole configuration, each value with its source.")
@click.argument("hop", required=False, shell_complete=hops)
@click.option("--all", "-a", "every", is_flag=True, help="Defaults too. With HOP they are always shown.")
@click.option("--json", "as_json", is_flag=True, help="Print every option of every hop, with its source, as JSON.")
@stack_options
def show(hop: str | None, every: bool, as_json: bool, **values: Any) -> int:
    """Print the whole configuration as `up` with the same flags would use it, or
    that of one HOP.

    It is written as a stack.toml, with the source of each value behind it: a
    line of the file, an environment variable, a flag, what it follows from, or
    the default. Secrets are hidden.

    Exit status: 0 printed, 2 the file is not fine or has no such hop.
    """
    from stack.cli.configuration import show_plan

    return show_plan(values, hop=hop or "", every=every, as_json=as_json)


@config.command(short_help="Say what a reload would change in the running stack.")
@click.argument("file", required=False)
@stack_options
def diff(file: str | None, **values: Any) -> int:
    """Say what a reload of FILE would change in the running stack, or what is
    different from the default stack if none runs.

    The flags that the running stack was started with count here too.

    Exit status: 0 nothing, 1 something is different, 2 FILE is not fine.
    """
    from stack.cli.configuration import show_differences

    return show_differences({**values, "config": file or values.get("config")})


@config.command()
def schema() -> None:
    """Print the JSON Schema of stack.toml, for editors.

    Even Better TOML and taplo take it: save it as stack.schema.json and begin
    the file with the line #:schema stack.schema.json

    Exit status: 0 printed.
    """
    from stack.cli.configuration import show_schema

    show_schema()
