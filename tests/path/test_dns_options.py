"""dig and kdig show what the options say: who answered, the cookie, and why a question was refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dns_probes import Address, probed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with probed("hopstack", tmp_path_factory.mktemp("dns"), "--version 2.0 --rrl-rate 1000") as address:
        yield address


def run(program: str, address: Address, *arguments: str) -> str:
    command = [program, f"@{address[0]}", "-p", str(address[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


@pytest.mark.needs("dig")
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig(server: Address, transport: str) -> None:
    said = run("dig", server, transport, "+norecurse", "+nsid", "+padding=64", "www.example.test", "A")
    assert "status: NOERROR" in said
    assert '("ours")' in said
    assert re.search(r"; COOKIE: [0-9a-f]{48} \(good\)", said)
    refused = run("dig", server, transport, "+norecurse", "www.example.org")
    assert "status: REFUSED" in refused
    assert "EDE: 20 (Not Authoritative): (no zone of this server has the name)" in refused


@pytest.mark.needs("dig")
def test_dig_asks_in_class_chaos(server: Address) -> None:
    for name, answer in (("id.server", '"ours"'), ("hostname.bind", '"ours"'), ("version.bind", '"2.0"')):
        assert run("dig", server, "+short", "CH", "TXT", name).strip() == answer


@pytest.mark.needs("dig")
def test_dig_asks_about_its_cookie_alone(server: Address) -> None:
    """RFC 7873 §5.4: no question at all."""
    said = run("dig", server, "+header-only", "+cookie", "+norecurse")
    assert "status: NOERROR" in said
    assert "QUERY: 0, ANSWER: 0" in said
    assert "(good)" in said


@pytest.mark.needs("kdig")
def test_kdig(server: Address, tmp_path: Path) -> None:
    said = run("kdig", server, "+norec", "+nsid", "+cookie", "+tcp", "+keepopen", "www.example.test", "A")
    assert "status: NOERROR" in said
    assert '"ours"' in said
    assert re.search(r"COOKIE: [0-9A-Fa-f]{16}", said)
    assert "20 (Not Authoritative)" in run("kdig", server, "+norec", "+edns", "www.example.org")
