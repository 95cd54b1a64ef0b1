"""Faults that are ordered while a stack of real processes runs, and what its clients, logs and metrics see of them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.clock import eventually
from tests.support.stack import Stack, running_stack

PAGE = "/api/products"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("faults") / "home") as running:
        yield running


@pytest.fixture(autouse=True)
def cleared(stack: Stack) -> Iterator[None]:
    yield
    assert fault(stack, "clear", "--all")


def fault(stack: Stack, *argv: str, status: int = 0) -> str:
    done = stack.hopstack("fault", *argv)
    assert done.returncode == status, done.stdout + done.stderr
    return (done.stdout if status == 0 else done.stderr).strip()


def admin(stack: Stack, hop: str, path: str) -> str:
    with urllib.request.urlopen(f"{stack.hop(hop)['admin']}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def gets(stack: Stack, count: int, path: str = PAGE) -> Counter[int]:
    """Statuses of so many requests, each past the caches by its query, eight at a time."""
    statuses: Counter[int] = Counter()
    left = iter(range(count))
    async with stack.session() as session:

        async def some() -> None:
            for _ in left:
                async with session.get(stack.url(f"{path}?{uuid.uuid4().hex}")) as response:
                    await response.read()
                    statuses[response.status] += 1

        await asyncio.gather(*(some() for _ in range(8)))
    return statuses


def curl(stack: Stack, path: str = PAGE, *argv: str) -> tuple[int, dict[str, str]]:
    head, _, _ = stack.curl(path, "-i", *argv).replace("\r\n", "\n").partition("\n\n")
    lines = head.splitlines()
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
    return int(lines[0].split()[1]), fields


def fetched(stack: Stack, path: str, *argv: str) -> tuple[int, bytes]:
    """curl's exit status and the content that came."""
    resolve = f"shop.test:{stack.https}:127.0.1.1"
    done = subprocess.run(
        ["curl", "-s", "--max-time", "20", "--cacert", str(stack.ca), "--resolve", resolve, *argv, stack.url(path)],
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout


async def logged(stack: Stack, hop: str, name: str) -> list[dict[str, Any]]:
    """The lines of a hop that name a fault, once there are some."""
    found: list[dict[str, Any]] = []

    def some() -> bool:
        found[:] = [line for line in stack.log(hop) if name in line.get("fault", [])]
        return bool(found)

    await eventually(some)
    return found


def spent(timing: str, hop: str, word: str) -> float:
    """Milliseconds of an injected fault in Server-Timing."""
    found = re.search(rf'{hop}\.fault;dur=([0-9.]+);desc="{word}"', timing)
    assert found, timing
    return float(found[1])


def state(stack: Stack, backend: str) -> str:
    found: dict[str, Any] = json.loads(admin(stack, "lb-a", f"/-/backends/{backend}"))
    return str(found["state"] if "state" in found else found["health"])


async def test_a_refused_link_costs_no_get(stack: Stack) -> None:
    told = fault(stack, "add", "lb-a>proxy-2", "refused", "--name", "cable")
    assert told == "cable: on at lb-a>proxy-2"
    assert await gets(stack, 60) == {200: 60}
    await eventually(lambda: state(stack, "proxy-2") == "down")  # its checks go over the link too
    tried = await logged(stack, "lb-a", "cable")
    assert all(line["status"] == 200 and line["attempts"] > 1 and line["upstream"] != "proxy-2" for line in tried)
    assert ["fault", "refused"] in [mark[:2] for mark in tried[0]["marks"]]
    assert 'hopstack_faults_injected_total{fault="cable",kind="refused"}' in admin(stack, "lb-a", "/metrics")
    assert fault(stack, "clear", "cable") == "Cleared: cable"
    await eventually(lambda: state(stack, "proxy-2") == "up")
    assert await gets(stack, 30) == {200: 30}


async def test_the_first_fail_and_the_rest_succeed(stack: Stack) -> None:
    fault(stack, "add", "edge-fra>lb-a", "refused", "first=3", "--name", "three")
    assert await gets(stack, 20) == {502: 3, 200: 17}
    table = json.loads(fault(stack, "list", "--json"))["edge-fra"]
    assert [(one["name"], one["hits"], one["seen"], one["state"]) for one in table] == [("three", 3, 20, "spent")]
    assert "three" in fault(stack, "list")


async def test_a_fault_is_seen_as_injected_by_the_client(stack: Stack) -> None:
    fault(stack, "add", "edge-fra>lb-a", "latency=150ms", "refused", "first=1", "--name", "cut-cable")
    status, fields = curl(stack)
    assert status == 502
    assert 'edge-fra;error=connection_refused;details="injected: cut-cable"' in fields["proxy-status"]
    timing = fields["server-timing"]
    assert spent(timing, "edge-fra", "latency") == pytest.approx(150, rel=0.3)
    assert 'edge-fra.fault;dur=0.0;desc="refused"' in timing
    (line,) = await logged(stack, "edge-fra", "cut-cable")
    assert (line["fault"], line["proxy_status"]) == (["cut-cable"], "connection_refused")
    assert "injected: cut-cable" in line["detail"]


def test_a_slow_hop_in_the_middle_shows_in_server_timing(stack: Stack) -> None:
    fault(stack, "add", "lb-a", "latency=100ms")
    _, fields = curl(stack, "/cart")
    assert spent(fields["server-timing"], "lb-a", "latency") == pytest.approx(100, rel=0.3)


async def test_a_fault_on_an_app_acts_in_the_proxy_before_it(stack: Stack) -> None:
    told = fault(stack, "add", "app-1", "status=503", "path=/api/*")
    assert told == "app-1-status: on at proxy-1>app-1"
    assert await gets(stack, 30) == {200: 30}  # the balancer asked another
    assert {line["status"] for line in await logged(stack, "proxy-1", "app-1-status")} == {503}


def test_each_client_of_an_edge(stack: Stack) -> None:
    fault(stack, "add", "client>edge-fra", "status=418")
    assert curl(stack)[0] == 418
    assert "200" in stack.curl(PAGE, "-o", "/dev/null", "-w", "%{http_code}", edge="127.0.1.2")


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    ("kind", "version", "exits"),
    [
        ("refused", "--http1.1", {56}),
        ("reset=100", "--http1.1", {56}),
        ("truncate=100", "--http1.1", {18}),
        ("reset=100", "--http2", {92}),
        ("truncate=100", "--http2", {92}),
    ],
)
def test_what_curl_says_of_content_that_ends_early(stack: Stack, kind: str, version: str, exits: set[int]) -> None:
    """56: receive failure; 18: partial; 92: stream not closed cleanly. Never 35, TLS, and never success."""
    fault(stack, "add", "client>edge-fra", kind)
    assert fetched(stack, PAGE, version)[0] in exits


