"""One hop as a process of its own: start, signals, exit status, what it says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.hop.control import VARIABLE

ROOT = str(Path(__file__).parents[3])
WAIT = 30.0


class Hop:
    """The process, the lines of its standard error, and its address once it is ready."""

    def __init__(self, cwd: Path, *argv: str, fds: tuple[int, ...] = (), **environ: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("HOPSTACK_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hello_hop", *argv], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**env, "PYTHONPATH": ROOT, **environ}, pass_fds=fds, text=True,
        )  # fmt: skip
        self.err = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        deadline = time.monotonic() + WAIT
        while (found := re.search(pattern, self.err)) is None:
            assert time.monotonic() < deadline, self.err
            if select.select([self.process.stderr], [], [], 0.1)[0]:
                data = os.read(self.process.stderr.fileno(), 65536).decode()
                assert data, f"it ended: {self.err}"
                self.err += data
        return found

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=WAIT)
        return self.process.returncode, out, self.err + err

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Any]:
    started: list[Hop] = []

    def start(*argv: str, **kwargs: Any) -> Hop:
        started.append(Hop(tmp_path, *argv, **kwargs))
        return started[-1]

    yield start
    for hop in started:
        if hop.process.poll() is None:
            hop.process.kill()
        with contextlib.suppress(ValueError):
            hop.process.communicate()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


READY = r"hello-1 ready on (http://127\.0\.0\.1:\d+) in \d+ ms\n"
ANY = ("--listen", "http://127.0.0.1:0", "--name", "hello-1")


def test_it_says_where_it_is_ready_serves_and_ends_with_0(state: Any) -> None:
    hop = state(*ANY)
    url = hop.wait_for(READY)[1]
    assert get(f"{url}/x") == "hello"
    hop.signal(signal.SIGTERM)
    status, out, err = hop.end()
    assert status == 0
    assert json.loads(out)["path"] == "/x"
    assert err.count("\n") == 1, err


def in_flight(address: tuple[str, int], path: str) -> socket.socket:
    """A client whose request the hop has begun to answer."""
    client = socket.create_connection(address, timeout=WAIT)
    client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        assert data, seen
        seen += data
    assert seen.startswith(b"HTTP/1.1 103 ")
    return client


def host_port(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def until_refused(address: tuple[str, int]) -> None:
    """It has stopped to accept."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address, timeout=1).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # it stopped between the two halves of the handshake: the next one is refused
        time.sleep(0.01)
    raise AssertionError("still accepts")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_ends_before_the_process(state: Any, number: int) -> None:
    hop = state(*ANY)
    address = host_port(hop.wait_for(READY)[1])
    with in_flight(address, "/slow") as client:
        hop.signal(number)
        until_refused(address)
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"slow hello")
    assert hop.end()[0] == 0


def test_what_lasts_longer_than_the_drain_time_is_cut_off(state: Any) -> None:
    hop = state(*ANY, "--timeouts-drain", "200ms")
    with in_flight(host_port(hop.wait_for(READY)[1]), "/endless"):
        hop.signal(signal.SIGTERM)
        assert hop.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(state: Any, number: int) -> None:
    hop = state(*ANY, "--timeouts-drain", "1h")
    address = host_port(hop.wait_for(READY)[1])
    with in_flight(address, "/endless"):
        hop.signal(signal.SIGTERM)
        until_refused(address)
        assert hop.process.poll() is None
        hop.signal(number)
        assert hop.process.wait(WAIT) == 128 + number


