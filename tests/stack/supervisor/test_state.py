"""The state directory: its lock, its status, its logs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.errors import ConfigError
from stack.supervisor import state as state_module
from stack.supervisor.state import StateDir


def test_the_lock_is_held_by_one_and_falls_with_it(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home")
    assert not state.locked()
    state.create()
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys; from pathlib import Path; from stack.supervisor.state import StateDir; "
            "s = StateDir(Path(sys.argv[1])); s.lock(); s.write_status({'pid': 77}); print('held', flush=True); sys.stdin.read()",
            str(state.path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert state.locked()
    with pytest.raises(ConfigError, match=r"runs here already \(supervisor 77\).*hopstack down"):
        state.lock()
    holder.kill()
    holder.wait(10)
    assert not state.locked()
    state.lock()
    assert state.locked()
    state.unlock()
    holder.stdout.close()
    assert holder.stdin is not None
    holder.stdin.close()


def test_status_is_whole_or_absent(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.status() == {}
    state.write_status({"pid": 1})
    assert state.status() == {"pid": 1}
    state.status_path.write_text("{torn")
    assert state.status() == {}


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="HOPSTACK_HOME"):
        StateDir(tmp_path / "file" / "home").create()


def test_where_state_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "elsewhere"))
    assert StateDir.chosen().path == tmp_path / "elsewhere"
    monkeypatch.delenv("HOPSTACK_HOME")
    monkeypatch.chdir(tmp_path)
    assert StateDir.chosen().path == tmp_path / ".hopstack"


def test_a_large_log_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "LOG_LIMIT", 10)
    state = StateDir(tmp_path)
    state.create()
    log = state.log("edge-fra")
    log.write_text("0123456789")
    assert state.rotate("edge-fra").exists()
    log.write_text("0123456789a")
    state.rotate("edge-fra")
    assert not log.exists()
    assert (state.logs / "edge-fra.log.1").read_text() == "0123456789a"


def test_last_lines(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.create()
    assert state.last_lines("edge-fra") == []
    state.log("edge-fra").write_text("".join(f"line {number}{os.linesep}" for number in range(5000)))
    assert state.last_lines("edge-fra", 2) == ["line 4998", "line 4999"]