@pytest.mark.needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("on", ["client>edge-fra", "lb-a>proxy-*"])
def test_a_corrupted_byte_over_tls_is_one_of_content(stack: Stack, version: str, on: str) -> None:
    _, before = fetched(stack, f"{PAGE}?{uuid.uuid4().hex}", version)
    fault(stack, "add", on, "corrupt=10")
    status, after = fetched(stack, f"{PAGE}?{uuid.uuid4().hex}", version)
    assert (status, len(after)) == (0, len(before))
    assert [at for at in range(len(before)) if before[at] != after[at]] == [10]


def test_faults_end_by_themselves(stack: Stack) -> None:
    fault(stack, "add", "edge-*>lb-a", "status=500", "--for", "2s", "--name", "short")
    assert "short" in fault(stack, "list")
    for _ in range(100):
        if fault(stack, "list") == "No faults.":
            break
    assert curl(stack, "/cart")[0] == 200


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ("add", "lb-a>proxy-9", "refused"),
            "lb-a>proxy-9: the running stack has no such link; did you mean lb-a>proxy-",
        ),
        (("add", "edge-far", "refused"), "edge-far: the running stack has no such hop; did you mean edge-fra?"),
        (("add", "lb-a>proxy-1", "latncy=1"), "latncy: a fault has no such key; did you mean latency?"),
        (("add", "lb-a>proxy-1"), "it does nothing; give a kind"),
        (("add", "app-1>db", "latency=1s"), "the database is not covered"),
        (("clear", "nothing"), "no fault is called nothing: there is none"),
    ],
)
def test_a_slip_is_said_with_its_remedy(stack: Stack, argv: tuple[str, ...], says: str) -> None:
    told = fault(stack, *argv, status=2)
    assert says in told
    assert "\n" not in told


@pytest.mark.parametrize("argv", [("list",), ("clear",), ("add", "lb-a", "refused")])
def test_nothing_runs(tmp_path: Path, argv: tuple[str, ...]) -> None:
    assert "No stack runs" in fault(Stack(tmp_path, 1), *argv, status=3)
