"""What `hopstack fault` prints, and what it does when a hop is silent."""

from __future__ import annotations

from typing import Any

import pytest

from stack.cli import fault
from stack.cli.main import main
from stack.faults.active import Active
from stack.faults.places import Standing
from stack.faults.spec import parse


def described(name: str, kind: str, links: tuple[str, ...], *texts: str, hits: int = 0) -> dict[str, Any]:
    faults = []
    for text in texts:
        active = Active(parse(text), now=0.0)
        for _ in range(hits):
            active.hit(None, 0.0)
        here = Standing(name, kind, links).places(active.fault)
        faults.append({**active.described(0.0), "here": here})
    return {"name": name, "kind": kind, "links": list(links), "faults": faults}


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any] | None]:
    """What each hop answers; None is no answer."""
    long = "edge-*>lb-a latency=120ms jitter=30ms share=0.2 path=/api/* method=GET,HEAD for=1m name=of-both-edges"
    hops: dict[str, dict[str, Any] | None] = {
        "edge-fra": described("edge-fra", "cdn_edge", ("lb-a",), long, hits=100),
        "edge-nrt": described("edge-nrt", "cdn_edge", ("lb-a",), long, hits=50),
        "lb-a": described("lb-a", "loadbalancer", ("proxy-1",), "lb-a>proxy-1 refused first=2 name=cable", hits=3),
    }

    def ask(admin: str, method: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any] | None:
        answer = hops[admin]
        if answer is None or method == "GET":
            return answer
        return {"here": ["there"], "replaced": False, "removed": 1}

    monkeypatch.setattr(fault, "_hops", lambda: {name: name for name in hops})
    monkeypatch.setattr(fault, "_ask", ask)
    return hops


def test_the_list_sums_up_and_fits_into_80_columns(running: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fault", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME           STATE   HITS       LEFT  FAULT",
        "of-both-edges  active  39 of 150  60 s  edge-*>lb-a latency=120ms jitter=30ms",
        "                                          share=0.2 for=60s path=/api/*",
        "                                          method=GET,HEAD",
        "                                          at edge-fra>lb-a, edge-nrt>lb-a",
        "cable          spent   2 of 3     -     lb-a>proxy-1 refused first=2",
    ]


@pytest.mark.parametrize(
    "argv", [("list",), ("clear",), ("add", "lb-a>proxy-1", "refused"), ("add", "edge-*>lb-a", "refused")]
)
def test_a_silent_hop_is_named(running: Any, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    running["edge-nrt"] = None
    assert main(["fault", *argv]) == 1
    assert capsys.readouterr().err == "edge-nrt does not answer; see `hopstack status`\n"


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (("add", "edge-*>lb-a", "refused"), 0, "edge-any-lb-a-refused: on at there"),
        (("add", "lb-a", "status=503", "--name", "x", "--for", "3s"), 0, "x: on at there"),
        (("clear", "cable"), 0, "Cleared: cable"),
        (("clear",), 0, "Cleared: of-both-edges, cable"),
        (("clear", "cabel"), 2, "no fault is called cabel: did you mean cable?"),
        (("clear", "cable", "--all"), 2, "Give names or --all, not both."),
        (("add", "lb-b>proxy-1", "refused"), 2, "no such link; did you mean lb-a>proxy-1?"),
        (("add", "zzz", "refused"), 2, "no such hop; there are edge-fra, edge-nrt, lb-a"),
    ],
)
def test_what_is_said(
    running: Any, argv: tuple[str, ...], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fault", *argv]) == status
    printed = capsys.readouterr()
    assert says in printed.out + printed.err
