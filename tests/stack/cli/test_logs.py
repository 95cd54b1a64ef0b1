from __future__ import annotations

from pathlib import Path

import pytest

from stack.cli.main import main

EDGE = """\
edge-fra ready on https://127.0.1.1:8443 in 9 ms
{"time":"2026-01-31T12:00:01.000Z","hop":"edge-fra","path":"/one"}
{"time":"2026-01-31T12:00:03.000Z","hop":"edge-fra","path":"/three"}
"""
PROXY = """\
2026-01-31T12:00:02.000Z proxy-1 error it broke
Traceback (most recent call last):
  at this place
2026-01-31T12:00:04.000Z proxy-1 info after all
unfinished"""


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path))
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def two(logs: Path) -> Path:
    (logs / "edge-fra.log").write_text(EDGE)
    (logs / "proxy-1.log").write_text(PROXY)
    return logs


def test_all_hops_are_merged_by_time(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs"]) == 0
    edge, proxy = EDGE.splitlines(), PROXY.splitlines()
    assert capsys.readouterr().out.splitlines() == [
        *(f"edge-fra   {line}" for line in edge[:2]),
        *(f"proxy-1    {line}" for line in proxy[:3]),
        f"edge-fra   {edge[2]}",
        *(f"proxy-1    {line}" for line in proxy[3:]),
    ]


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["-n", "2"], ["proxy-1    2026-01-31T12:00:04.000Z proxy-1 info after all", "proxy-1    unfinished"]),
        (["-n", "0"], []),
        (["proxy-1", "--lines", "1"], ["unfinished"]),
        (["proxy-1", "-n", "100"], PROXY.splitlines()),
    ],
)
def test_the_last_lines(two: Path, capsys: pytest.CaptureFixture[str], argv: list[str], lines: list[str]) -> None:
    assert main(["logs", *argv]) == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_no_logs_is_said(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs"]) == 3
    assert capsys.readouterr().err == f"No logs in {logs}; `hopstack up` starts a stack.\n"
