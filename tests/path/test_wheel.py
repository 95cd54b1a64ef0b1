"""The wheel alone, in an empty directory, runs the default stack."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.stack import free_base

ROOT = Path(__file__).parents[2]


def test_the_wheel_runs_the_default_stack(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    [wheel] = tmp_path.glob("hopstack-*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        assert not any(name.startswith("tests/") for name in archive.namelist())
    environ = {**os.environ, "PYTHONPATH": str(site)}
    environ.pop("HOPSTACK_HOME", None)
    where = subprocess.run(
        [sys.executable, "-c", "import stack, appserver; print(stack.__file__, appserver.__file__)"],
        cwd=empty, env=environ, capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    assert where.count(str(site)) == 2
    base = free_base()

    def hopstack(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stack", *argv],
            cwd=empty, env=environ, capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip

    try:
        up = hopstack("up", "--detach", "--port-base", str(base))
        assert up.returncode == 0, up.stderr
        page = subprocess.run(
            [
                "curl", "-sS", "-i", "--max-time", "20", "--cacert", ".hopstack/ca.pem",
                "--resolve", f"shop.test:{base + 443}:127.0.1.1", f"https://shop.test:{base + 443}/products/shoes",
            ],
            cwd=empty, capture_output=True, text=True, check=False, timeout=30,
        ).stdout  # fmt: skip
        assert " 200" in page.splitlines()[0]
        assert "stylesheet" in page
    finally:
        assert hopstack("down").returncode == 0
