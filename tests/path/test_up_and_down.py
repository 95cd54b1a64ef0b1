"""`hopstack up`, `status`, `logs`, `ca` and `down`: what they print, how they exit, and that nothing is left running."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from stack.clock import eventually
from stack.path import HOPS
from tests.support.stack import Stack, free_base, running_stack

NAMES = (
    *("dns-root", "dns-tld", "dns-shop", "resolver", "edge-fra", "edge-nrt", "lb-a"),
    *("proxy-1", "proxy-2", "proxy-3", "app-1", "app-2", "app-3"),
)


@pytest.fixture
def fresh(tmp_path: Path) -> Stack:
    return Stack(tmp_path / "home", free_base())


def test_status_of_the_default_stack(stack: Stack) -> None:
    status = stack.status()
    assert tuple(hop["name"] for hop in status["hops"]) == NAMES
    assert {hop["kind"] for hop in status["hops"]} == set(HOPS)
    for hop in status["hops"]:
        assert hop["state"] == "ready"
        assert hop["listen"]
        assert hop["admin"].startswith("http://127.0.0.1:")
        os.kill(hop["pid"], 0)
    table = stack.hopstack("status")
    assert table.returncode == 0
    for name in NAMES:
        assert name in table.stdout


def test_every_hop_has_its_admin_pages(stack: Stack) -> None:
    for hop in stack.status()["hops"]:
        pages = {}
        for page in ("/-/ready", "/-/live", "/-/stats", "/-/config", "/metrics"):
            with urllib.request.urlopen(hop["admin"] + page, timeout=10) as answer:
                assert answer.status == 200, hop["name"] + page
                pages[page] = answer.read().decode()
        assert json.loads(pages["/-/stats"])["name"] == hop["name"]
        assert hop["name"] in pages["/-/config"]
        assert "# TYPE hopstack_" in pages["/metrics"]


def test_a_second_stack_in_the_same_directory_is_refused(stack: Stack) -> None:
    done = stack.hopstack("up", "--port-base", str(free_base()))
    assert done.returncode == 2
    assert "runs here already" in done.stderr
    assert "hopstack down" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


async def test_up_and_down_leave_nothing(fresh: Stack) -> None:
    fresh.up()
    assert len(fresh.pids()) >= len(NAMES)
    fresh.down()
    await eventually(lambda: fresh.pids() == [])
    assert fresh.hopstack("status").returncode == 3
    assert fresh.hopstack("down").returncode == 0


async def test_two_stacks_do_not_disturb_each_other(fresh: Stack, stack: Stack) -> None:
    with contextlib.ExitStack() as cleanup:
        fresh.up()
        cleanup.callback(fresh.hopstack, "down")
        assert "HTTP" in fresh.curl("/products/shoes", "-i")
        assert "HTTP" in stack.curl("/products/shoes", "-i")


async def test_nobody_reads_what_it_says(fresh: Stack) -> None:
    """As `hopstack up --json 2>&1 | head -1`: a hop that dies is started again, and the end is in order."""
    argv = [sys.executable, "-m", "stack", "up", "--json", "--port-base", str(fresh.base)]
    with subprocess.Popen(argv, env=fresh.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as up:
        assert up.stdout is not None
        pids = {hop["name"]: hop["pid"] for hop in json.loads(up.stdout.readline())["hops"]}
        up.stdout.close()
        os.kill(pids["edge-nrt"], signal.SIGKILL)
        await eventually(
            lambda: (hop := fresh.hop("edge-nrt"))["state"] == "ready" and hop["pid"] != pids["edge-nrt"],
            within=30,
            every=0.2,
        )
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    await eventually(lambda: fresh.pids() == [])


async def test_a_killed_supervisor_leaves_no_process_and_the_next_up_works(fresh: Stack) -> None:
    fresh.up()
    os.kill(fresh.status()["pid"], signal.SIGKILL)
    await eventually(lambda: fresh.pids() == [], within=10)
    fresh.up()
    assert "HTTP" in fresh.curl("/products/shoes", "-i")
    fresh.down()


@pytest.mark.parametrize("offset", [443, 53, 101])
async def test_a_taken_port_is_one_line_and_nothing_runs(fresh: Stack, offset: int) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("0.0.0.0", fresh.base + offset))
        taken.listen()
        done = fresh.hopstack("up", "--port-base", str(fresh.base))
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert f":{fresh.base + offset}" in line
    assert line.count("--port-base") == 1
    assert "--listen" not in line
    assert str(os.getpid()) in line
    assert fresh.pids() == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["up", "--prot-base", "1"], ["--prot-base", "--port-base"]),
        (["up", "--port-base", "many"], ["--port-base", "many"]),
        (["upp"], ["upp"]),
        (["logs", "edge-frs"], ["edge-frs"]),
    ],
)
def test_a_wrong_word_is_one_line(fresh: Stack, argv: list[str], words: list[str]) -> None:
    done = fresh.hopstack(*argv)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    for word in words:
        assert word in line


def test_a_missing_privilege_is_one_line(fresh: Stack) -> None:
    if os.geteuid() == 0:
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    else:
        prefix = []
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if limit <= 443:
        pytest.skip("this machine lets everybody have low ports")
    fresh.home.mkdir(parents=True)
    fresh.home.chmod(0o777)
    for parent in fresh.home.parents:
        if parent.owner() == "root" and parent != Path("/"):
            with contextlib.suppress(PermissionError):
                parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "stack", "up", "--port-base", "100"],
        env=fresh.env,
        cwd=fresh.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    assert "privilege" in line
    assert "1023" in line or "--port-base" in line


async def test_ctrl_c_in_a_terminal_stops_everything_with_status_0(fresh: Stack) -> None:
    """As under `make up`: the shell around it lives on and sees the status."""
    main, terminal = pty.openpty()
    shell = 'exec 2>&1; "$0" -m stack up --port-base "$1"; echo "status $?"'
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "sh", "-c", shell, sys.executable, str(fresh.base)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=fresh.env,
    )
    os.close(terminal)
    os.set_blocking(main, False)
    shown = b""

    def read() -> bytes:
        nonlocal shown
        with contextlib.suppress(BlockingIOError, OSError):
            shown += os.read(main, 65536)
        return shown

    await eventually(lambda: b"Ctrl-C stops the stack." in read(), within=60)
    assert b"--resolve shop.test:" in shown
    assert b"--doh-url" in shown
    os.write(main, b"\x03")
    await eventually(lambda: b"status 0" in read(), within=60)
    await eventually(lambda: process.poll() is not None)
    os.close(main)
    await eventually(lambda: fresh.pids() == [])


async def test_a_hop_that_cannot_start_is_named_with_the_end_of_its_log(fresh: Stack) -> None:
    fresh.env["DATABASE_URL"] = "sqlite:////proc/no/such/place/shop.db"
    done = fresh.hopstack("up", "--detach", "--port-base", str(fresh.base))
    assert done.returncode == 2
    assert "app-" in done.stderr
    assert "/proc/no/such/place" in done.stderr
    assert "Traceback" not in done.stderr
    await eventually(lambda: fresh.pids() == [])


async def test_a_hop_that_dies_is_restarted_and_a_crash_loop_ends(tmp_path: Path) -> None:
    with running_stack(tmp_path / "home") as stack:
        before = stack.hop("edge-nrt")["pid"]
        os.kill(before, signal.SIGKILL)
        await eventually(
            lambda: (hop := stack.hop("edge-nrt"))["state"] == "ready" and hop["pid"] != before, within=20, every=0.1
        )
        assert stack.hop("edge-nrt")["restarts"] == 1

        async def kill_again() -> bool:
            hop = stack.hop("edge-nrt")
            if hop["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(hop["pid"], signal.SIGKILL)
            return hop["state"] == "crash-loop"

        await eventually(kill_again, within=40, every=0.1)
        assert stack.hop("edge-nrt")["reason"] == "5 exits in a row: killed by SIGKILL"
        with pytest.raises(ConnectionRefusedError):  # a client is not left waiting
            socket.create_connection(("127.0.1.2", stack.https), 5)
        said = (stack.home / "logs" / "supervisor.log").read_text()
        assert "edge-nrt restarting: killed by SIGKILL" in said
        assert stack.hopstack("status").returncode == 1
        assert "HTTP" in stack.curl("/products/shoes", "-i")


def test_logs(stack: Stack) -> None:
    stack.curl("/products/shoes")
    one = stack.hopstack("logs", "edge-fra")
    assert one.returncode == 0
    assert any(json.loads(line)["hop"] == "edge-fra" for line in one.stdout.splitlines() if line.startswith("{"))
    every = stack.hopstack("logs")
    assert {line.split()[0] for line in every.stdout.splitlines()} >= set(NAMES)


async def test_following_a_log(stack: Stack) -> None:
    follower = subprocess.Popen(
        [sys.executable, "-m", "stack", "logs", "edge-nrt", "-f"],
        env=stack.env,
        stdout=subprocess.PIPE,
        # whoever runs the tests in the background may have it ignored, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert follower.stdout is not None
    try:
        os.set_blocking(follower.stdout.fileno(), False)
        await eventually(lambda: b"edge-nrt ready" in (follower.stdout.read() or b""), within=20)
        stack.curl("/products/shoes?followed", edge="127.0.1.2")
        await eventually(lambda: b"followed" in (follower.stdout.read() or b""), within=20)
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 0
        follower.stdout.close()


def test_ca(stack: Stack) -> None:
    path = stack.hopstack("ca", "path")
    assert path.stdout == f"{stack.ca}\n"
    assert path.stderr == ""
    told = stack.hopstack("ca")
    assert "update-ca-certificates" in told.stdout
    assert (stack.home / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_help_fits_a_terminal(fresh: Stack) -> None:
    for argv in ([], ["up"], ["status"], ["down"], ["logs"], ["ca"]):
        done = fresh.hopstack(*argv, "--help")
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= 80
