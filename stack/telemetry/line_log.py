"""Lines on their way to a file or a pipe: collected, written together, never blocking the loop for ever."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
from pathlib import Path
from typing import Final

from stack.clock import Clock, Handle
from stack.errors import ConfigError

log = logging.getLogger("hopstack.access")

INTERVAL: Final = 0.1
"""Seconds that a line waits at most."""
BATCH: Final = 128
"""Lines that are written at once without waiting; about 64 KiB."""
PENDING: Final = 1 << 20
"""Bytes kept for a reader that does not read; what comes on top is dropped and counted."""
PATIENCE: Final = 0.25
"""Seconds that the last lines wait for such a reader at the end."""


class LineLog:
    """`-` is standard output, `off` nothing, anything else a file that is appended to."""

    def __init__(self, target: str, clock: Clock) -> None:
        """ConfigError for a file that cannot be opened."""
        self.enabled = target not in ("off", "")
        self.written = 0
        self.dropped = 0
        self._target = target
        self._clock = clock
        self._lines: list[str] = []
        self._joined = 0
        """Lines that stand there within one text with others, the first not counted."""
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._timer: Handle | None = None
        self._fd = -1
        self._whole = False
        """Whether a write takes all there is: of a regular file, not of a pipe or a terminal."""
        if self.enabled:
            self._open()

    def add(self, line: str) -> None:
        """A line with its newline."""
        lines = self._lines
        lines.append(line)
        if self._timer is None:
            self._timer = self._clock.call_later(INTERVAL, self._due)
        elif len(lines) >= BATCH and not self._pending:
            self.flush()

    def add_many(self, lines: str, count: int) -> None:
        """As many lines in one text, each with its newline."""
        if self._whole:
            self._joined += count - 1
            self.add(lines)
            if len(self._lines) + self._joined >= BATCH and not self._pending:
                self.flush()
        else:
            for line in lines.split("\n")[:-1]:
                self.add(line + "\n")

    def write(self, lines: list[str]) -> None:
        """Lines that have waited already."""
        self._lines += lines
        self.flush()
        if self._pending and self._timer is None:
            self._timer = self._clock.call_later(INTERVAL, self._due)

    def flush(self, patience: float = 0.0) -> None:
        """Write what there is. A reader that does not read gets the rest later."""
        if self._lines:
            lines, self._lines, self._joined = self._lines, [], 0
            self._queue(lines)
        while self._pending:
            data = self._pending[0]
            if not self._whole and not _writable(self._fd, patience):
                return
            try:
                size = os.write(self._fd, data)
            except BlockingIOError:
                return
            except OSError as error:  # a full disk, a reader that is gone: the hop serves on
                self._lost(error)
                return
            self._pending_size -= size
            self.written += data.count(b"\n", 0, size)
            if size < len(data):
                self._pending[0] = data[size:]
            else:
                del self._pending[0]

    def reopen(self) -> None:
        """After the file was renamed (SIGUSR1): what is collected goes to the old one."""
        if not self.enabled or self._target == "-":
            return
        self.flush()
        old = self._fd
        try:
            self._open()
        except ConfigError as error:
            log.error("%s; writing on to the old file", error)
            return
        os.close(old)

    def close(self) -> None:
        """Write the last lines and let go of the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fd < 0:
            return
        self.flush(PATIENCE)
        if self._target != "-":
            os.close(self._fd)
        self._fd = -1
        self.enabled = False

    def _due(self) -> None:
        self._timer = None
        self.flush()
        if self._pending:
            self._timer = self._clock.call_later(INTERVAL, self._due)

    def _open(self) -> None:
        if self._target == "-":
            self._fd = 1
        else:
            try:
                Path(self._target).parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(
                    self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640
                )
            except OSError as error:
                raise ConfigError(
                    f"--access-log {self._target}: {error.strerror}; give a file that can be written, `-` or `off`"
                ) from None
        with contextlib.suppress(OSError):
            self._whole = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def _queue(self, lines: list[str]) -> None:
        chunks = ["".join(lines)] if self._whole else _packed(lines)
        for chunk in chunks:
            data = chunk.encode("utf-8", "replace")
            if self._pending_size + len(data) > PENDING and self._pending:
                self.dropped += chunk.count("\n")
                continue
            self._pending.append(data)
            self._pending_size += len(data)

    def _lost(self, error: OSError) -> None:
        lost = sum(data.count(b"\n") for data in self._pending)
        if not self.dropped:
            log.error("the access log %s cannot be written: %s; its lines are dropped", self._target, error.strerror)
        self.dropped += lost
        self._pending.clear()
        self._pending_size = 0


def _packed(lines: list[str]) -> list[str]:
    """Whole lines in portions that a pipe takes in one piece: workers may share it (PIPE_BUF, POSIX write)."""
    portions: list[str] = []
    portion: list[str] = []
    size = 0
    for line in lines:
        if portion and size + len(line) > select.PIPE_BUF:
            portions.append("".join(portion))
            portion, size = [], 0
        portion.append(line)
        size += len(line)
    portions.append("".join(portion))
    return portions


def _writable(fd: int, patience: float) -> bool:
    """Whether a write of PIPE_BUF bytes would not block."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(patience * 1000))
