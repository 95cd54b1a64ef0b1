"""Chromium finds the site by DNS over HTTPS alone: no map of names, no /etc/hosts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.conftest import find
from tests.support.stack import Stack


@pytest.mark.needs("chromium")
async def test_chromium_asks_over_https(stack: Stack, tmp_path: Path) -> None:
    template = f"https://localhost:{stack.base + 54}/dns-query{{?dns}}"
    secure = {"dns_over_https": {"mode": "secure", "templates": template}}  # as the settings write it
    (tmp_path / "Local State").write_text(json.dumps(secure))
    program = find("chromium")
    assert program is not None
    command = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--ignore-certificate-errors", f"--user-data-dir={tmp_path}", "--dump-dom",
        stack.url("/products/shoes?chromium"),
    ]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        page = browser.communicate(timeout=60)[0]
    finally:
        browser.kill()
        browser.wait(20)
    assert "<title>Harbour walking shoes" in page

    def asked() -> set[str]:
        return {
            line["type"]
            for line in stack.log("resolver")
            if line.get("proto") == "https" and line["name"].rstrip(".").endswith(stack.name)
        }

    # for another port than 443 it asks for the service under that port (RFC 9460 §2.3)
    await eventually(lambda: {"A", "AAAA", "HTTPS"} <= asked())
