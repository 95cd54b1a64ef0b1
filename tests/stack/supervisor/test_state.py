"""The state directory: its lock, its status, its logs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
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
            "s = StateDir(Path(sys.argv[1])); s.lock(); print('held', flush=True); sys.stdin.read()",
            str(state.path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert state.locked()
    assert state.holder() == holder.pid
    with pytest.raises(ConfigError, match=rf"runs here already \(supervisor {holder.pid}\).*hopstack down"):
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


def test_the_status_of_the_run_before_is_none_of_this_one(tmp_path: Path) -> None:
    """Between its lock and its first status, nobody may take the old one's process for the supervisor."""
    state = StateDir(tmp_path)
    state.write_status({"pid": 77, "phase": "ready"})
    assert state.running() == {}
    state.lock()
    assert state.holder() == os.getpid()
    assert state.running() == {}
    state.write_status({"pid": os.getpid()})
    assert state.running() == {"pid": os.getpid()}
    state.unlock()
    assert state.holder() is None
    assert state.running() == {}


def test_who_only_looks_does_not_keep_a_supervisor_from_starting(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stack.supervisor.state import StateDir; "
        "s = StateDir(Path(sys.argv[1])); s.locked(); print('looking', flush=True)\nwhile True: s.locked()"
    )
    state = StateDir(tmp_path)
    state.lock()
    state.unlock()
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as looker:
        try:
            assert looker.stdout is not None
            assert looker.stdout.readline() == b"looking\n"
            deadline = time.monotonic() + 0.7
            while time.monotonic() < deadline:
                state.lock()
                state.unlock()
        finally:
            looker.kill()


def test_a_directory_that_was_deleted_is_noticed(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home")
    assert not state.removed()
    state.create()
    state.lock()
    assert not state.removed()
    shutil.rmtree(state.path)
    assert state.removed()
    state.create()
    (state.path / "lock").write_text("")
    assert state.removed(), "another one is in its place"
    state.unlock()


def test_a_status_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.status_path.mkdir()
    with pytest.raises(OSError, match="directory"):
        state.write_status({"pid": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_log_that_grows_is_cut_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "LOG_LIMIT", 10)
    state = StateDir(tmp_path)
    state.create()
    state.log("small").write_text("0123456789")
    with state.log("edge-fra").open("ab", buffering=0) as writer:
        writer.write(b"0123456789a\n")
        state.trim()
        writer.write(b"on\n")
    assert state.log("edge-fra").read_bytes() == b"on\n"
    assert (state.logs / "edge-fra.log.1").read_bytes() == b"0123456789a\n"
    assert state.log("small").read_text() == "0123456789"


def test_a_directory_that_is_a_file_or_whose_lock_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not StateDir(tmp_path / "file").locked()
    with pytest.raises(ConfigError, match="file: File exists; name another state directory in HOPSTACK_HOME"):
        StateDir(tmp_path / "file").create()
    (tmp_path / "home" / "lock").mkdir(parents=True)
    with pytest.raises(ConfigError, match="lock: Is a directory; name another state directory in HOPSTACK_HOME"):
        StateDir(tmp_path / "home").lock()


def test_somebody_elses_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path / "lock"))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ConfigError, match="lock: Permission denied; name another state directory"):
        StateDir(tmp_path).locked()


def test_a_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\\xff: a name that is not UTF-8"):
        StateDir(tmp_path / os.fsdecode(b"a\xff")).create()


def test_git_takes_nothing_of_a_directory_that_was_made_for_the_state(tmp_path: Path) -> None:
    StateDir(tmp_path / ".hopstack").create()
    assert (tmp_path / ".hopstack" / ".gitignore").read_text() == "*\n"
    StateDir(tmp_path).create()
    assert not (tmp_path / ".gitignore").exists(), "it was there before, for other things too"
