"""Which files are code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from watchfiles import Change

from stack.supervisor.watch import Code, told


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("app.py", True),
        ("package/views.py", True),
        ("templates/index.html", True),
        ("settings.toml", True),
        (".env", True),
        ("db.sqlite3", False),
        ("upload.json", False),
        ("app.py.swp", False),
        ("app.pyc", False),
        (".git/config.py", False),
        (".venv/lib/x.py", False),
        ("venv/lib/x.py", False),
        ("__pycache__/x.py", False),
        ("node_modules/p/x.py", False),
        ("home/zones/x.py", False),
        (".hopstack/x.py", False),
    ],
)
def test_what_counts(tmp_path: Path, path: str, counts: bool) -> None:
    assert Code(tmp_path / "home")(Change.modified, os.path.realpath(tmp_path / path)) is counts


def test_what_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told([str(tmp_path / "a.py")]) == "a.py"
    assert told([str(tmp_path / "a" / "b.py"), "c", "d"]) == os.path.join("a", "b.py") + " and 2 more"
