"""Each process of a stack, started by hand from the one file: `python -m KIND --config stack.toml --name NAME`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan
from tests.support.stack import free_base

PATIENCE = 30.0


class Started:
    """Processes with one file and one state directory."""

    def __init__(self, home: Path, file: Path) -> None:
        self.home, self.file = home, file
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("HOPSTACK_")}
        self.env["HOPSTACK_HOME"] = str(home)
        self.env.pop("DATABASE_URL", None)
        self.processes: list[subprocess.Popen[bytes]] = []

    def command(self, kind: str, name: str, *flags: str) -> list[str]:
        return [sys.executable, "-m", kind, "--config", str(self.file), "--name", name, *flags]

    def start(self, kind: str, name: str, *flags: str) -> None:
        """Returns when it is bound and serves, which it says; ready it is when the hops behind it are."""
        log = self.home / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(self.command(kind, name, *flags), env=self.env, stdout=output, stderr=output)
        self.processes.append(process)
        deadline = time.monotonic() + PATIENCE
        while f"{name} ready on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"{name} is not ready: {log.read_text()}"
            time.sleep(0.02)

    def run(self, kind: str, name: str, *flags: str, **environ: str) -> tuple[int, list[str]]:
        """Exit status and what it said, of one that is not to start."""
        done = subprocess.run(
            self.command(kind, name, *flags), env={**self.env, **environ}, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr.splitlines()

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    home = tmp_path / "home"
    home.mkdir()
    one = Started(home, tmp_path / "stack.toml")
    yield one
    one.stop()


@pytest.mark.needs("curl")
def test_a_request_through_processes_that_know_only_the_file(started: Started) -> None:
    base = free_base()
    started.file.write_text(
        f"""
        port_base = {base}
        replicas = 1
        [edges.fra]
        [cache]
        size = "8M"
        [apps.1]
        workers = 0
        """
    )
    plan = make_plan(Document.read(started.file), kinds=registry, state_dir=started.home, environ={})
    started.start("dns_server", "dns-shop")
    for kind in ("appserver", "proxy", "loadbalancer", "cdn_edge"):
        for hop in plan.of(kind):
            started.start(kind, hop.name, *(["--access-log-skip=none"] if kind == "proxy" else []))
    edge = plan.hop("edge-fra").listen[0]
    ca = started.home / "ca.pem"
    done = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "20", "--cacert", str(ca), "--resolve",
         f"shop.test:{edge.port}:{edge.host}", f"https://shop.test:{edge.port}/products/shoes"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head = done.stdout.partition("<")[0].lower()
    assert " 200" in head.splitlines()[0]
    for name in ("edge-fra", "lb-a", "proxy-1"):
        assert name in head
    assert "/health" in (started.home / "proxy-1.log").read_text(), "a flag wins over the file"
    assert (started.home / "zones" / "shop.zone").exists()
    assert not (started.home / "zones" / "root.zone").exists(), "only its own"
    assert (started.home / "shop.db").exists()


def test_what_is_wrong_is_told_in_lines_and_status_2(started: Started) -> None:
    started.file.write_text("[edges.iad]\n")
    file = started.file
    for name, said in (
        ("edge-iax", f"--name edge-iax: {file} has no such process; did you mean edge-iad? there is edge-iad"),
        ("lb-a", f"--name lb-a: in {file} that is a loadbalancer, and this is cdn_edge; there is edge-iad"),
        ("", f"--name is needed with --config: which process of {file} is this? there is edge-iad"),
    ):
        assert started.run("cdn_edge", name) == (2, [f"hopstack: cdn_edge: {said}"])
    file.write_text("replcas = 1\n[edges.iad]\ncache.sise = 1\n")
    assert started.run("cdn_edge", "edge-iad") == (
        2,
        [
            f"{file}:1: replcas: there is no such key; did you mean replicas?",
            f"{file}:3: edges.iad.cache.sise: there is no such option; did you mean size?",
        ],
    )


def test_trust_in_everyone_is_refused_with_plain_flags_too(started: Started) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cdn_edge", "--listen", "http://127.0.0.1:0", "--origin", "http://127.0.0.1:1",
         "--trusted", "0.0.0.0/0"],
        env=started.env, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "0.0.0.0/0 is everyone, and any client could then say who it is" in done.stderr
