from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.cli import control
from stack.cli.main import main
from stack.cli.up import say
from stack.supervisor.state import StateDir


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "a home"))
    state = StateDir.chosen()
    state.create()
    return state


@pytest.fixture
def bystander(home: StateDir) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the number of the supervisor of the run before."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as process:
        home.write_status({"pid": process.pid, "phase": "ready", "hops": []})
        yield process
        process.kill()


def test_down_ends_the_holder_of_the_lock_and_nobody_else(
    home: StateDir, bystander: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import time; from stack.supervisor.state import StateDir; s = StateDir.chosen(); s.lock(); "
        "print('held', flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert main(["status"]) == 3
        assert "about to start" in capsys.readouterr().err
        assert main(["down"]) == 0
        assert capsys.readouterr().out == "The stack is down.\n"
        assert holder.wait(10) == -15
    assert bystander.poll() is None


def test_down_says_what_it_waits_for(
    home: StateDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "QUIET", 0.1)
    program = (
        "import signal, sys, time; from stack.supervisor.state import StateDir; s = StateDir.chosen(); s.lock(); "
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.6), sys.exit())); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert main(["down"]) == 0
    told = capsys.readouterr()
    assert told.out == "The stack is down.\n"
    assert told.err.count("has until timeouts.drain") == 1


def test_what_is_copied_from_ca_is_quoted(home: StateDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca"]) in (0, None)
    told = capsys.readouterr().out
    path = home.path / "ca.pem"
    assert f"curl --cacert {shlex.quote(str(path))} ..." in told
    [line] = [line for line in told.splitlines() if "sudo cp" in line]
    assert str(path) in shlex.split(line.split("sudo", 1)[1])


def test_no_summary_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert "Start the stack: the demo shop, or your own app." in told
    assert not [line for line in told.splitlines() if line.endswith("...") and "COMMAND" not in line]


def test_nobody_reads_any_more() -> None:
    """As `up | head -1`: saying something neither raises nor makes the end a failure."""
    program = "from stack.cli.up import say\nfor _ in range(3): say('x' * 100_000, err=False); say('y' * 100_000)"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 0


def test_somebody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    say("one")
    say("two", err=False)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("two\n", "one\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("odd\nthing"), "hopstack: RuntimeError: odd thing; HOPSTACK_LOG=debug shows where\n"),
        (KeyError(), "hopstack: KeyError; HOPSTACK_LOG=debug shows where\n"),
        (OSError(28, "No space left on device", "/s/ca.pem"), "hopstack: /s/ca.pem: No space left on device; HOPSTACK_LOG=debug shows where\n"),
    ],
)  # fmt: skip
def test_what_nobody_foresaw_is_one_line(
    error: Exception, said: str, home: StateDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> int:
        raise error

    monkeypatch.setattr("stack.cli.control.show_status", fails)
    monkeypatch.delenv("HOPSTACK_LOG", raising=False)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == said
    monkeypatch.setenv("HOPSTACK_LOG", "debug")
    assert main(["status"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "in fails" in told


def test_a_working_directory_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.delenv("HOPSTACK_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["status"]) == 2
    assert capsys.readouterr().err == "hopstack: the working directory was deleted; change to another\n"


@pytest.mark.parametrize("argv", [["config", "schema", "x"], ["restart"], ["upp"]])
def test_a_wrong_word_is_a_whole_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    told, _, see = capsys.readouterr().err.partition(" See `hopstack")
    assert told.endswith((".", "?"))
    assert see.endswith("--help`.\n")
