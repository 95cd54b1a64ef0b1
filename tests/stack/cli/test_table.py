from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cdn_edge.config import Config
from stack.cli.table import WIDTH, invitation, table
from stack.hop import registry
from stack.plan.default import default_plan
from stack.plan.model import HopPlan


def status(base: int | None, **changed: Any) -> dict[str, Any]:
    return {
        "hops": [
            {
                "name": hop.name,
                "kind": hop.kind,
                "pid": 1_234_567,
                "state": "ready",
                "listen": hop.addresses(),
                "urls": hop.urls(),
                "certificate": hop.own_certificate,
                "ready_ms": 2240,
                "restarts": 0,
                "reason": "",
                **(changed if hop.name == "edge-nrt" else {}),
            }
            for hop in default_plan(registry, Path("/s"), port_base=base).hops
        ]
    }


@pytest.mark.parametrize("base", [None, 40_000])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"restarts": 12},
        {
            "state": "crash-loop",
            "restarts": 4,
            "pid": None,
            "ready_ms": None,
            "reason": "5 exits in a row: " + "x y " * 60,
        },
    ],
    ids=["all well", "restarts", "crash loop"],
)
def test_every_line_fits_a_terminal(base: int | None, changed: dict[str, Any]) -> None:
    lines = table(status(base, **changed)).splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_a_hop_in_two_lines() -> None:
    lines = table(status(40_000, restarts=2, pid=77, ready_ms=812)).splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("edge-nrt")]
    assert lines[at].split() == ["edge-nrt", "cdn_edge", "ready", "https://127.0.1.2:40443", "77", "812", "ms"]
    assert lines[at + 1].split() == ["(2", "restarts)", "http://127.0.1.2:40080"]
    assert lines[at + 1].index("(") == lines[at].index("ready")
    assert lines[at + 1].index("http") == lines[at].index("https")


def test_every_listener_is_there() -> None:
    """And clients are led to the one that lets them in without a certificate of theirs, with the authority to believe."""
    config = Config(
        name="edge-a", origin="http://127.0.0.1:1", cert=("/c/shop.pem",), key=("/c/key.pem",),
        listen=("https://127.0.0.1:2?client_ca=/c/ca.pem", "https://127.0.0.1:1", "http://127.0.0.1:3"),
    )  # fmt: skip
    hop = HopPlan("cdn_edge", config)
    shown = status(None)
    shown["hops"][4] |= {"name": "edge-a", "listen": hop.addresses(), "urls": hop.urls()}
    shown |= {"name": "a.test", "ca": "/s/ca.pem"}
    assert re.findall(r"\S+://127\.0\.0\.1:[123]\b", table(shown)) == [
        "https://127.0.0.1:2", "https://127.0.0.1:1", "http://127.0.0.1:3",
    ]  # fmt: skip
    assert "--cacert /s/ca.pem --resolve a.test:1:127.0.0.1 https://a.test:1/" in invitation(shown)
    shown["hops"][4]["certificate"] = hop.own_certificate
    assert "--cacert /c/shop.pem --resolve a.test:1:127.0.0.1 https://a.test:1/" in invitation(shown)
    assert "--doh-url" not in invitation(shown)


def test_the_reason_is_below() -> None:
    lines = table(status(None, state="crash-loop", reason="killed by SIGKILL")).splitlines()
    assert lines[-1] == "edge-nrt: killed by SIGKILL"
