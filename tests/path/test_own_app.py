"""`hopstack up` in front of what is the user's own: an app, a server, a directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.load import Load
from tests.support.project import Project, ended


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ended(Project(tmp_path)) as project:
        yield project


@contextlib.contextmanager
def foreground(project: Project, *argv: str) -> Iterator[Path]:
    """`up` without --detach; what it says is in the file."""
    said = project.folder.parent / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stack", "up", "--port-base", str(project.base), *argv],
            env=project.env,
            cwd=project.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield said
    finally:
        process.terminate()
        assert process.wait(60) == 0, said.read_text()


def test_an_app_by_flags(project: Project) -> None:
    """The site is called as the directory; a module of the user's that is called like one of ours is no hindrance."""
    (project.folder / "proxy.py").write_text("raise SystemExit('not this one')")
    done = project.hopstack(
        *("up", "--detach", "--app", "application:app", "--replicas", "2", "--edges", "iad"),
        *("--port-base", str(project.base)),
    )
    assert done.returncode == 0, done.stderr
    url = f"https://project.test:{project.https}/"
    assert f"--resolve project.test:{project.https}:127.0.1.1 {url}\n" in done.stdout
    assert "beginning at edge-iad" in done.stdout
    assert [hop["name"] for hop in project.status()["hops"] if hop["kind"] != "dns_server"] == [
        *("edge-iad", "lb-a", "proxy-1", "proxy-2", "app-1", "app-2")
    ]
    pids = {project.answer(f"/{number}")["pid"] for number in range(4)}
    assert len(pids) == 2
    assert project.answer()["scheme"] == "https"
    assert project.status()["config"] is None
    # the CA of before does for another name too
    project.down()
    project.up("--app", "application:app", "--replicas", "1", "--name", "other.test")
    project.name = "other.test"
    assert project.answer()["version"] == "one"


async def test_an_origin_that_is_not_up_yet(project: Project) -> None:
    port = project.base + 300
    with foreground(project, "--origin", f"http://127.0.0.1:{port}", "--edges", "fra") as said:
        await eventually(lambda: "Nobody answers at" in said.read_text(), within=60)
        assert f"Nobody answers at http://127.0.0.1:{port} yet" in said.read_text()
        assert "Ctrl-C stops the stack." in said.read_text()
        assert project.curl("/", "-o", "/dev/null", "-w", "%{http_code}") in ("502", "503")
        (project.folder / "index.html").write_text("mine")
        with subprocess.Popen(
            [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
            cwd=project.folder,
            stderr=subprocess.DEVNULL,
        ) as server:
            await eventually(lambda: project.curl("/") == "mine", within=30, every=0.2)
            server.terminate()


async def test_changed_code_is_served_without_losing_a_request(project: Project) -> None:
    (project.folder / "node_modules").mkdir()
    with foreground(project, "--app", "application:app", "--replicas", "2", "--edges", "fra", "--reload") as said:
        await eventually(lambda: "Ctrl-C stops the stack." in said.read_text(), within=60)
        supervisor, hops = project.status()["pid"], project.pid_of()
        async with Load("127.0.1.1", project.base + 80, project.name, kept=3, new=1) as load:
            await eventually(lambda: load.answered > 20, within=30)
            (project.folder / "node_modules" / "passed_over.py").write_text("")
            (project.folder / "data.sqlite").write_text("")
            project.code(one="two")
            await eventually(lambda: "application.py changed: app-1, app-2 replaced" in said.read_text(), within=30)
            project.code("import nosuchmodule")
            await eventually(lambda: "the old code serves on" in said.read_text(), within=30)
            answered = load.answered
            await eventually(lambda: load.answered > answered + 20, within=30)
            assert {project.answer(f"/{number}")["version"] for number in range(4)} == {"two"}
            project.code(one="three")
            await eventually(lambda: said.read_text().count(" replaced in ") == 2, within=30)
        assert load.lost == []
        assert {project.answer(f"/{number}")["version"] for number in range(4)} == {"three"}
        lines = [line for line in said.read_text().splitlines() if " changed" in line]
        assert len(lines) == 3, lines
        assert "nosuchmodule" in lines[1]
        assert (project.status()["pid"], project.pid_of()) == (supervisor, hops), "workers are replaced, not hops"


async def test_an_app_that_died_of_its_code_comes_back_with_mended_code(project: Project) -> None:
    with foreground(project, "--app", "application:app", "--replicas", "2", "--edges", "fra", "--reload") as said:
        await eventually(lambda: "Ctrl-C stops the stack." in said.read_text(), within=60)
        (project.folder / "application.py").write_text("import nosuchmodule")
        await eventually(lambda: "the old code serves on" in said.read_text(), within=30)
        os.kill(project.hop("app-1")["pid"], signal.SIGKILL)
        await eventually(lambda: project.hop("app-1")["state"] == "failed", within=30)
        project.code(one="two")
        await eventually(lambda: "application.py changed: app-2 replaced" in said.read_text(), within=30)
        await eventually(lambda: project.hop("app-1")["state"] == "ready", within=30)
        await eventually(lambda: project.hop("proxy-1")["state"] == "ready", within=30)
        assert {project.answer(f"/{number}")["version"] for number in range(8)} == {"two"}


async def test_code_that_is_changed_while_the_apps_start_is_served(project: Project) -> None:
    with foreground(project, "--app", "application:app", "--replicas", "1", "--edges", "fra", "--reload") as said:
        await eventually(lambda: "Watching" in said.read_text(), within=60)
        await eventually(lambda: "app-1" in project.pid_of(), within=30)
        project.code(one="two")
        await eventually(lambda: "application.py changed: app-1 replaced" in said.read_text(), within=60)
        assert project.answer()["version"] == "two"


def test_reload_without_an_app_is_refused(project: Project) -> None:
    for detach in ([], ["--detach"]):
        done = project.hopstack("up", "--origin", "http://127.0.0.1:1", "--reload", *detach)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "--reload" in line


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--app", "application:nothing"], ["application:nothing", "there is: "]),
        (["--app", "aplication:app"], ["no module 'aplication'", "near it: application"]),
        (["--app", "application:app", "--origin", "http://127.0.0.1:3000"], ["origin", "app"]),
        (["-c", "nowhere.toml"], ["nowhere.toml", "No such file", "hopstack init"]),
        (["-c", "stack.toml", "--no-config"], ["--no-config"]),
    ],
)
async def test_what_cannot_be_is_a_line(project: Project, argv: list[str], words: list[str]) -> None:
    done = project.hopstack("up", *argv, "--replicas", "1", "--edges", "fra", "--port-base", str(project.base))
    assert done.returncode == 2, done.stdout
    line = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in line
    assert "Traceback" not in done.stderr
    await eventually(lambda: project.pids() == [])


