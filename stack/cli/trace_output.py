"""What `hopstack trace` prints, and where."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from stack.errors import ConfigError
from stack.http.message import Fields
from stack.http.reason import phrase
from stack.trace.har import shown
from stack.trace.render import clean, render
from stack.trace.run import Outcome

WIDTH = 80


class Printer:
    """Colour, box characters and the terminal's width on a terminal; ASCII and 80 columns elsewhere.

    NO_COLOR (no-color.org) and TERM=dumb are honoured; a terminal that is not UTF-8 gets ASCII.
    """

    def __init__(self, *, to_stderr: bool, verbose: bool, secrets: bool) -> None:
        self._err, self._verbose, self._secrets = to_stderr, verbose, secrets
        stream = sys.stderr if to_stderr else sys.stdout
        terminal = stream.isatty()
        dumb = os.environ.get("TERM") == "dumb"
        self._color = terminal and not dumb and not os.environ.get("NO_COLOR")
        self._unicode = terminal and (stream.encoding or "").lower().replace("-", "") == "utf8"
        self._width = shutil.get_terminal_size((WIDTH, 24)).columns if terminal else WIDTH

    def show(self, outcome: Outcome, number: int, of: int) -> None:
        """One request; with `of` above 1 they are numbered."""
        assert outcome.trace is not None
        parts = []
        if of > 1:
            how = ", same connection" if outcome.reused else ""
            parts.append(f"--- request {number} of {of}{how} ---")
        if self._verbose:
            parts.append("\n".join(self._heads(outcome)))
        parts.append(render(outcome.trace, width=self._width, color=self._color, unicode=self._unicode))
        click.echo(("\n" if number > 1 else "") + "\n\n".join(parts), err=self._err, color=self._color)

    def _heads(self, outcome: Outcome) -> Iterator[str]:
        request, response = outcome.request, outcome.response
        if request is not None:
            yield f"> {clean(_text(request.method))} {clean(_text(request.target))} {outcome.protocol}".rstrip()
            yield from self._lines(">", [(b"host", request.authority), *request.fields])
        if response is not None:
            yield f"< {outcome.protocol} {response.status} {phrase(response.status)}".rstrip()
            yield from self._lines("<", response.fields)
            if response.trailers:
                yield "<"
                yield from self._lines("<", response.trailers)

    def _lines(self, mark: str, fields: Fields) -> Iterator[str]:
        for name, value in fields:
            yield f"{mark} {clean(_text(name))}: {clean(shown(name, value, self._secrets))}"


def _text(value: bytes) -> str:
    return value.decode("latin-1")


@contextmanager
def opened(path: Path, option: str) -> Iterator[BinaryIO]:
    """A file to write. ConfigError, before anything is sent, when it cannot be."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
    try:
        yield file
        file.close()
    except BrokenPipeError:
        raise  # standard output's
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
    finally:
        file.close()
