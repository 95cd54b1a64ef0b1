"""What a stack leaves in its state directory: the lock that says it runs, its status, its logs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Any

import msgspec

from stack.errors import ConfigError

LOG_LIMIT = 16 << 20
"""Bytes of a log above which a start begins a new one; the old one is kept beside it once."""


class StateDir:
    """`$HOPSTACK_HOME`, else `.hopstack` in the working directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status_path = path / "status.json"
        self.logs = path / "logs"
        self._lock: int | None = None

    @classmethod
    def chosen(cls) -> StateDir:
        return cls(Path(os.environ.get("HOPSTACK_HOME") or ".hopstack").absolute())

    def create(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            (self.path / "zones").mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{error.filename}: {error.strerror}; name another state directory in HOPSTACK_HOME"
            ) from None

    def lock(self) -> None:
        """Held until the process ends, however it ends. ConfigError when another supervisor holds it."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            pid = self.status().get("pid", "unknown")
            raise ConfigError(
                f"{self.path}: a stack runs here already (supervisor {pid}); stop it with `hopstack down`, "
                "or give this one another state directory in HOPSTACK_HOME and another --port-base"
            ) from None
        self._lock = lock

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def locked(self) -> bool:
        """Whether a supervisor runs here."""
        try:
            lock = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    def status(self) -> dict[str, Any]:
        """As last written; empty when there is none."""
        try:
            return msgspec.json.decode(self.status_path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return {}

    def write_status(self, status: dict[str, Any]) -> None:
        temporary = self.status_path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(status)) + b"\n")
        temporary.replace(self.status_path)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def rotate(self, name: str) -> Path:
        """The log of one hop, begun anew when it has grown large."""
        path = self.log(name)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_suffix(".log.1"))
        return path

    def last_lines(self, name: str, count: int = 12) -> list[str]:
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                return file.read().decode("utf-8", "replace").splitlines()[-count:]
        except OSError:
            return []
