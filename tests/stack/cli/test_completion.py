"""Shell completion, as bash itself asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from stack.cli.complete import hops
from stack.cli.main import COMMANDS, cli

ALL = [name for section in COMMANDS.values() for name in section]


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """PATH with a `hopstack` that is this checkout's."""
    program = tmp_path / "bin" / "hopstack"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m stack "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def completed(path: str, *words: str, cwd: Path, home: str = "") -> list[str]:
    """What bash would offer for the last word."""
    script = (
        'eval "$(hopstack completion bash)" && complete -p hopstack >/dev/null || exit 9\n'
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=()\n"
        '_hopstack_completion hopstack; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environ = {**os.environ, "PATH": path, "PYTHONPATH": os.getcwd(), "HOPSTACK_HOME": home or str(cwd / "none")}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environ, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options(shell_path: str, tmp_path: Path) -> None:
    assert completed(shell_path, "hopstack", "", cwd=tmp_path) == ALL
    assert completed(shell_path, "hopstack", "st", cwd=tmp_path) == ["status"]
    assert "--port-base" in completed(shell_path, "hopstack", "up", "--po", cwd=tmp_path)
    assert completed(shell_path, "hopstack", "completion", "b", cwd=tmp_path) == ["bash"]
    assert "path" in completed(shell_path, "hopstack", "ca", "", cwd=tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert f"{shell}_complete" in done.output
    assert "hopstack" in done.output
    assert "%(" not in done.output
    if shell == "fish":
        assert 'string split --max 1 "," $completion' in done.output, "descriptions have commas"


def test_no_command_is_imported_for_its_name() -> None:
    code = (
        "import sys; from stack.cli.main import cli; import click\n"
        "names = [item.value for item in cli.shell_complete(click.Context(cli), '')]\n"
        "assert len(names) > 10, names\n"
        "assert not [name for name in sys.modules if name.startswith('stack.cli.') and name != 'stack.cli.main']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_hops_of_the_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path))
    assert hops(None, None, "") == []  # type: ignore[arg-type]
    import fcntl

    (tmp_path / "status.json").write_bytes(
        msgspec.json.encode({"pid": os.getpid(), "hops": [{"name": "edge-fra"}, {"name": "lb-a"}]})
    )
    with (tmp_path / "lock").open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert hops(None, None, "e") == ["edge-fra"]  # type: ignore[arg-type]
        assert hops(None, None, "") == ["edge-fra", "lb-a"]  # type: ignore[arg-type]
