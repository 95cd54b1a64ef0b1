"""`hopstack explain`: its options, and what it prints of a record."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cdn_edge.explain import asked
from stack.cli import explain_output
from stack.cli.main import main
from tests.cdn_edge.lab import Lab
from tests.cdn_edge.ranged import File, counted

URL = "https://shop.test/a"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPSTACK_HOME", str(tmp_path / "home"))
    return tmp_path


USAGE = [
    ([URL, "--admin", "127.0.0.1:8012"], "--admin '127.0.0.1:8012': write it as http://127.0.0.1:8012"),
    ([URL, "--admin", "http://127.0.0.1"], "--admin 'http://127.0.0.1': write it as http://127.0.0.1:8012"),
    ([URL, "--admin", "http://127.0.0.1:x"], "--admin 'http://127.0.0.1:x': write it as http://127.0.0.1:8012"),
    ([URL, "--admin", "http://127.0.0.1:1", "--edge", "fra"], "--edge is one of the running stack's"),
    ([URL, "--admin", "http://127.0.0.1:1", "-H", "broken"], "-H 'broken': write it as 'Name: value'"),
]


@pytest.mark.parametrize(("argv", "said"), USAGE, ids=[" ".join(case[0][1:]) for case in USAGE])
def test_a_users_fault_is_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/a"]) == 3
    assert "hopstack up" in capsys.readouterr().err


def printed(lab: Lab, **given: Any) -> str:
    question = {"url": URL, "method": "GET", "headers": [], **given}
    record = json.loads(json.dumps(asdict(lab.edge.explaining.record(asked(question)))))
    return explain_output.told("edge-fra", record, question)


async def test_a_hit() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=600\nAge: 12"))
    await lab.ask("/a")
    lab.pass_time(8)
    assert (
        printed(lab)
        == """\
edge-fra: HIT, fresh for another 9 min 40 s
  It is stored and fresh.

  Request    GET https://shop.test/a
  Key        https://shop.test/a
  Stored     1 response
                STATUS  AGE   TTL         SIZE  SELECTED BY
             *  200     20 s  9 min 40 s  7 B   any request
  Because    its age, 20 s, is below its lifetime, 600 s
  Freshness  lifetime 600 s: max-age in Cache-Control (max-age=600)
             age 20 s = 12 s when it came (Age, Date, the time it took) + 8 s
             here
             fresh for another 580 s"""
    )


async def test_the_nearest_variant_as_a_diff() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Language"))
    await lab.ask("/a", "Accept-Language: de")
    said = printed(lab, headers=[["Accept-Language", "en"]])
    assert said.startswith("edge-fra: MISS, vary-miss\n")
    assert "  Nearest    the first; differs in accept-language\n" in said
    assert "             - accept-language: de;q=1000   (stored)\n" in said
    assert "             + accept-language: en;q=1000   (asked)\n" in said
    assert "  See        docs/why-not-cached.md#lookup-vary-miss" in said


async def test_what_was_not_stored() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: private, max-age=60"))
    await lab.ask("/a")
    await lab.ask("/a")
    lab.pass_time(300)
    said = printed(lab)
    assert "  Not stored 5 min ago with 200, 2 times in a row: private: the response says\n" in said
    assert "             cache-control: private, max-age=60\n" in said
    assert "                 Cache-Control: public, max-age=600\n" in said


@pytest.mark.parametrize("given", [{"method": "POST"}, {"headers": [["Content-Length", "4"]]}])
async def test_what_is_not_looked_at_is_no_nearest_variant(given: dict[str, Any]) -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask("/a")
    said = printed(lab, **given)
    assert "  Stored     1 response; none is looked at\n" in said
    assert "Nearest" not in said


async def test_how_much_of_it_is_held() -> None:
    lab = Lab()
    lab.origin(File(lab.clock, counted(4096)))
    await lab.ask("/a", "Range: bytes=0-1023")
    assert "1.0 KiB of 4.0 KiB  any request\n" in printed(lab)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"method": "POST"}, "PASS, method"),
        ({"headers": [["Content-Length", "4"]]}, "PASS, bypass"),
        ({"headers": [["Cache-Control", "only-if-cached"]]}, "504, only-if-cached"),
        ({}, "MISS, uri-miss"),
    ],
)
def test_verdicts(given: dict[str, Any], verdict: str) -> None:
    assert printed(Lab(), **given).partition("\n")[0] == f"edge-fra: {verdict}"


async def test_a_stale_hit() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=10, stale-while-revalidate=60"))
    await lab.ask("/a")
    lab.pass_time(20)
    assert printed(lab).startswith("edge-fra: STALE, sent from the store: stale-while-revalidate\n")


async def test_lines_are_short_and_without_control_characters() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: X-One"))
    await lab.ask("/a", "X-One: a\x1b[31mb")
    said = printed(lab)
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.04, "0.0 s"), (9.5, "9.5 s"), (119, "119 s"), (120, "2 min"), (-90_000, "-25 h"), (8e5, "9 d 6 h")],
)
def test_spans(seconds: float, said: str) -> None:
    assert explain_output.span(seconds) == said
