"""`python -m stack.cli.pages [--check]`: docs/reference and the words of docs/why-not-cached.md, anew or compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from stack.cli.main import cli
from stack.hop import registry
from stack.plan.reference import pages
from stack.plan.why_page import with_words

PLACE: Final = Path(__file__).parents[2] / "docs" / "reference"
WHY: Final = PLACE.parent / "why-not-cached.md"
MEND: Final = "make docs"
WIDTH: Final = 78
"""Columns of help on a terminal of 80, where click leaves two."""


def helps() -> dict[str, str]:
    """The help of every command by its words, in the order of the table."""
    root = click.Context(cli, info_name="hopstack", terminal_width=WIDTH, **cli.context_settings)
    return {context.command_path: context.command.get_help(context) for context in _contexts(root)}


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (inner := command.get_command(context, name)) is not None:
                settings = inner.context_settings
                yield from _contexts(click.Context(inner, context, name, terminal_width=WIDTH, **settings))


def differences(place: Path = PLACE) -> list[str]:
    """Names of pages that are not as they would be made now: changed, missing, or of nothing any more."""
    wanted = pages(registry, helps())
    there = {path.name: path.read_text("utf-8") for path in place.glob("*")} if place.is_dir() else {}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(place: Path = PLACE) -> None:
    wanted = pages(registry, helps())
    place.mkdir(parents=True, exist_ok=True)
    for path in place.glob("*"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (place / name).write_text(text, "utf-8")


def main(argv: list[str]) -> int:
    if not PLACE.parent.is_dir():
        click.echo(f"{PLACE.parent}: there is no such directory; the pages are made in a checkout", err=True)
        return 2
    if argv == ["--check"]:
        stale = differences()
        if WHY.read_text("utf-8") != with_words(WHY.read_text("utf-8")):
            stale.append(f"../{WHY.name}")
        if stale:
            click.echo(f"docs/reference is not up to date ({', '.join(stale)}): {MEND}", err=True)
            return 1
        return 0
    write()
    WHY.write_text(with_words(WHY.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
