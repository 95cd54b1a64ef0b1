"""A PostgreSQL server of a test's own: in a directory of its own, on a Unix socket, as a user that is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Server:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # the server refuses root, and pytest's directories refuse everybody else
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(directory, account.pw_uid, account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(directory / "data"), "-U", "shop", "--auth=trust", "--no-sync", "-E", "UTF8")

    @property
    def url(self) -> str:
        return f"postgresql://shop@/postgres?host={self.directory}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command("postgres", "-D", str(self.directory / "data"), "-k", str(self.directory),
                          "-c", "listen_addresses=", "-c", "fsync=off"),
            user=self._user, group=self._user, extra_groups=[] if self._user else None,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.directory,
        )  # fmt: skip

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": connections are closed
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self, program: str, *arguments: str) -> list[str]:
        found = shutil.which(program, path=os.pathsep.join([*map(str, BINARIES), os.environ["PATH"]]))
        assert found is not None, program
        return [found, *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            self._command(program, *arguments), user=self._user, group=self._user,
            extra_groups=[] if self._user else None, cwd=self.directory, check=True, capture_output=True, timeout=60,
        )  # fmt: skip


@contextmanager
def running() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="shop-postgres-", dir="/tmp") as directory:
        server = Server(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()
