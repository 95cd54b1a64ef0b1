"""The options of `hopstack trace`, without a stack."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from stack.cli.main import main

NOWHERE = "http://127.0.0.1:1/"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "home"))
    return tmp_path


USAGE = [
    (["ftp://x/"], "ftp://x/: ftp is not traced; wanted http, https, ws or wss"),
    ([NOWHERE, "-H", "broken"], "-H 'broken': wanted 'NAME: VALUE', such as 'Accept-Language: de'"),
    ([NOWHERE, "-H", "A: b\nc"], "-H 'A: b\\nc': wanted 'NAME: VALUE', such as 'Accept-Language: de'"),
    ([NOWHERE, "-H", "Upgrade: x"], "-H 'Upgrade: x': Upgrade is the connection's own; it cannot be given"),
    ([NOWHERE, "-d", "@/nowhere"], "-d @/nowhere: No such file or directory"),
    ([NOWHERE, "-o", "/nowhere/x"], "-o /nowhere/x: No such file or directory"),
    ([NOWHERE, "--har", "/nowhere/x"], "--har /nowhere/x: No such file or directory"),
    (["https://127.0.0.1:1/", "--cacert", "/nowhere"], "--cacert /nowhere: No such file or directory"),
    ([NOWHERE, "--cacert", "/nowhere"], "--cacert: http://127.0.0.1:1/ is without TLS"),
    ([NOWHERE, "--json", "-o", "-"], "--json is all there is on standard output: not together with -v or -o -"),
    ([NOWHERE, "--json", "-v"], "--json is all there is on standard output: not together with -v or -o -"),
    ([NOWHERE, "-X", "GE T"], "-X GE T: a method is letters, digits and -"),
]


@pytest.mark.parametrize(("argv", "said"), USAGE, ids=[" ".join(case[0]) for case in USAGE])
def test_a_users_fault_is_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *argv]) == 2
    assert capsys.readouterr() == ("", f"hopstack: {said}\n")


@pytest.mark.parametrize("argv", [["--repeat", "0"], ["--timeout", "0"], ["--timeout", "soon"], []])
def test_a_wrong_option_leads_to_the_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *([NOWHERE] if argv else []), *argv]) == 2
    assert capsys.readouterr().err.endswith("See `hopstack trace --help`.\n")


def test_a_path_of_no_stack(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "/x"]) == 3
    said = f"No stack runs in {home / 'home'}; `hopstack up` starts one. Else give a whole URL.\n"
    assert capsys.readouterr() == ("", said)


def test_an_edge_of_no_stack(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", NOWHERE, "--edge", "nrt"]) == 2
    assert capsys.readouterr().err == (
        f"hopstack: --edge nrt: no stack runs in {home / 'home'}; `hopstack up` starts one\n"
    )


def test_what_there_was_is_shown_and_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
        har = home / "x.har"
        assert main(["trace", url, "--har", str(har), "--repeat", "3"]) == 5
        out, err = capsys.readouterr()
        assert (err, out.count("--- request 1 of 3 ---"), "request 2" in out) == ("", 1, False)
        assert "connection refused: nothing listens there" in out
        (entry,) = json.loads(har.read_text())["log"]["entries"]
        assert entry["response"]["status"] == 0
        assert main(["trace", url, "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["requests"][0]["failure"] == "connection"


def test_nobody_reads_the_state_of_a_stack_that_is_not_there(home: Path) -> None:
    main(["trace", NOWHERE])
    assert not (home / "home").exists()
