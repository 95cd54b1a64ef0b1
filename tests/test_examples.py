"""The examples: the tests of each find the bugs of the version that has them, and pass on the mended one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"

FOUND = {
    "test_a_greeting_is_for_one_pair_of_eyes": '"Ada Lovelace" is the other user\'s, and stands in the content',
    "test_an_invitation_leads_to_https": "assert 'href=\"https://app.test:",
    "test_a_visitor_is_who_asked_and_not_the_hop_before": "You come from 127.0.2.1.",
    "test_a_session_is_known_to_every_instance": "does not know the session",
    "test_a_session_outlives_the_instance_that_made_it": "Welcome, stranger",
}
"""What each test of the guest book says of the buggy one."""


def pytest_on(version: str, *argv: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-o", f"pythonpath={version}", "-p", "no:cacheprovider", "-vv", *argv],
        cwd=EXAMPLES / "guestbook",
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_mended_guest_book_passes_its_tests() -> None:
    done = pytest_on("fixed", "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(FOUND)} passed" in done.stdout


def test_every_bug_is_found_and_explained() -> None:
    done = pytest_on("buggy", "-W", "error")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{len(FOUND)} failed" in done.stdout
    reports = re.split(r"\n_+ (test_\w+) _+\n", done.stdout)
    found = dict(zip(reports[1::2], reports[2::2], strict=True))
    assert found.keys() == FOUND.keys()
    for test, said in FOUND.items():
        assert said in found[test], found[test]
        assert "webstack: what the requests went through" in found[test]
        assert "edge-fra" in found[test]


def test_what_the_tutorial_shows_is_there() -> None:
    """Every line of code in the tutorial stands in the example; what it shows of the output comes out of it."""
    lines = re.findall(r"^    (\S.*)$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    sources = "\n".join(path.read_text() for path in EXAMPLES.rglob("*.py"))
    output = pytest_on("buggy").stdout
    code = [line for line in lines if not line.startswith(("$ ", "examples/", "guestbook/"))]
    assert len(code) > 15
    for line in code:
        shown, cut, _ = line.partition(" ...")
        assert " ".join(shown.split()) in " ".join((output if cut else sources).split()), line
