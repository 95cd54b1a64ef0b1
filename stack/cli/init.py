"""`hopstack init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--app", metavar="MODULE:ATTR", default="", help="The app, instead of looking for one.")
@click.option("--origin", metavar="URL", multiple=True, help="A server that runs already, instead. Repeats.")
@click.option("--static", metavar="[PREFIX=]DIR", multiple=True, help="A directory of files. Repeats.")
@click.option("--name", metavar="NAME", default="", help="Name of the site. Default: the directory's and .test.")
@click.option("--force", is_flag=True, help="Overwrite the stack.toml that is there.")
def init(directory: Path, app: str, origin: tuple[str, ...], static: tuple[str, ...], name: str, force: bool) -> int:
    """Write a commented stack.toml for DIR. Default: this directory.

    It looks for an ASGI, WSGI or aiohttp app, for the port of a server in
    another language, and for a folder of files. It reads, and imports and runs
    nothing of yours.

    Exit status: 0 written, 2 not: there is one already, or DIR is no directory.
    """
    from stack.cli.starting import write
    from stack.plan.starter import Wishes

    return write(directory, Wishes(app, origin, static, name), force=force)
