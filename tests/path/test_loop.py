"""A request that comes back to a hop is answered 508, and goes round no second time."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.wire import listener


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("cdn_edge", ["--origin"]),
        ("loadbalancer", ["--check", "none", "--backend"]),
        ("proxy", ["--health", "", "--upstream"]),
    ],
)
async def test_a_hop_that_is_its_own_next_hop(tmp_path: Path, kind: str, flags: list[str]) -> None:
    sock = listener()
    port = sock.getsockname()[1]
    sock.close()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "access.log"
    argv = [*(sys.executable, "-m", kind, "--name", "round", "--listen", url), *flags, url]
    with subprocess.Popen([*argv, "--access-log", str(log), "--state-dir", str(tmp_path)]) as process:
        try:
            found: list[urllib.error.HTTPError] = []

            def asked() -> bool:
                try:
                    urllib.request.urlopen(f"{url}/x", timeout=10)
                except urllib.error.HTTPError as error:
                    found.append(error)
                except OSError:
                    return False
                return True

            await eventually(asked, within=20)
            [answer] = found
            assert answer.code == 508
            assert "error=proxy_loop_detected" in answer.headers["proxy-status"]
            await eventually(lambda: log.exists() and log.read_text().count("\n") == 2)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            assert [line["status"] for line in lines] == [508, 508]
        finally:
            process.terminate()
