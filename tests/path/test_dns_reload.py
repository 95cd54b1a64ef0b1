"""A DNS server by itself takes up changes of its zone's file, keeps what it has when that is faulty, and starts again from
what it kept compiled."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query

from dns_server.texts import WORTH
from stack.clock import eventually
from tests.support import big_zone

RECORDS = 30_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Server:
    def __init__(self, directory: Path) -> None:
        self.directory, self.port, self.admin = directory, free_port(), free_port()
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "dns_server", "--zone", "Big.test=big.zone", "--listen", f"dns://127.0.0.1:{self.port}",
                "--admin", f"http://127.0.0.1:{self.admin}", "--state-dir", str(directory / "state"), "--access-log", "off",
            ],
            cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def said(self, name: str) -> list[str] | None:
        """The records; None while nobody answers."""
        with contextlib.suppress(OSError, dns.exception.Timeout):
            response = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=self.port, timeout=1)
            return [rdata.to_text() for rrset in response.answer for rdata in rrset]
        return None

    def zones(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/-/zones", timeout=10) as response:
            return dict(json.load(response))


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Server]:
    server = Server(directory)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


async def test_a_changed_file_is_taken_up_and_a_faulty_one_is_not(tmp_path: Path) -> None:
    file = big_zone.write(tmp_path / "big.zone", RECORDS)
    assert file.stat().st_size > WORTH
    with running(tmp_path) as server:
        await eventually(lambda: server.said("h1.big.test") == ["10.0.0.1"], within=30)
        file.write_text(file.read_text().replace("hostmaster 1 ", "hostmaster 2 ", 1) + "new A 192.0.2.1\n")
        await eventually(lambda: server.said("new.big.test") == ["192.0.2.1"], within=30)
        whole = file.read_text()
        file.write_text(whole + "newer A 192.0.2.2\nbad A x\n")
        await eventually(lambda: bool(server.zones()["fault"]), within=30)
        [zone] = server.zones()["zones"]
        assert (zone["serial"], zone["fault"]) == (2, f"big.zone:{RECORDS + 4}: not understood: bad A x")
        assert server.said("newer.big.test") == []
        file.write_text(whole + "newer A 192.0.2.2\n")
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: server.said("newer.big.test") == ["192.0.2.2"], within=30)
        assert server.zones()["fault"] == ""
    [compiled] = (tmp_path / "state" / "compiled").glob("*.compiled")
    made = compiled.stat()
    with running(tmp_path) as server:
        await eventually(lambda: server.said("newer.big.test") == ["192.0.2.2"], within=30)
    assert (compiled.stat().st_ino, compiled.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
