"""`hopstack init`: what it writes, and what it says about it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

import click
import msgspec

from stack.config.upstream import parse_upstream
from stack.errors import ConfigError
from stack.hop import registry
from stack.hop.files import write_whole
from stack.plan.detect import look
from stack.plan.document import Document
from stack.plan.make import make_plan
from stack.plan.schema import FILE, schema
from stack.plan.starter import Wishes, starter
from stack.supervisor.state import StateDir

CONFIG: Final = "stack.toml"


def write(directory: Path, wishes: Wishes, *, force: bool) -> int:
    """The exit status. ConfigError, and nothing written, for what cannot be."""
    target = directory / CONFIG
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such directory")
    if target.exists() and not force:
        raise ConfigError(f"{target} is there already: `hopstack config check` checks it, --force writes a new one")
    for url in wishes.origin:
        parse_upstream(url, option="--origin", named=False, example="http://127.0.0.1:3000")
    home = _home(directory)
    found, place = look(directory), os.path.relpath(home / FILE, directory.resolve())
    made = starter(found, wishes, site="shop.test", schema=place)
    site = _checked(made.text, directory, home)
    made = starter(found, wishes, site=site, schema=place)
    try:
        write_whole(target, made.text)
        _schema(home)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    for line in made.report:
        click.echo(line)
    move = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    click.echo(f"Wrote {target}.\n\nNext:\n  {move}hopstack up\n  {move}hopstack config check  (after a change)")
    return 0


def _checked(text: str, directory: Path, home: Path) -> str:
    """The name that the stack will have. ConfigErrors for what --app, --static or --name said wrongly."""
    document = Document.of_text(text, name=CONFIG, directory=directory.resolve())
    return make_plan(document, kinds=registry, state_dir=home, environ={}).name


def _home(directory: Path) -> Path:
    """The state directory that `hopstack up` will take there."""
    chosen = os.environ.get("HOPSTACK_HOME")
    return Path(chosen).absolute() if chosen else directory.resolve() / ".hopstack"


def _schema(home: Path) -> None:
    """For editors, which find it by the first line of the file."""
    StateDir(home).create()
    write_whole(home / FILE, msgspec.json.format(msgspec.json.encode(schema(registry))).decode() + "\n")
