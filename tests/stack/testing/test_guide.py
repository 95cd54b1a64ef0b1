"""docs/testing.md and the README's section, word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def pytest_in(path: Path) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"],
        cwd=path,
        env={**inherited, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr


def test_every_block_of_the_guide_runs_as_it_stands(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "testing.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    tests = 0
    for number, (kind, text) in enumerate(blocks):
        if kind == "ini":
            (tmp_path / "pytest.ini").write_text(text)
        elif text.startswith("# shop.py"):
            (tmp_path / "shop.py").write_text(text)
        else:
            (tmp_path / f"test_{number}.py").write_text(text)
            tests += len(re.findall(r"^(?:async )?def test_", text, re.MULTILINE))
    out = pytest_in(tmp_path)
    assert f"{tests} passed" in out or f"{tests - 1} passed, 1 skipped" in out, out


def test_the_readmes_section(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()

    def code(section: str, begins: str) -> str:
        text = readme.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        block = next(part for part in re.findall(r"(?:^    .*\n|^\n)+", text, re.MULTILINE) if begins in part)
        return re.sub(r"^    ", "", block[block.index(f"    {begins}") :], flags=re.MULTILINE)

    (tmp_path / "hello.py").write_text(code("Your own app", "async def app").partition("\nhopstack")[0])
    (tmp_path / "test_hello.py").write_text(code("In your tests", "import pytest").partition("\npython -m")[0])
    out = pytest_in(tmp_path)
    assert "1 passed" in out, out
