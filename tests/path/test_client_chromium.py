"""Chromium at the edge: a page of 60 parts over HTTP/2, a form, a range, a stream, events."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.conftest import find
from tests.support.site import EDGE, Site


@pytest.mark.needs("chromium", "curl")
async def test_a_page_with_sixty_parts_and_what_it_does(clients_site: Site, tmp_path: Path) -> None:
    stack = clients_site.stack
    stack.curl("/file", "-o", "/dev/null")  # stored: a miss is answered whole
    before = len(json.loads(stack.curl("/reports")))
    program = find("chromium")
    assert program is not None
    command = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--ignore-certificate-errors", f"--user-data-dir={tmp_path / 'profile'}",
        f"--host-resolver-rules=MAP site.test {EDGE}", "--remote-debugging-port=0", stack.url("/page"),
    ]  # fmt: skip
    with (tmp_path / "said").open("wb") as output:
        browser = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    reports: list[dict[str, object]] = []

    def reported() -> bool:
        reports[:] = json.loads(stack.curl("/reports"))[before:]
        return bool(reports)

    try:
        await eventually(reported, within=60, every=0.5)
    finally:
        browser.terminate()
        browser.wait(20)
    said = reports[0]
    assert "error" not in said, said
    assert said["parts"] == 60
    assert said["protocols"] == ["h2"]
    form = said["form"]
    assert isinstance(form, dict)
    assert (form["method"], form["text"]) == ("POST", "name=Ada&text=a+b%26c")
    assert said["range"] == [206, "bytes 1000-1999/1000000", 1000]
    assert said["streamed"] == 50_000
    assert isinstance(said["pieces"], int)
    assert said["pieces"] >= 3
    assert said["events"] == ["0", "1", "2"]