def test_the_file_of_the_directory_is_used_and_flags_win(project: Project) -> None:
    project.config('app = "application:app"\nreplicas = 3\nedges.fra = {}\nname = "file.test"\n')
    project.up("--replicas", "1")
    status = project.status()
    assert status["config"] == str(project.folder / "stack.toml")
    assert status["name"] == "file.test"
    assert sum(hop["kind"] == "appserver" for hop in status["hops"]) == 1
    # and flags are remembered
    project.config('app = "application:app"\nreplicas = 2\nedges.fra = {}\nname = "file.test"\n')
    done = project.hopstack("reload")
    assert (done.returncode, done.stdout) == (0, "Nothing has changed.\n")


def test_faults_of_the_file_are_told_before_anything_starts(project: Project) -> None:
    project.config("replicass = 3\n[edges.fra]\ncahce.size = 1\n")
    for detach in ([], ["--detach"]):
        done = project.hopstack("up", *detach, "--port-base", str(project.base))
        assert done.returncode == 2
        assert [line.partition("stack.toml:")[2][:1] for line in done.stderr.splitlines()] == ["1", "3"]
    assert not (project.home / "status.json").exists()


async def test_a_closed_terminal_ends_the_stack(project: Project) -> None:
    """SIGHUP is a wish to reload elsewhere, as of any server; from a terminal that has gone it is the end."""
    main, terminal = pty.openpty()
    argv = [sys.executable, "-m", "stack", "up", "--app", "application:app", "--replicas", "1", "--edges", "fra"]
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *argv, "--port-base", str(project.base)],
        stdin=terminal, stdout=terminal, stderr=terminal, env=project.env, cwd=project.cwd,
    )  # fmt: skip
    os.close(terminal)
    os.set_blocking(main, False)
    shown = b""

    def read() -> bytes:
        nonlocal shown
        with contextlib.suppress(BlockingIOError, OSError):
            shown += os.read(main, 65536)
        return shown

    await eventually(lambda: b"Ctrl-C stops the stack." in read(), within=60)
    os.kill(project.status()["pid"], signal.SIGHUP)
    await eventually(lambda: b"reload: Nothing has changed." in read(), within=30)
    os.close(main)
    await eventually(lambda: project.pids() == [], within=30)
    await asyncio.to_thread(process.wait, 30)
