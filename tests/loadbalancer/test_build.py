"""The hop as the process sees it: readiness, statistics, admin routes. No sockets."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loadbalancer.build import LoadBalancerHop, build
from loadbalancer.config import Config
from loadbalancer.rules.blame import Blame
from stack.clock import VirtualClock
from stack.errors import ConfigError
from stack.http.message import Request, Response
from stack.net import Net
from stack.telemetry.metrics import Metrics

TWO = ("a=http://127.0.0.1:1", "b=http://127.0.0.1:2")


def hop(state_dir: Path, **options: Any) -> LoadBalancerHop:
    clock, random = VirtualClock(), Random(1)
    config = Config(**{"name": "lb-a", "backend": TWO, "access_log": "off", **options})
    return build(config, clock=clock, random=random, net=Net(clock, random), metrics=Metrics(), state_dir=state_dir)


def ask(hop: LoadBalancerHop, method: bytes, path: bytes) -> Any:
    answer = hop.routes()[method, path](Request(method, path, [], authority=b"127.0.0.1"))
    assert isinstance(answer, Response)
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


def check(hop: LoadBalancerHop, name: str, *results: bool) -> None:
    backend = hop.backends.named(name)
    assert backend is not None
    for result in results:
        hop.backends.checked(backend, result, "200" if result else "refused")


async def test_ready_as_soon_as_the_first_check_passes(tmp_path: Path) -> None:
    lb = hop(tmp_path)
    assert lb.readiness().reason == "no backend has been checked yet"
    check(lb, "a", False)
    assert not lb.readiness().ready
    check(lb, "b", True)
    assert lb.readiness().ready


async def test_not_ready_when_nobody_takes_requests(tmp_path: Path) -> None:
    lb = hop(tmp_path)
    check(lb, "a", True, False, False, False)
    check(lb, "b", True)
    assert lb.readiness().ready
    ask(lb, b"POST", b"/-/backends/b/drain")
    assert not lb.readiness().ready
    assert lb.readiness().reason == (
        "no backend takes requests: a is down (check: refused), b is draining (operator: drain)"
    )
    ask(lb, b"POST", b"/-/backends/b/ready")
    assert lb.readiness().ready, "it has been up before: no gap until its next check"


async def test_without_checks_it_is_ready_at_once_and_until_traffic_says_otherwise(tmp_path: Path) -> None:
    lb = hop(tmp_path, check="none")
    assert lb.readiness().ready
    for backend in lb.backends.members:
        lb.backends.failed(backend, Blame.DEAD, "refused")
    assert not lb.readiness().ready


async def test_the_admin_pages(tmp_path: Path) -> None:
    lb = hop(tmp_path, weight=("a=3",))
    check(lb, "a", True)
    states = ask(lb, b"GET", b"/-/backends")["backends"]
    assert [state["name"] for state in states] == ["a", "b"]
    assert states[0] == {
        "name": "a",
        "address": "http://127.0.0.1:1",
        "weight": 3,
        "state": "up",
        "reason": "check: 200",
        "since_seconds": 0,
        "in_flight": 0,
        "attempts": {"answered": 0, "refused": 0, "timeout": 0, "failed": 0, "bad-status": 0, "client": 0},
        "last_check": {"result": "200", "ago_seconds": 0},
        "connections": {"open": 0, "idle": 0, "waiting": 0},
    }
    assert ask(lb, b"POST", b"/-/backends/a/drain")["state"] == "draining"
    assert ask(lb, b"GET", b"/-/backends/a")["reason"] == "operator: drain"
    assert ask(lb, b"POST", b"/-/backends/a/ready")["state"] == "unknown"
    assert lb.stats()["balance"] == "round-robin"
    assert lb.stats()["backends"][1]["state"] == "unknown"


async def test_https_without_an_authority_makes_the_local_one(tmp_path: Path) -> None:
    hop(tmp_path, backend=("https://127.0.0.1:1",))
    assert (tmp_path / "ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")


async def test_plain_backends_need_no_authority(tmp_path: Path) -> None:
    hop(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backend": ()}, "--backend"),
        ({"check": "ping"}, "--check"),
        ({"source": "eth0"}, "--source 'eth0': wanted an IP address"),
        ({"source": "192.0.2.1"}, "--source '192.0.2.1': Cannot assign requested address; wanted an IP address"),
        ({"check_host": "hä"}, "--check-host 'hä': 'hä' is not ASCII"),
        ({"check_host": "http://a"}, "--check-host 'http://a': wanted HOST or HOST:PORT"),
        ({"check_host": "a:0"}, "--check-host"),
        ({"check_host": "a b"}, "--check-host"),
        ({"check_host": "u@a"}, "--check-host"),
        ({"weight": ("c=1",)}, "--weight"),
        ({"check": "http:/", "check_status": ("500-100",)}, "--check-status '500-100': no status is in it"),
    ],
)
async def test_what_does_not_fit_is_named(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        hop(tmp_path, **options)


async def test_starting_and_stopping_leaves_no_task(tmp_path: Path) -> None:
    lb = hop(tmp_path)
    await lb.start([])
    assert len(lb.net.tasks) == 2
    await lb.stop()
    assert len(lb.net.tasks) == 0
