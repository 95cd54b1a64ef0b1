"""Name servers as processes: ours, and Knot and NSD from Debian, each in the foreground and in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent.parent
SECRET = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
KEY = f'key "xfr" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'


def free_port() -> int:
    """Free for UDP and TCP on 127.0.0.1."""
    for _ in range(20):
        with (
            socket.create_server(("127.0.0.1", 0)) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            try:
                datagrams.bind(stream.getsockname())
            except OSError:
                continue
            return int(stream.getsockname()[1])
    raise OSError("no port is free for UDP and TCP")


class NameServers:
    """Starts and stops them. `peer` of Knot and NSD is where the other side of the zone shop.test is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = directory / "xfr.key"
        self.key.write_text(KEY)
        self.key.chmod(0o600)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.admin: dict[str, int] = {}

    def _run(self, name: str, command: Sequence[str]) -> None:
        with (self.directory / f"{name}.err").open("ab") as errors:
            self.running[name] = subprocess.Popen(
                command, stdout=errors, stderr=errors, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
            )

    def ours(self, name: str, port: int, *arguments: str) -> None:
        self.admin[name] = free_port()
        self._run(
            name,
            [
                sys.executable, "-m", "dns_server", "--name", name, "--listen", f"dns://127.0.0.1:{port}",
                "--state-dir", str(self.directory), "--admin", f"127.0.0.1:{self.admin[name]}",
                "--access-log", str(self.directory / f"{name}.log"), "--tsig-key", str(self.key), *arguments,
            ],
        )  # fmt: skip

    def knot(self, port: int, peer: int, *, secondary: bool, file: str = "shop.zone") -> None:
        home = self.directory / "knot"
        home.mkdir(exist_ok=True)
        role = (
            "master: peer\n    zonefile-sync: 0\n    zonefile-load: none"
            if secondary
            else f"file: {file}\n    notify: peer\n    journal-content: changes\n    zonefile-load: difference"
        )
        (home / "knot.conf").write_text(
            f"""
server:
    listen: 127.0.0.1@{port}
    rundir: {home}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: {home}
    journal-db-max-size: 20M
key:
  - id: xfr
    algorithm: hmac-sha256
    secret: {SECRET}
remote:
  - id: peer
    address: 127.0.0.1@{peer}
    key: xfr
acl:
  - id: both
    address: 127.0.0.1
    key: xfr
    action: [transfer, notify]
zone:
  - domain: shop.test
    storage: {home if secondary else self.directory}
    {role}
    acl: both
"""
        )
        self._run("knot", ["knotd", "-c", str(home / "knot.conf")])

    def nsd(self, port: int, peer: int, *, secondary: bool, file: str = "shop.zone") -> None:
        home = self.directory / "nsd"
        home.mkdir(exist_ok=True)
        zonefile = home / "copy.zone" if secondary else self.directory / file
        role = (
            f"request-xfr: 127.0.0.1@{peer} xfr\n  allow-notify: 127.0.0.1 xfr"
            if secondary
            else f"notify: 127.0.0.1@{peer} xfr"
        )
        (home / "nsd.conf").write_text(
            f"""
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: {home}
  pidfile: ""
  database: ""
  zonelistfile: {home}/list
  xfrdfile: {home}/xfrd
  xfrdir: {home}
  xfrd-reload-timeout: 0
  verbosity: 2
remote-control:
  control-enable: no
key:
  name: xfr
  algorithm: hmac-sha256
  secret: {SECRET}
zone:
  name: shop.test
  zonefile: {zonefile}
  provide-xfr: 127.0.0.1 xfr
  {role}
"""
        )
        self._run("nsd", ["nsd", "-d", "-c", str(home / "nsd.conf")])

    def hang_up(self, name: str) -> None:
        """To read its files anew."""
        self.running[name].send_signal(signal.SIGHUP)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait(20)

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for name, process in self.running.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
                raise AssertionError(f"{name} did not stop") from None
        self.running.clear()

    def ask_admin(self, name: str, method: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin[name]}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def log(self, name: str) -> list[dict[str, Any]]:
        """The query log of one of ours."""
        return [json.loads(line) for line in (self.directory / f"{name}.log").read_text().splitlines()]

    def said(self, name: str) -> str:
        """All that it wrote: for the message of a failed test."""
        return (self.directory / f"{name}.err").read_text(errors="replace")
