"""A closed network of a test's own: loopback with any addresses, every port free, a resolv.conf of its own (Linux)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


class Namespace:
    """Lives until `close`, or until the process that made it ends: what it runs is `command` before its own words."""

    def __init__(self, directory: Path, *, addresses: Sequence[str] = (), nameserver: str = "127.0.0.1") -> None:
        """Skips the test where the kernel gives no namespaces, as in a container without the privilege."""
        resolv = directory / "resolv.conf"
        resolv.write_text(f"nameserver {nameserver}\n")
        steps = ["ip link set lo up", *(f"ip address add {address}/32 dev lo" for address in addresses)]
        script = " && ".join([*steps, f"mount --bind {resolv} /etc/resolv.conf", "echo made", "exec cat"])
        mine = os.geteuid() == 0
        flags = ["--net", "--mount"] if mine else ["--net", "--mount", "--map-root-user"]
        self._anchor = subprocess.Popen(
            ["unshare", *flags, "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._anchor.stdout is not None
        assert self._anchor.stderr is not None
        if self._anchor.stdout.readline() != "made\n":
            said = self._anchor.stderr.read()
            self.close()
            pytest.skip(f"no network of its own: {said.strip()}")
        how = [] if mine else ["--user", "--preserve-credentials"]
        self.command = ("nsenter", f"--target={self._anchor.pid}", "--net", "--mount", *how, f"--wdns={directory}")

    def close(self) -> None:
        self._anchor.communicate()  # its input ends, and so does it

    def run(self, *argv: str, timeout: float = 30) -> str:
        """What a command says, its complaints too; it must be content."""
        done = subprocess.run(
            [*self.command, *argv],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {done.stdout}"
        return done.stdout
