"""What a hop needs before it can be started, and what is told when it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.errors import ConfigError
from stack.hop import registry
from stack.plan.make import make_plan
from stack.supervisor import children
from stack.supervisor.reload import Outcome
from stack.supervisor.state import StateDir


@pytest.mark.parametrize("path", ["/home/ca-key.pem", None])
def test_a_full_disk_is_told_in_a_line(tmp_path: Path, path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr("stack.net.ca.ensure", full)
    with pytest.raises(ConfigError) as raised:
        children.prepare(StateDir(tmp_path), ())
    assert str(raised.value) == f"{path or tmp_path}: No space left on device"


def test_a_stack_that_stops_is_not_said_to_run_on() -> None:
    assert Outcome("stopping").lines() == ["The stack was told to stop; nothing was changed."]
    assert not Outcome("stopping").ok


def test_files_are_utf8_whatever_the_locale_is(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from stack.supervisor.children import write; write(pathlib.Path(sys.argv[1]), 'b\\xfc')"
    )
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "zone")], env=environ, check=True)
    assert (tmp_path / "zone").read_bytes() == b"b\xc3\xbc"


def test_a_certificate_is_made_anew_when_it_is_due(tmp_path: Path) -> None:
    plan = make_plan(None, kinds=registry, state_dir=tmp_path, environ={})
    state, edge = StateDir(tmp_path), plan.hop("edge-fra")
    now = time.time()
    pair = children.certificate(state, edge, now)
    assert pair is not None
    first = pair[0].read_bytes()
    assert children.certificate(state, edge, now + 59 * 86400) == pair
    assert pair[0].read_bytes() == first
    assert children.certificate(state, edge, now + 61 * 86400) == pair
    assert pair[0].read_bytes() != first
    assert children.certificate(state, plan.hop("lb-a")) is None
