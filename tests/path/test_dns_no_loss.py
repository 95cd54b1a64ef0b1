"""No answer is lost or wrong while zones are reloaded, servers are replaced and faults come and go, at a steady rate."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from stack.clock import eventually
from tests.support.dns_network import question
from tests.support.stack import Stack, free_base

TLD = 2
"""Which of the loads asks the top-level domain, where every answer is a referral."""
MOST = 90
"""Seconds; the load ends when all that is to happen has."""
FILE = """
[zones."shop.test"]
file = "shop.zone"
[dns.root]
[dns.tld]
workers = 2
[dns.shop]
[dns.resolver] # a machine that is busy besides shall not look like a server that is away
walk.attempt = "4s"
walk.total = "15s"
[edges.fra]
[proxies.1]
[apps.1]
"""
ZONE = """$ORIGIN shop.test.
$TTL 60
@ SOA ns1 hostmaster {serial} 14400 3600 1209600 30
@ NS ns1
ns1 A 127.0.53.3
@ A 127.0.1.1
www CNAME @
mark 0 TXT "{serial} one"
mark 0 TXT "{serial} two"
mark 0 TXT "{serial} three"
hit A 127.0.1.1
"""
QUESTIONS = "shop.test A\nwww.shop.test A\nnope.shop.test A\nmark.shop.test TXT\nshop.test NS\n"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "stack.toml").write_text(FILE)
    (tmp_path / "shop.zone").write_text(ZONE.format(serial=1))
    (tmp_path / "questions").write_text(QUESTIONS)
    stack = Stack(tmp_path / "home", free_base(), cwd=tmp_path)
    try:
        stack.up("-c", "stack.toml")
        yield stack
    finally:
        stack.hopstack("down")
        for pid in stack.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Marks(asyncio.DatagramProtocol):
    """Asks the zone's server for the set of three, all the while; what came back, by what it said."""

    def __init__(self) -> None:
        self.seen: list[frozenset[str]] = []
        self.latest = ""
        self.came = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        [rrset] = dns.message.from_wire(data).answer
        texts = [rdata.to_text().strip('"') for rdata in rrset]
        self.seen.append(frozenset(texts))
        self.latest = texts[0].split()[0]
        self.came.set()

    async def run(self, transport: asyncio.DatagramTransport) -> None:
        while True:
            self.came.clear()
            transport.sendto(question("mark.shop.test", "TXT"))
            async with asyncio.timeout(10):
                await self.came.wait()