def test_hup_reloads_and_usr1_reopens_the_log(state: Any, tmp_path: Path) -> None:
    hop = state(*ANY, "--access-log", "access.log")
    url = hop.wait_for(READY)[1]
    assert get(url) == "hello"
    hop.signal(signal.SIGHUP)
    deadline = time.monotonic() + WAIT
    while get(url) != "reloaded":
        assert time.monotonic() < deadline
    (tmp_path / "access.log").rename(tmp_path / "old.log")
    hop.signal(signal.SIGUSR1)
    while not (tmp_path / "access.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    get(f"{url}/after")
    hop.signal(signal.SIGTERM)
    assert hop.end()[0] == 0
    assert json.loads((tmp_path / "access.log").read_text().splitlines()[-1])["path"] == "/after"
    assert "reloaded" not in (tmp_path / "old.log").read_text()


def test_the_admin_endpoint_beside_it(state: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as admin:
        hop = state(*ANY, "--admin", f"http+fd://{admin.fileno()}", "--password", "SECRET", fds=(admin.fileno(),))
        hop.wait_for(READY)
        url = f"http://127.0.0.1:{admin.getsockname()[1]}"
        assert get(f"{url}/-/ready") == "ready\n"
        config = json.loads(get(f"{url}/-/config"))
        assert (config["name"], config["password"], config["timeouts"]["drain"]) == ("hello-1", "***", 10.0)
        assert "hopstack_connections" in get(f"{url}/metrics")


def test_a_passed_socket_keeps_its_connections_over_a_restart(state: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argv = ("--listen", f"http+fd://{listener.fileno()}", "--name", "hello-1")
        first = state(*argv, fds=(listener.fileno(),))
        url = first.wait_for(READY)[1]
        assert get(url) == "hello"
        first.signal(signal.SIGTERM)
        assert first.end()[0] == 0
        # nobody accepts now; the kernel keeps the connection for the next process
        with socket.create_connection(listener.getsockname(), timeout=WAIT) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            state(*argv, "--greeting", "again", fds=(listener.fileno(),))
            answer = b""
            while data := client.recv(65536):
                answer += data
        assert answer.endswith(b"again")


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        ([], {}, "--listen is needed, as --listen http://127.0.0.1:0"),
        (["--listn", "x"], {}, "there is no flag --listn: did you mean --listen?"),
        (["--listen", "ftp://127.0.0.1:0"], {}, "no scheme is called 'ftp': one of http, https, h2c\n"),
        (["--listen", "http://127.0.0.1:99999"], {}, "wanted a port from 0"),
        (["--listen", "http://192.0.2.1:0"], {}, "this machine has no address 192.0.2.1"),
        (
            [*ANY, "--admin", "http://0.0.0.0:0"],
            {},
            "--admin http://0.0.0.0:0: the admin endpoint is for loopback only",
        ),
        ([*ANY, "--admin", "https://127.0.0.1:0"], {}, "wanted http://127.0.0.1:PORT"),
        ([*ANY, "--trusted", "nobody"], {}, "nobody"),
        ([*ANY, "--failing", "config"], {}, "--failing config: choose another one"),
        ([*ANY, "--failing", "build"], {}, "--failing build: choose another one"),
        ([*ANY, "--access-log", "/proc/nope/log"], {}, "--access-log /proc/nope/log"),
        (["--listen", "https://127.0.0.1:0", "--cert", "c.pem"], {}, "--key is missing"),
        (ANY, {"HOPSTACK_TIMEOUTS_HEAD": "soon"}, "HOPSTACK_TIMEOUTS_HEAD 'soon': wanted a duration"),
        (ANY, {"HOPSTACK_LOG": "loud"}, "HOPSTACK_LOG 'loud'"),
    ],
)
def test_a_fault_of_configuration_is_one_line_and_status_2(
    state: Any, argv: list[str], environ: dict[str, str], message: str
) -> None:
    status, out, err = state(*argv, **environ).end()
    assert (status, out) == (2, "")
    assert err.startswith("hopstack: hello: ")
    assert message in err
    assert err.count("\n") == 1, err


def test_a_taken_port(state: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = state("--listen", f"http://127.0.0.1:{port}").end()
    assert status == 2
    assert f"127.0.0.1:{port} is taken (by pid {os.getpid()} " in err
    assert err.endswith("; stop it or choose another address with --listen\n")


def test_a_taken_admin_port(state: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = state(*ANY, "--admin", f"http://127.0.0.1:{taken.getsockname()[1]}").end()
    assert status == 2
    assert err.endswith("; stop it or choose another address with --admin\n")


def test_any_other_failure_is_one_line_and_status_1(state: Any) -> None:
    status, _, err = state(*ANY, "--failing", "crash").end()
    assert (status, err) == (1, "hopstack: hello: RuntimeError: no such luck\n")
    assert "Traceback" in state(*ANY, "--failing", "crash", HOPSTACK_LOG="debug").end()[2]


def test_a_start_that_takes_long_is_broken_off(state: Any) -> None:
    hop = state(*ANY, "--failing", "slow")
    hop.wait_for("starting slowly")
    hop.signal(signal.SIGTERM)
    assert hop.end()[0] == 0


# With a master.


@contextlib.contextmanager
def master_end() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT)
    with ours, theirs:
        yield ours, theirs


def messages(ours: socket.socket, until: str) -> list[dict[str, Any]]:
    data = b""
    while f'"{until}"'.encode() not in data or not data.endswith(b"\n"):
        received = ours.recv(65536)
        assert received, data
        data += received
    return [json.loads(line) for line in data.splitlines()]


def test_the_master_is_told(state: Any) -> None:
    with master_end() as (ours, theirs):
        hop = state(*ANY, fds=(theirs.fileno(),), **{VARIABLE: str(theirs.fileno())})
        theirs.close()
        listening, ready = messages(ours, "ready")
        assert listening["event"] == "listening"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", listening["listen"][0])
        assert (ready["event"], ready["ready_ms"] > 0) == ("ready", True)
        ours.sendall(b'{"ask": "stats", "id": 7}\n')
        [reply] = messages(ours, "reply")
        assert (reply["reply"], reply["value"]["name"]) == (7, "hello-1")
        hop.signal(signal.SIGTERM)
        assert messages(ours, "stopping")[0]["event"] == "stopping"
        assert hop.end()[0] == 0


@pytest.mark.parametrize(("fault", "reason"), [("config", "--failing config"), ("crash", "RuntimeError: no such luck")])
def test_the_master_is_told_why_it_failed(state: Any, fault: str, reason: str) -> None:
    with master_end() as (ours, theirs):
        hop = state(*ANY, "--failing", fault, fds=(theirs.fileno(),), **{VARIABLE: str(theirs.fileno())})
        theirs.close()
        assert messages(ours, "failed")[-1]["reason"].startswith(reason)
        hop.end()


def test_its_master_has_read_the_environment(state: Any) -> None:
    """What the master left out is as by default: a variable meant for another hop does not count."""
    with master_end() as (ours, theirs):
        variables = {VARIABLE: str(theirs.fileno()), "HOPSTACK_GREETING": "not this", "HOPSTACK_DRAIN": "x"}
        hop = state(*ANY, fds=(theirs.fileno(),), **variables)
        theirs.close()
        messages(ours, "ready")
        assert get(hop.wait_for(READY)[1] + "/") == "hello"
        hop.signal(signal.SIGTERM)
        assert hop.end()[0] == 0


def test_it_stops_when_its_master_hangs_up(state: Any) -> None:
    """What stands in for the parent's death signal where the kernel has none."""
    with master_end() as (ours, theirs):
        hop = state(*ANY, fds=(theirs.fileno(),), **{VARIABLE: str(theirs.fileno())})
        theirs.close()
        messages(ours, "ready")
    status, _, err = hop.end()
    assert status == 0, err
    assert "the master is gone" in err


def test_it_ends_even_if_it_is_stuck_when_its_master_hangs_up(state: Any) -> None:
    with master_end() as (ours, theirs):
        hop = state(*ANY, fds=(theirs.fileno(),), **{VARIABLE: str(theirs.fileno())})
        theirs.close()
        messages(ours, "ready")
        client = socket.create_connection(host_port(hop.wait_for(READY)[1]), timeout=WAIT)
        client.sendall(b"GET /stuck-when-stopping HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(10)
    assert hop.process.wait(10) == -signal.SIGALRM
    client.close()


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    script = (
        "import resource; from stack.hop.process import raise_descriptor_limit\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)); raise_descriptor_limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "True\n"
