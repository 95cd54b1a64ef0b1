"""What scanners say of the default profile: sslyze against Mozilla's intermediate configuration, and testssl.sh.

testssl.sh looks at everything in minutes; `make test` asks for what finishes in one, `make test-long` for all.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from stack.net import ca
from tests.cdn_edge.processes import cacheable, edge, origin
from tests.conftest import find

HARMLESS = {"OK", "INFO", "LOW", "WARN"}
OF_A_PRIVATE_CA = {"cert_revocation", "cert_chain_of_trust", "cert_trust"}
"""A CA of one machine publishes no list of revoked certificates, and no store of a browser has it."""


async def run(*command: str, within: float) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=within, check=False, stdin=subprocess.DEVNULL
    )


def port(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.mark.needs("sslyze")
@pytest.mark.parametrize("profile", ["intermediate", "modern"])
async def test_sslyze_finds_mozillas_profile(tmp_path: Path, profile: str) -> None:
    async with (
        origin(lambda _: cacheable(b"content")) as behind,
        edge(behind.url, "--tls-profile", profile, home=tmp_path, scheme="https") as front,
    ):
        done = await run(
            str(find("sslyze")), f"--mozilla_config={profile}", "--certinfo_ca_file", str(ca.ca_path(tmp_path)),
            f"localhost:{port(front.url)}", within=120,
        )  # fmt: skip
        assert "OK - Compliant" in done.stdout, done.stdout[-3000:]
        assert done.returncode == 0


@pytest.mark.needs("testssl")
async def test_testssl_finds_nothing_above_low(tmp_path: Path) -> None:
    checks = [] if os.environ.get("HOPSTACK_LONG") else ["--protocols", "--fs"]
    report = tmp_path / "report.json"
    async with (
        origin(lambda _: cacheable(b"content")) as behind,
        edge(behind.url, home=tmp_path / "home", scheme="https") as front,
    ):
        done = await run(
            str(find("testssl")), "--quiet", "--color", "0", "--ip", "127.0.0.1", "--nodns", "none", *checks,
            "--add-ca", str(ca.ca_path(tmp_path / "home")), "--jsonfile", str(report), f"localhost:{port(front.url)}",
            within=1200 if not checks else 240,
        )  # fmt: skip
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    findings = json.loads(report.read_text())
    found = {one["id"]: one["finding"] for one in findings}
    assert (found["TLS1_3"], found["TLS1_1"]) == ("offered with final", "not offered")
    bad = [one for one in findings if one["severity"] not in HARMLESS and one["id"] not in OF_A_PRIVATE_CA]
    assert bad == []
    assert len(findings) > 12
