"""What a stack leaves in its state directory: the lock that says it runs, its status, its logs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stack.errors import ConfigError
from stack.hop.files import write_whole

if TYPE_CHECKING:
    from stack.plan.model import StackPlan

LOG_LIMIT = 16 << 20
"""Bytes of a log above which a start begins a new one; the old one is kept beside it once."""


GLANCES = 100_000
"""Attempts to lock between the glances of others; each takes microseconds."""


class StateDir:
    """`$HOPSTACK_HOME`, else `.hopstack` in the working directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status_path = path / "status.json"
        self.plan_path = path / "plan.json"
        self.logs = path / "logs"
        self._lock_path = path / "lock"
        self._lock: int | None = None

    @classmethod
    def chosen(cls) -> StateDir:
        return cls(Path(os.environ.get("HOPSTACK_HOME") or ".hopstack").absolute())

    def create(self) -> None:
        """ConfigError where it cannot be, or has a name that no status could tell."""
        shown = os.fsencode(self.path).decode("utf-8", "backslashreplace")
        if shown != str(self.path):
            raise ConfigError(f"{shown}: a name that is not UTF-8; name another state directory in HOPSTACK_HOME")
        try:
            is_new = not self.path.exists()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_new:  # in a project of the user's: keys and logs are no concern of git
                (self.path / ".gitignore").write_text("*\n")
            self.logs.mkdir(exist_ok=True)
            (self.path / "zones").mkdir(exist_ok=True)
        except OSError as error:
            raise self._not_ours(error) from None

    def lock(self) -> None:
        """Held until the process ends, however it ends. ConfigError when another supervisor holds it."""
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._not_ours(error) from None
        if not _taken(lock):
            os.close(lock)
            raise ConfigError(
                f"{self.path}: a stack runs here already (supervisor {self.holder() or 'unknown'}); stop it with "
                "`hopstack down`, or give this one another state directory in HOPSTACK_HOME and another --port-base"
            )
        with contextlib.suppress(OSError):  # a full disk: nobody can ask who holds it, but it is held
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        self._lock = lock

    def unlock(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def removed(self) -> bool:
        """Whether the lock that is held no longer is the one that others look at: the directory was deleted."""
        if self._lock is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._lock), self._lock_path.stat())
        except OSError:
            return True

    def holder(self) -> int | None:
        """The process that holds the lock, in its own words. None until it has written them."""
        try:
            text = self._lock_path.read_text()
        except OSError:
            return None
        return int(text) if self.locked() and text.strip().isdigit() else None

    def running(self) -> dict[str, Any]:
        """The status as the holder of the lock wrote it; empty when none holds it, or it has not written one yet."""
        holder, status = self.holder(), self.status()
        return status if holder is not None and status.get("pid") == holder else {}

    def locked(self) -> bool:
        """Whether a supervisor runs here."""
        try:
            lock = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._not_ours(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    @staticmethod
    def _not_ours(error: OSError) -> ConfigError:
        return ConfigError(f"{error.filename}: {error.strerror}; name another state directory in HOPSTACK_HOME")

    def status(self) -> dict[str, Any]:
        """As last written, by whomever; empty when there is none."""
        try:
            return msgspec.json.decode(self.status_path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return {}

    def write_status(self, status: dict[str, Any]) -> None:
        _write(self.status_path, status)

    def write_plan(self, plan: StackPlan) -> None:
        """The whole configuration of each hop that runs, without secrets."""
        from stack.config import flags

        hops = [
            {"name": hop.name, "kind": hop.kind, "config": flags.effective(hop.config), "files": dict(hop.files)}
            for hop in plan.hops
        ]
        _write(self.plan_path, {"name": plan.name, "pid": os.getpid(), "given": dict(plan.given), "hops": hops})

    def plan(self) -> dict[str, Any]:
        """Of the stack that runs here; empty when none does."""
        try:
            plan = msgspec.json.decode(self.plan_path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return {}
        return plan if plan.get("pid") == self.holder() else {}

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def rotate(self, name: str) -> Path:
        """The log of one hop that is about to start, begun anew when it has grown large."""
        path = self.log(name)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_suffix(".log.1"))
        return path

    def trim(self) -> None:
        """Begin anew logs that have grown large while they are written to.

        Copied and cut: they are the standard output of processes that know no other. Those append, so they go on at
        the new end. A line of the moment in between may be lost.
        """
        for path in self.logs.glob("*.log"):
            with contextlib.suppress(OSError):
                if path.stat().st_size > LOG_LIMIT:
                    shutil.copyfile(path, path.with_suffix(".log.1"))
                    os.truncate(path, 0)

    def last_lines(self, name: str, count: int = 12) -> list[str]:
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                return file.read().decode("utf-8", "replace").splitlines()[-count:]
        except OSError:
            return []


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def _taken(lock: int) -> bool:
    """Whether the lock could be had. Who only looks (`locked`) shares it for a moment: that is no reason to refuse."""
    for _ in range(GLANCES):
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
            except OSError:
                continue
            if kind == fcntl.LOCK_EX:
                return True
            fcntl.flock(lock, fcntl.LOCK_UN)
            break
        else:
            return False  # not even shared: somebody holds it alone
    return False
