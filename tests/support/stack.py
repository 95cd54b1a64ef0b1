"""The default stack as real processes, in a directory and on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

SPAN = 250
"""Between two bases: stacks on neighbouring ones use no port together."""
BASES = range(10_000, 32_000, SPAN)
"""Below the ports that a system gives to clients: a stack that grows finds none of its own taken by one."""


def free_base() -> int:
    """A port base whose ports nobody has now."""
    for _ in range(50):
        base = random.choice(BASES)
        wanted = [base + offset for offset in (53, 54, 55, 80, 443, *range(100, 170))]
        with contextlib.ExitStack() as held:
            try:
                for port in wanted:
                    sock = held.enter_context(contextlib.closing(socket.socket()))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("0.0.0.0", port))
            except OSError:
                continue
            return base
    raise RuntimeError("no free range of ports")


class Stack:
    """A stack that was started with `hopstack up --detach`."""

    def __init__(
        self,
        home: Path,
        base: int,
        *,
        cwd: Path | None = None,
        name: str = "shop.test",
        inside: tuple[str, ...] = (),
    ) -> None:
        """`inside`: what stands before every command, to run it in another network."""
        self.inside = inside
        self.home = home
        self.base = base
        self.cwd = cwd
        """Where commands are run: the tests' own directory has no stack.toml."""
        self.name = name
        self.env = {**os.environ, "HOPSTACK_HOME": str(home)}
        self.env.pop("DATABASE_URL", None)

    def hopstack(self, *argv: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.inside, sys.executable, "-m", "stack", *argv],
            env=self.env,
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def up(self, *argv: str) -> None:
        done = self.hopstack("up", "--detach", "--port-base", str(self.base), *argv)
        assert done.returncode == 0, done.stdout + done.stderr

    def down(self) -> None:
        done = self.hopstack("down")
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        done = self.hopstack("status", "--json")
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def hop(self, name: str) -> dict[str, Any]:
        return next(hop for hop in self.status()["hops"] if hop["name"] == name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.hop(name)["pid"], number)

    def log(self, name: str) -> list[dict[str, Any]]:
        """The access log of a hop."""
        return [json.loads(line) for line in self.log_text(name).splitlines() if line.startswith("{")]

    def log_text(self, name: str) -> str:
        """All that a hop wrote; empty for one that has no log."""
        path = self.home / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    @property
    def ca(self) -> Path:
        return self.home / "ca.pem"

    @property
    def https(self) -> int:
        return self.base + 443

    def url(self, path: str) -> str:
        return f"https://{self.name}:{self.https}{path}"

    def session(self, edge: str = "127.0.1.1") -> aiohttp.ClientSession:
        """A client that finds shop.test at one edge and trusts the stack's CA."""
        context = ssl.create_default_context(cafile=str(self.ca))
        connector = aiohttp.TCPConnector(ssl=context, resolver=_Fixed(edge), limit=0)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    def curl(self, path: str, *argv: str, edge: str = "127.0.1.1") -> str:
        resolve = f"{self.name}:{self.https}:{edge}"
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--cacert", str(self.ca), "--resolve", resolve, *argv, self.url(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pids(self) -> list[int]:
        """Every process that belongs to this stack, found by its state directory in /proc."""
        mark = f"HOPSTACK_HOME={self.home}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found


class _Fixed(aiohttp.abc.AbstractResolver):
    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [{"hostname": host, "host": self._address, "port": port, "family": family, "proto": 0, "flags": 0}]  # type: ignore[list-item]

    async def close(self) -> None: ...


@contextlib.contextmanager
def running_stack(home: Path) -> Iterator[Stack]:
    stack = Stack(home, free_base())
    stack.up()
    try:
        yield stack
    finally:
        stack.hopstack("down")
        for pid in stack.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
