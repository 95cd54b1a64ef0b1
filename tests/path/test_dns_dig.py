"""dig against the four servers of the default stack, each a process: root, TLD, zone and resolver; curl over its DoH."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dns_server.zones import default_zones
from stack.clock import eventually

HOSTS = {"root": "127.0.53.1", "tld": "127.0.53.2", "shop": "127.0.53.3", "resolver": "127.0.53.4"}
REPOSITORY = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.needs("dig")


class Processes:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.port = 0
        self.admin = ""
        self.doh = ""

    def start(self, name: str, *arguments: str) -> None:
        stream = socket.create_server((HOSTS[name], self.port))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(stream.getsockname())
        self.port = stream.getsockname()[1]
        descriptors = (stream.fileno(), datagrams.fileno())
        listen = [f"--listen=dns+fd://{number}" for number in descriptors]
        process = self.running[name] = subprocess.Popen(
            [
                sys.executable, "-m", "dns_server", "--name", f"dns-{name}", *listen,
                "--access-log", str(self.directory / f"{name}.log"), "--state-dir", str(self.directory), *arguments,
            ],
            pass_fds=descriptors, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )  # fmt: skip
        stream.close()
        datagrams.close()
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if " ready on " in line:
                if match := re.search(r"https://\S+", line):
                    self.doh = match[0]
                return
        raise AssertionError(f"{name} did not start: {said}")

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            process.communicate(timeout=20)
        assert {process.returncode for process in self.running.values()} == {0}

    def dig(self, name: str, *arguments: str) -> str:
        return subprocess.run(
            ["dig", f"@{HOSTS[name]}", "-p", str(self.port), "+time=5", "+tries=2", *arguments],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    directory = tmp_path_factory.mktemp("dns")
    processes = Processes(directory)
    texts = default_zones(edges={"edge-fra": "127.0.1.1", "edge-nrt": "127.0.1.2"}, servers=HOSTS)
    try:
        for name, (zone, text) in zip(HOSTS, texts.items(), strict=False):
            file = directory / f"{name}.zone"
            big = "".join(f"big IN TXT {'x' * 200}{number:03d}\n" for number in range(20)) if name == "shop" else ""
            file.write_text(text + big)
            processes.start(name, "--zone", f"{zone}={file}")
        root = f"{HOSTS['root']}:{processes.port}"
        processes.start(
            "resolver", "--resolver", "--root", root, "--port", str(processes.port), "--listen", "https://127.0.0.1:0"
        )
    except OSError as error:
        pytest.skip(f"needs loopback addresses beside 127.0.0.1: {error}")
    yield processes
    processes.stop()


@pytest.mark.parametrize("flag", ["+edns=0", "+noedns", "+tcp", "+bufsize=4096", "+nocookie"])
@pytest.mark.parametrize(
    ("name", "flags", "sections"),
    [
        ("root", "qr rd", {"AUTHORITY": "test.", "ADDITIONAL": "ns.nic.test."}),
        ("tld", "qr rd", {"AUTHORITY": "shop.test.", "ADDITIONAL": "ns1.shop.test."}),
        ("shop", "qr aa rd", {"ANSWER": "www.shop.test."}),
        ("resolver", "qr rd ra", {"ANSWER": "www.shop.test."}),
    ],
)
def test_each_server(servers: Processes, name: str, flags: str, sections: dict[str, str], flag: str) -> None:
    out = servers.dig(name, "www.shop.test", "A", flag)
    assert "status: NOERROR" in out
    assert f"flags: {flags};" in out
    assert "WARNING: recursion requested" in out or name == "resolver"
    assert not re.search(r"WARNING: (?!recursion)", out)
    for section, owner in sections.items():
        assert re.search(rf";; {section} SECTION:\n{re.escape(owner)}\s", out)
    assert ("EDNS: version: 0" in out) == (flag != "+noedns")


@pytest.mark.parametrize("name", ["shop", "resolver"])
def test_absent_names_and_types(servers: Processes, name: str) -> None:
    missing = servers.dig(name, "nope.shop.test")
    assert "status: NXDOMAIN" in missing
    assert re.search(r"AUTHORITY SECTION:\nshop\.test\.\s+30\s+IN\s+SOA", missing)
    nodata = servers.dig(name, "www.shop.test", "MX")
    assert "status: NOERROR" in nodata
    assert re.search(r"ANSWER: 0, AUTHORITY: 1", nodata)


@pytest.mark.parametrize("name", ["shop", "resolver"])
def test_a_long_answer_is_truncated_and_comes_over_tcp(servers: Processes, name: str) -> None:
    ignored = servers.dig(name, "big.shop.test", "TXT", "+ignore")
    assert re.search(r"flags: qr[a-z ]* tc", ignored)
    whole = servers.dig(name, "big.shop.test", "TXT")
    assert "Truncated, retrying in TCP mode" in whole
    assert "ANSWER: 20" in whole


def test_the_service_record_names_protocols_and_port(servers: Processes) -> None:
    out = servers.dig("resolver", "shop.test", "HTTPS", "+short")
    assert out.strip() == '1 . alpn="h2,http/1.1" port=8443 ipv4hint=127.0.1.1,127.0.1.2'


def test_foreign_names_are_refused(servers: Processes) -> None:
    assert "status: REFUSED" in servers.dig("shop", "example.org")
    assert "status: REFUSED" in servers.dig("tld", ".", "NS")


def test_edns_of_the_future(servers: Processes) -> None:
    out = servers.dig("shop", "www.shop.test", "+edns=1", "+noednsneg")
    assert "status: BADVERS" in out
    assert "status: NOERROR" in servers.dig("shop", "www.shop.test", "+ednsopt=65001:abcd", "+ednsflags=0x4000")


def test_dig_walks_by_itself(servers: Processes) -> None:
    """`dig +trace` uses port 53 after the first step, so each step is asked with +norecurse instead."""
    for name, authority in (("root", "test."), ("tld", "shop.test.")):
        assert re.search(rf"AUTHORITY SECTION:\n{authority}", servers.dig(name, "www.shop.test", "+norecurse"))
    assert "flags: qr aa;" in servers.dig("shop", "www.shop.test", "+norecurse")


def test_the_log_tells_the_walk(servers: Processes) -> None:
    servers.dig("resolver", "edge-fra.shop.test")

    def logged() -> list[str]:
        lines = (servers.directory / "resolver.log").read_text().splitlines()
        return [line for line in lines if '"name":"edge-fra.shop.test."' in line]

    asyncio.run(eventually(lambda: bool(logged())))
    line = json.loads(logged()[0])
    assert line["marks"][0] == ["cache", "miss"]
    assert line["walk"][-1] == f"{HOSTS['shop']}:{servers.port} shop.test. answered"


@pytest.mark.needs("curl")
def test_curl_resolves_over_https(servers: Processes) -> None:
    """Nobody listens at the edge's address here: that curl tries it is the proof."""
    out = subprocess.run(
        [
            "curl", "-sv", "--noproxy", "*", "--max-time", "20", "--doh-url", f"{servers.doh}/dns-query",
            "--cacert", str(servers.directory / "ca.pem"), f"https://shop.test:{servers.port}/",
        ],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert re.search(rf"Trying 127\.0\.1\.[12]:{servers.port}", out.stderr), out.stderr