def perf(stack: Stack, mode: str, host: str, port: int, rate: int) -> subprocess.Popen[str]:
    assert stack.cwd is not None
    return subprocess.Popen(
        [
            "dnsperf", "-m", mode, "-s", host, "-p", str(port), "-d", str(stack.cwd / "questions"), "-l", str(MOST),
            "-Q", str(rate), "-c", "4", "-T", "1", "-t", "20",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.needs("dnsperf")
async def test_reloads_restarts_and_faults_lose_no_answer(stack: Stack) -> None:
    assert stack.cwd is not None
    zone, port = stack.cwd / "shop.zone", stack.base + 53
    running = [
        perf(stack, "udp", "127.0.53.3", port, 1000), perf(stack, "tcp", "127.0.53.3", port, 200),
        perf(stack, "udp", "127.0.53.2", port, 500), perf(stack, "udp", "127.0.0.1", port, 500), perf(stack, "tls", "127.0.0.1", stack.base + 55, 200),
    ]  # fmt: skip
    transport, marks = await asyncio.get_running_loop().create_datagram_endpoint(
        Marks, remote_addr=("127.0.53.3", port)
    )
    asking = asyncio.ensure_future(marks.run(transport))

    async def hopstack(*argv: str) -> str:
        done = await asyncio.to_thread(stack.hopstack, *argv)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # a changed zone, by SIGHUP; one with a fault, which is left alone; another one, by the admin endpoint
    server = await asyncio.to_thread(stack.hop, "dns-shop")
    zone.write_text(ZONE.format(serial=2))
    os.kill(server["pid"], signal.SIGHUP)
    await eventually(lambda: marks.latest == "2")
    zone.write_text(ZONE.format(serial=3) + "broken A nonsense\n")
    os.kill(server["pid"], signal.SIGHUP)
    await eventually(lambda: "nonsense" in stack.log_text("dns-shop") or "broken" in stack.log_text("dns-shop"))
    assert marks.latest == "2"
    zone.write_text(ZONE.format(serial=4))
    reload = urllib.request.Request(f"{server['admin']}/-/reload", method="POST")
    await asyncio.to_thread(lambda: urllib.request.urlopen(reload, timeout=20).close())
    await eventually(lambda: marks.latest == "4")
    # another one, by `hopstack reload`: a file that an option names has changed, and so the process is replaced
    zone.write_text(ZONE.format(serial=5))
    await hopstack("reload")
    await eventually(lambda: marks.latest == "5")
    # a fault for a name that nobody here asks for; then the processes anew
    await hopstack("fault", "add", "dns-shop", "rcode=SERVFAIL", "qname=hit.*")
    await hopstack("fault", "clear")
    os.kill((await asyncio.to_thread(stack.hop, "dns-tld"))["pid"], signal.SIGHUP)
    await hopstack("restart", "dns-shop")
    await hopstack("restart", "dns-tld")
    await hopstack("restart", "resolver")
    assert (await asyncio.to_thread(stack.hop, "dns-shop"))["pid"] != server["pid"]
    assert all(process.poll() is None for process in running)
    for process in running:
        process.send_signal(signal.SIGINT)  # it reports; what is on its way then it calls interrupted, not lost
    said = [(await asyncio.to_thread(process.communicate))[0] for process in running]
    asking.cancel()
    transport.close()
    for at, report in enumerate(said):
        lost = re.search(r"Queries lost:\s+(\d+)", report)
        assert lost is not None, report
        assert lost[1] == "0", report
        assert set(re.findall(r"([A-Z]+) \d+ \(", report)) == ({"NOERROR"} if at == TLD else {"NOERROR", "NXDOMAIN"}), (
            report
        )
    whole = {frozenset(f"{serial} {word}" for word in ("one", "two", "three")) for serial in (1, 2, 4, 5)}
    assert set(marks.seen) == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_asked_before_a_stop_is_answered(tmp_path: Path, workers: int) -> None:
    """TERM finds a thousand datagrams and fifty connections with two questions each that the server has not yet seen."""
    (tmp_path / "shop.zone").write_text(ZONE.format(serial=1))
    stream = socket.create_server(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(stream.getsockname())
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    port = stream.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable, "-m", "dns_server", "--zone", f"shop.test={tmp_path / 'shop.zone'}",
            *(f"--listen=dns+fd://{sock.fileno()}" for sock in (stream, datagrams)), "--state-dir", str(tmp_path),
            "--access-log", "off", f"--workers={workers}",
        ],
        pass_fds=(stream.fileno(), datagrams.fileno()), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stream.close()
    datagrams.close()
    assert server.stderr is not None
    for line in server.stderr:
        if " ready on " in line:
            break
    with contextlib.ExitStack() as opened:
        server.send_signal(signal.SIGSTOP)
        client = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.connect(("127.0.0.1", port))
        client.settimeout(20)
        for number in range(300):
            client.send(question("mark.shop.test", "TXT", id=number))
        connections = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(50)]
        two = b"".join(
            len(message).to_bytes(2, "big") + message
            for message in (question("shop.test", id=1), question("a.test", id=2))
        )
        for connection in connections:
            connection.sendall(two)
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGCONT)
        assert {int.from_bytes(client.recv(600)[:2], "big") for _ in range(300)} == set(range(300))
        for connection in connections:
            with connection.makefile("rb") as file:
                content, ids = file.read(), []
            while content:
                size = int.from_bytes(content[:2], "big")
                ids.append(int.from_bytes(content[2:4], "big"))
                content = content[2 + size :]
            assert ids == [1, 2]
    assert server.wait(20) == 0
    server.stderr.close()
