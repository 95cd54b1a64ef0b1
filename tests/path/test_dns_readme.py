"""dns_server/README.md, word by word: its commands run as they stand there, in a network where its ports are free."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dns_server.config import Config
from stack.config.flags import options
from stack.path import STEPS
from tests.support.netns import Namespace

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "dns_server" / "README.md").read_text()


def block(heading: str) -> str:
    """The indented lines of a section."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(line.removeprefix("    ") for line in section.splitlines() if line.startswith("    "))


READY = """for try in $(seq 200); do
  dig +time=1 +tries=1 @127.0.0.1 -p 5300 . SOA >/dev/null && dig +time=1 +tries=1 @127.0.0.1 -p 5301 . SOA >/dev/null && break
  sleep 0.1
done"""
"""In place of two seconds of sleep: how long a start takes is the machine's."""


@pytest.mark.needs("unshare", "ip", "dig")
def test_try_it(tmp_path: Path) -> None:
    namespace = Namespace(tmp_path)
    try:
        script = block("Try it").replace("/tmp/", f"{tmp_path}/")
        assert "\nsleep 2\n" in script
        script = script.replace("sleep 2", READY)
        said = namespace.run(
            "bash", "-c", f"cd {ROOT}; export HOPSTACK_HOME={tmp_path}/home; {script}\nwait", timeout=60
        )
    finally:
        namespace.close()
    records = re.findall(r"^www\.test\.\s+(\d+)\s+IN\s+A\s+192\.0\.2\.1$", said, re.MULTILINE)
    assert len(records) == 2, said
    assert "flags: qr aa; QUERY: 1, ANSWER: 1" in said
    assert '1 . alpn="h2" port=8443' in said
    assert "flags: qr rd ra; QUERY: 1, ANSWER: 1" in said


def test_every_option_exists() -> None:
    known = {option.flag for option in options(Config)}
    named = set(re.findall(r"`(--[a-z-]+)", TEXT)) | set(re.findall(r"dns_server.*?(--[a-z-]+)", TEXT))
    assert len(named) > 20
    assert named - known - {"--help"} == set()


def test_the_words_are_those_of_the_code() -> None:
    for step, words in STEPS["dns_server"].items():
        row = re.search(rf"^\| `{step}` \| (.*) \|$", TEXT, re.MULTILINE)
        assert row is not None, step
        assert set(re.findall(r"`([\w-]+)`", row[1])) == set(words), step
