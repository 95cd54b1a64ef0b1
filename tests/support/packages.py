"""Packages that only a test needs: installed once into a directory outside the repository, kept for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest


def python_packages(*requirements: str) -> Path:
    """A directory for PYTHONPATH."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    return _kept(f"python{sys.version_info.major}.{sys.version_info.minor}", command, requirements)


def node_packages(*requirements: str) -> Path:
    """A directory with node_modules, for NODE_PATH."""
    if shutil.which("npm") is None:
        _absent("npm is not installed: apt-get install npm")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix"]
    return _kept("node", command, requirements) / "node_modules"


def _kept(kind: str, command: Sequence[str], requirements: Sequence[str]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hopstack-tests"
    key = hashlib.sha256(" ".join(sorted(requirements)).encode()).hexdigest()[:12]
    place = cache / f"{kind}-{key}"
    if place.is_dir():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    fresh = tempfile.mkdtemp(dir=cache)
    try:
        try:
            done = subprocess.run(
                [*command, fresh, *requirements], capture_output=True, text=True, timeout=100, check=False, cwd=fresh
            )
        except subprocess.TimeoutExpired:
            _absent(f"{' '.join(requirements)} could not be installed: the registry does not answer")
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
            _absent(f"{' '.join(requirements)} could not be installed: {last}")
        try:
            os.rename(fresh, place)
        except OSError:  # another run was faster
            if not place.is_dir():
                raise
        return place
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _absent(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
