"""`hopstack exec`: a command finds and trusts the stack, and the stack never outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.project import Project, ended

ASK = """
import os, urllib.request
for url in (os.environ["HOPSTACK_URL"], os.environ["HOPSTACK_EDGE"]):
    with urllib.request.urlopen(url + "/x", timeout=20) as answer:
        print(answer.status, answer.headers["via"])
"""
WAITS = """
import os, signal, sys, time
signal.signal(signal.SIG{name}, lambda *_: (print("told", flush=True), sys.exit(5)))
print("begun", flush=True)
time.sleep(60)
"""
SMALL = """
app = "application:app"
replicas = 1
edges.fra = {}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Without a state directory that is named: exec makes its own."""
    with ended(Project(tmp_path)) as project:
        project.config(SMALL)
        project.env.pop("HOPSTACK_HOME")
        project.env["TMPDIR"] = str(tmp_path)
        yield project


def executed(project: Project, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return project.hopstack("exec", *options, "--", *command)


def left(project: Project) -> list[int]:
    """Processes of stacks that were started below this test's directory."""
    mark = f"HOPSTACK_HOME={project.folder.parent}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def test_python_finds_and_trusts_it_by_name_and_by_address(project: Project) -> None:
    done = executed(project, sys.executable, "-c", ASK)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "200 1.1 proxy-1, 1.1 lb-a, 1.1 edge-fra\n" * 2
    assert done.stderr == ""
    await eventually(lambda: left(project) == [])
    assert sorted(path.name for path in project.folder.parent.iterdir()) == ["project"], "no state is left"
    assert not (project.folder / ".hopstack").exists()


@pytest.mark.needs("curl")
def test_curl_finds_it_in_two_ways(project: Project) -> None:
    script = (
        'curl -sSo /dev/null -w "%{http_code}\\n" --resolve "$HOPSTACK_RESOLVE" "$HOPSTACK_URL/x"; '
        'curl -sSo /dev/null -w "%{http_code}\\n" --doh-url "$HOPSTACK_DOH" "$HOPSTACK_URL/x"; exit 7'
    )
    done = executed(project, "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (7, "200\n200\n", "")


async def test_the_status_is_the_commands_own(project: Project) -> None:
    assert executed(project, "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL
    done = executed(project, "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "hopstack: exec: there is no command 'no-such-command'\n"
    await eventually(lambda: left(project) == [])


def test_what_is_there_and_cannot_be_run(project: Project) -> None:
    """As a shell says it: 126, where 127 is for what is not there."""
    script = project.folder / "script"
    script.write_text("exit 0\n")
    done = executed(project, str(script))
    assert done.returncode == 126
    assert done.stderr == f"hopstack: exec: {script}: cannot be executed; is it a program, and may you (chmod +x)?\n"


def test_standard_input_may_be_closed(project: Project) -> None:
    argv = [sys.executable, "-m", "stack", "exec", "--", "sh", "-c", "exit 5"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], env=project.env, cwd=project.cwd, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"")


@pytest.mark.parametrize("name", ["TERM", "INT"])
async def test_a_signal_is_the_commands_and_then_the_stack_goes(project: Project, name: str) -> None:
    argv = [sys.executable, "-m", "stack", "exec", "--", sys.executable, "-c", WAITS.format(name=name)]
    with subprocess.Popen(
        argv, env=project.env, cwd=project.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.readline() == b"told\n"
        assert process.wait(30) == 5
    await eventually(lambda: left(project) == [])


def command(project: Project) -> list[int]:
    found = []
    for pid in left(project):
        with contextlib.suppress(OSError):  # it has just ended
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                found.append(pid)
    return found


async def test_killed_it_takes_the_stack_along(project: Project) -> None:
    argv = [sys.executable, "-m", "stack", "exec", "--", "sh", "-c", "echo begun; exec sleep 60"]
    with subprocess.Popen(argv, env=project.env, cwd=project.cwd, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert len(left(project)) > 8
        await eventually(lambda: command(project) != [])  # the shell has become it
        pids = command(project)
        process.kill()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    await eventually(lambda: left(project) == [])


async def test_what_cannot_start_is_told_and_nothing_is_run(project: Project) -> None:
    done = executed(project, "echo", "run", options=("--no-config", "--app", "application:nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "application:nothing" in line
    project.config(SMALL.replace("replicas", "replicass"))
    done = executed(project, "echo", "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "stack.toml:3: replicass: there is no such key; did you mean replicas?\n"
    await eventually(lambda: left(project) == [])


def test_the_stack_that_runs_here_is_used_and_left(project: Project) -> None:
    project.env["HOPSTACK_HOME"] = str(project.home)
    project.up()
    done = executed(project, "sh", "-c", "echo $HOPSTACK_URL $HOPSTACK_HOME")
    assert done.stdout == f"{project.url('')} {project.home}\n"
    assert executed(project, sys.executable, "-c", ASK).returncode == 0
    assert project.hopstack("status").returncode == 0
