"""One child process of a master: how to start it, what it said, and which state that makes."""

from __future__ import annotations

import enum
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

BACKOFF_FIRST: Final = 0.1
BACKOFF_LAST: Final = 10.0
"""Seconds before a restart: doubling from the first to the last."""
STEADY: Final = 30.0
"""Seconds of running after which earlier exits are forgiven."""
SETTLED: Final = 5.0
"""Seconds of being ready after which an exit is an accident and no part of a crash loop."""
CRASHES: Final = 5
"""Exits of a process that was not settled, within STEADY seconds, that make a crash loop."""
FAULT_OF_CONFIGURATION: Final = 2
"""Exit status of a process that will fail the same way however often it is started."""


class State(enum.Enum):
    """The value is the word in `status`, logs and events."""

    STARTING = "starting"
    READY = "ready"
    NOT_READY = "not-ready"
    RESTARTING = "restarting"
    CRASH_LOOP = "crash-loop"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


FINAL: Final = frozenset({State.CRASH_LOOP, State.STOPPED, State.FAILED})
"""Nothing more happens of itself."""
BROKEN: Final = frozenset({State.CRASH_LOOP, State.FAILED})
"""Given up."""

Argv = Sequence[str] | Callable[[Sequence[int]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Child:
    """What to run. `argv` may be a function of the descriptors that `sockets` are passed as: they keep their numbers.

    `log` is a file that standard output and error are appended to; without one they are the master's.
    `env` is added to the master's environment.
    """

    name: str
    kind: str
    argv: Argv
    env: Mapping[str, str] = field(default_factory=dict)
    sockets: Sequence[socket.socket] = ()
    log: Path | None = None
    cwd: Path | None = None

    def command(self) -> list[str]:
        if callable(self.argv):
            return list(self.argv([passed.fileno() for passed in self.sockets]))
        return list(self.argv)


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a child's state."""

    name: str
    old: State | None
    new: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a child stands, for `status`."""

    name: str
    kind: str
    pid: int | None
    state: State
    reason: str
    ready_ms: int | None
    restarts: int
    listen: tuple[str, ...]
    admin: str


@dataclass(slots=True)
class Crashes:
    """When to start again a process that ended. Times are monotonic seconds."""

    exits: deque[float] = field(default_factory=deque)
    backoff: float = BACKOFF_FIRST

    def ended(self, *, began: float, now: float, ready_at: float | None = None) -> float | None:
        """Seconds until the next start; None in a crash loop."""
        if now - began >= STEADY:
            self.exits.clear()
            self.backoff = BACKOFF_FIRST
        if ready_at is None or now - ready_at < SETTLED:
            self.exits.append(now)
        while self.exits and self.exits[0] < now - STEADY:
            self.exits.popleft()
        if len(self.exits) >= CRASHES:
            return None
        wait, self.backoff = self.backoff, min(self.backoff * 2, BACKOFF_LAST)
        return wait


def ended(status: int) -> str:
    """`exit 1`, `killed by SIGKILL`."""
    if status >= 0:
        return f"exit {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
