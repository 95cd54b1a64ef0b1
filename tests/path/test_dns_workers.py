"""Several processes answer for one server: they say the same at every moment, and one that dies costs no answer but those it had begun."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from stack.clock import eventually
from stack.net import dns_batch
from tests.support.dns_network import question
from tests.support.name_servers import SECRET, NameServers, free_port

pytestmark = pytest.mark.skipif(not dns_batch.available(), reason="only Linux shares a UDP address among processes")

ZONE = '$TTL 60\n@ IN SOA ns1 host {0} 3600 600 86400 30\n@ IN NS ns1\nns1 IN A 192.0.2.53\nwww IN TXT "{0}"\n'
PORTS = 40
"""Clients with a port of their own: the system spreads them over the processes."""


class Server:
    def __init__(self, servers: NameServers) -> None:
        self.servers = servers
        self.zone = servers.directory / "shop.zone"
        self.zone.write_text(ZONE.format(1))
        self.port = free_port()
        servers.ours("ns1", self.port, "--zone", f"shop.test={self.zone}", "--update", "xfr", "--workers", "2")
        wait(lambda: self.worker()["answers"])

    def admin(self, path: str, method: str = "GET") -> Any:
        url = f"http://127.0.0.1:{self.servers.admin['ns1']}/-/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as response:
            return json.load(response)

    def worker(self) -> dict[str, Any]:
        [worker] = self.admin("stats")["workers"]
        found: dict[str, Any] = worker
        return found

    def another(self, than: int) -> bool:
        """Whether another process than that answers as the worker."""
        worker = self.worker()
        return bool(worker["answers"]) and worker["pid"] not in (None, than)

    def answers(self, name: str) -> set[str]:
        """What clients at many ports are told, all at once."""
        found: set[str] = set()
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(PORTS)]
        try:
            for client in clients:
                client.settimeout(10)
                client.sendto(question(name, "TXT"), ("127.0.0.1", self.port))
            for client in clients:
                rrsets = dns.message.from_wire(client.recv(4096)).answer
                found.add(" ".join(rdata.to_text() for rrset in rrsets for rdata in rrset))
        finally:
            for client in clients:
                client.close()
        return found

    def update(self, word: str) -> dns.rcode.Rcode:
        message = dns.update.UpdateMessage("shop.test", keyring=dns.tsigkeyring.from_text({"xfr": SECRET}))
        message.replace("told", 60, "TXT", word)
        return dns.query.udp(message, "127.0.0.1", port=self.port, timeout=10).rcode()


def wait(condition: Callable[[], object]) -> None:
    def holds() -> bool:
        try:
            return bool(condition())
        except (OSError, ValueError):
            return False

    asyncio.run(eventually(holds, within=40, every=0.05))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    servers = NameServers(tmp_path)
    try:
        yield Server(servers)
    finally:
        servers.stop()


def test_workers_say_the_same_at_every_moment(server: Server) -> None:
    assert server.worker()["pid"] != server.servers.running["ns1"].pid
    for _ in range(5):
        assert server.answers("www.shop.test") == {'"1"'}
    # both take part, and metrics are summed
    wait(lambda: server.admin("stats")["dns"]["words"].get("answered") == 5 * PORTS)
    assert 0 < server.worker()["queries"] < 5 * PORTS
    # a change is in force everywhere before it is answered, whichever process it reached
    for number in range(12):
        assert server.update(f"word{number}") == dns.rcode.NOERROR
        assert server.answers("told.shop.test") == {f'"word{number}"'}
    # a reload too
    server.zone.write_text(ZONE.format(20))
    assert "fault" in server.admin("reload", "POST")
    assert server.answers("www.shop.test") == {'"20"'}


def test_a_worker_that_dies_costs_no_answer_that_it_had_not_begun_and_comes_back_with_the_zones_of_now(
    server: Server,
) -> None:
    assert server.update("now") == dns.rcode.NOERROR
    ended, between, told = threading.Event(), threading.Lock(), Counter[str]()

    def ask() -> None:
        while not ended.is_set():
            with between, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.sendto(question("told.shop.test", "TXT"), ("127.0.0.1", server.port))
                try:
                    told["answered" if b"\x03now" in client.recv(4096) else "wrong"] += 1
                except TimeoutError:
                    told["lost"] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(2):
            pid = server.worker()["pid"]
            with between:  # no question is in its hands
                os.kill(pid, signal.SIGSTOP)
                wait(lambda pid=pid: state(pid) == "T")  # type: ignore[misc]
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(server.answers, "told.shop.test")
                # of those at many ports some are in its queue now
                wait(lambda: queued(server.port))
                os.kill(pid, signal.SIGKILL)
                assert waiting.result() == {'"now"'}
            wait(lambda pid=pid: server.another(pid))  # type: ignore[misc]
    finally:
        ended.set()
        asking.join()
    assert set(told) == {"answered"}, told
    assert server.answers("told.shop.test") == {'"now"'}
    assert server.worker()["restarts"] == 2


def state(pid: int) -> str:
    """A process's state as the system tells it: R, S, T for stopped, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def queued(port: int) -> int:
    """Octets that wait in the UDP sockets of a port."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if row[1].endswith(f":{port:04X}"))


def test_a_stop_leaves_no_worker_behind(server: Server) -> None:
    pid = server.worker()["pid"]
    process = server.servers.running["ns1"]
    process.terminate()
    assert process.wait(20) == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_hangs_holds_no_change_up_for_ever(server: Server) -> None:
    worker = server.worker()
    os.kill(worker["pid"], signal.SIGSTOP)
    server.zone.write_text(ZONE.format(20))
    server.admin("reload", "POST")
    assert server.answers("www.shop.test") == {'"20"'}
    wait(lambda: server.another(worker["pid"]))
