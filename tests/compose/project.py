"""docker-compose.yml as it is, as a project of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAME = "hopstacktest"
IMAGE = "hopstack:test"
"""Not the tag that a user's own containers run."""
PORTS = {
    "DNS_PORT": 5053,
    "DOH_PORT": 8053,
    "DOT_PORT": 8853,
    "FRA_HTTPS_PORT": 8443,
    "FRA_HTTP_PORT": 8080,
    "NRT_HTTPS_PORT": 8444,
    "NRT_HTTP_PORT": 8081,
}
"""What the file publishes; another port is taken for one that somebody has."""
HOPS = (
    *("dns-root", "dns-tld", "dns-shop", "resolver", "edge-fra", "edge-nrt", "lb-a"),
    *("proxy-1", "proxy-2", "proxy-3", "app-1", "app-2", "app-3"),
)
SERVICES = ("ca", *HOPS, "db")


def missing() -> str:
    """Why there can be no containers here; empty when there can."""
    if shutil.which("docker") is None:
        return "docker is not installed: apt-get install docker.io docker-compose"
    if subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=60).returncode:
        return "the Docker engine does not answer: is it running, and may this user ask it?"
    if not compose():
        return "neither `docker compose` nor `docker-compose` is installed: apt-get install docker-compose"
    return ""


def compose() -> list[str]:
    """The command of this machine: Compose 2, else the last one before."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=60).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


class Project:
    def __init__(self) -> None:
        self._compose = compose()
        self.ports = {name: _free(port) for name, port in PORTS.items()}
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "HOPSTACK_"))},
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": NAME,
            "HOPSTACK_IMAGE": IMAGE,
            "HOPSTACK_APP_IMAGE": IMAGE,
        }
        self.said = ""
        """What the last `up` printed."""

    # Compose and Docker.

    def run(self, *argv: str, check: bool = True, timeout: float = 240) -> str:
        """What it printed, errors too."""
        done = subprocess.run(
            [*self._compose, *argv],
            cwd=ROOT, env=self.env, timeout=timeout, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def build(self) -> None:
        before = docker("images", "--quiet", IMAGE)
        self.run("build", timeout=600)
        if before and before != docker("images", "--quiet", IMAGE):
            docker("rmi", before, check=False)  # the one before would stay without a name

    def up(self) -> None:
        self.said = self.run("up", "--detach")
        self.healthy()

    def healthy(self, within: float = 90) -> None:
        def all_are() -> bool:
            states = {name: self.state(name) for name in (*HOPS, "db")}
            return all(
                state["Status"] == "running" and state["Health"]["Status"] == "healthy" for state in states.values()
            )

        until(all_are, within, lambda: self.run("ps", "--all") if len(self._compose) == 2 else self.run("ps"))

    def container(self, service: str) -> str:
        found = docker(
            "ps", "--all", "--quiet", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={NAME}", "--filter", f"label=com.docker.compose.service={service}",
        )  # fmt: skip
        assert found, f"{service} has no container"
        return found.split()[0]

    def inspect(self, service: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container(service)))
        return found[0]

    def state(self, service: str) -> dict[str, Any]:
        state: dict[str, Any] = self.inspect(service)["State"]
        return state

    def execute(self, service: str, *argv: str, check: bool = True) -> str:
        return docker("exec", self.container(service), *argv, check=check)

    def log(self, service: str) -> str:
        """Both streams, in order."""
        return docker("logs", self.container(service))

    def records(self, service: str) -> list[dict[str, Any]]:
        """Its access log."""
        return [json.loads(line) for line in self.log(service).splitlines() if line.startswith("{")]

    def down(self, *argv: str) -> str:
        return self.run("down", "--remove-orphans", *argv)

    def left(self) -> dict[str, str]:
        """What there is of the project, by kind."""
        mine = ("--filter", f"label=com.docker.compose.project={NAME}", "--quiet")
        found = {"container": docker("ps", "--all", *mine)}
        found |= {kind: docker(kind, "ls", *mine) for kind in ("network", "volume")}
        return {kind: ids for kind, ids in found.items() if ids}

    # The site, as a client on the host sees it.

    @property
    def ca(self) -> Path:
        return ROOT / ".hopstack" / "ca.pem"

    def get(self, path: str, *, edge: str = "FRA", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        return self.request("GET", path, edge=edge, headers=headers)

    def request(
        self, method: str, path: str, *, edge: str = "FRA", headers: Mapping[str, str] | None = None, body: str = ""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Over TLS, verified, on a connection of its own."""
        connection = self.connect(edge)
        try:
            connection.request(method, path, body or None, {"Host": self.authority(edge), **(headers or {})})
            answer = connection.getresponse()
            fields: dict[str, str] = {}
            for name, value in answer.getheaders():  # a field that repeats is one list (RFC 9110 §5.3)
                fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
            return answer.status, fields, answer.read()
        finally:
            connection.close()

    def authority(self, edge: str) -> str:
        return f"shop.test:{self.ports[f'{edge}_HTTPS_PORT']}"

    def connect(self, edge: str = "FRA") -> http.client.HTTPSConnection:
        trust = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection("shop.test", context=trust, timeout=20)
        plain = socket.create_connection(("127.0.0.1", self.ports[f"{edge}_HTTPS_PORT"]), 20)
        connection.sock = trust.wrap_socket(plain, server_hostname="shop.test")
        return connection


def docker(*argv: str, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, f"docker {' '.join(argv)}: {done.stdout}"
    return done.stdout.strip()


def until(condition: Callable[[], object], within: float, explain: Callable[[], object] = lambda: "") -> None:
    """AssertionError with what `explain` says when it does not come true."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within} s\n{explain()}"
        time.sleep(0.3)


def _free(port: int) -> int:
    """That port if nobody has it, else any that nobody has."""
    for wanted in (port, 0):
        try:
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tcp.bind(("127.0.0.1", wanted))
                udp.bind(tcp.getsockname())
                found: int = tcp.getsockname()[1]
                return found
        except OSError:
            continue
    raise OSError("no free port")


def connects(project: Project, service: str, targets: Sequence[str]) -> dict[str, bool]:
    """For each host:port whether a connection can be opened from inside the container of a service."""
    script = f"""
import concurrent.futures, json, socket
def opens(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return False
    return True
targets = {list(targets)!r}
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip(targets, pool.map(opens, targets)))))
"""
    found: dict[str, bool] = json.loads(project.execute(service, "python", "-c", script))
    return found
