"""What becomes of the hops, in lines for whoever sits before the terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from stack.hop.child import Event, State

SERIOUS: Final = frozenset({State.RESTARTING, State.CRASH_LOOP, State.FAILED})
STEPS: Final = frozenset({State.READY, State.NOT_READY})

STDERR: Final = 2
"""By number: there is no sys.stderr when it was closed."""

LastWords = Callable[[str], list[str]]


def moment() -> str:
    """Now: short for a terminal, else as in every log, so that `hopstack logs` puts the line where it belongs."""
    if os.isatty(STDERR):
        return datetime.now().astimezone().strftime("%H:%M:%S")
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


class Reporter:
    """Hears the supervisor's events. `is_up`: from now on the hops that come and go are told of too."""

    def __init__(self, say: Callable[[str], object], *, steps: bool = True) -> None:
        self._say, self._steps = say, steps
        self._told: set[str] = set()
        self.last_words: LastWords = lambda _: []
        self.is_up = False

    def __call__(self, event: Event) -> None:
        if event.new is State.FAILED and not self.is_up:
            self._before(event)  # that it failed, and why, is what the start ends with
        elif event.new in SERIOUS or (event.new in STEPS and self.is_up and self._steps):
            self._say(f"{moment()} {event.name} {event.new.value}{': ' if event.reason else ''}{event.reason}")
            if event.new in (State.CRASH_LOOP, State.FAILED):
                self.quote(event.name)

    def _before(self, event: Event) -> None:
        """What it said besides, once for all that fail alike."""
        if event.reason not in self._told:
            self._told.add(event.reason)
            words = [line for line in self.last_words(event.name) if event.reason not in line]
            if words:
                self._say(f"{event.name}, before it failed:")
                self._quote(words)

    def quote(self, name: str) -> None:
        self._quote(self.last_words(name))

    def _quote(self, lines: list[str]) -> None:
        for line in lines:
            self._say(f"  {line}")


def log_in_lines() -> None:
    """What the stack's own process logs, for a terminal: no traceback but for whoever asks (HOPSTACK_LOG=debug)."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    logging.getLogger().handlers[:] = [handler]


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        line = f"hopstack: {record.getMessage()}" + (f": {type(error).__name__}: {error}" if error else "")
        line = " ".join(line.split())
        if record.exc_info and "debug" in os.environ.get("HOPSTACK_LOG", ""):
            line += f"\n{self.formatException(record.exc_info)}"
        return line
