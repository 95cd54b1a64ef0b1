"""Outside cases: raw requests to every HTTP hop as a real process, before a strict origin or with an ASGI app."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.h1_cases import Case, Seen, complaints, requests
from tests.support.h1_clauses import REQUESTS
from tests.support.h1_hops import INTERMEDIARIES, address, hop, send_case
from tests.support.strict_origin import Received, strict_origin

AT_ONCE = 60
"""Connections of the client at a time."""

ALL = [*requests(), *REQUESTS]
"""The outside cases, and those of the RFCs' text beyond them."""

Outcome = tuple[Case, Seen, list[Received]]


class Run:
    """What one hop made of all cases, each whole and byte by byte."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.outcomes: dict[tuple[str, bool], Outcome] = {}
        self.nobodys: list[Received] = []
        self.backend: dict[str, Any] = {}
        """What the load balancer says of its one."""


async def run(kind: str, home: Path) -> Run:
    done = Run(kind)
    cases = [case for case in ALL if kind != "appserver" or case["role"] != "gateway"]
    turns = asyncio.Semaphore(AT_ONCE)
    flags = ["--timeouts-half-closed", "5s", *(["--passive-fall", "1"] if kind == "loadbalancer" else [])]
    async with strict_origin() as origin, hop(kind, home, origin.port, *flags) as running:

        async def one(number: int, case: Case, bytewise: bool) -> tuple[str, Case, bool, Seen]:
            async with turns:
                return address(number), case, bytewise, await send_case(running.port, case, number, bytewise=bytewise)

        jobs = [(case, bytewise) for bytewise in (False, True) for case in cases]
        all_seen = await asyncio.gather(*(one(number, *job) for number, job in enumerate(jobs)))
        by_app: dict[str, list[Received]] = {}
        for client, request in running.app_saw():
            by_app.setdefault(client, []).append(request)
        for client, case, bytewise, seen in all_seen:
            received = by_app.get(client, []) if kind == "appserver" else origin.of(client)
            done.outcomes[case["id"], bytewise] = case, seen, received
        done.nobodys = origin.nobodys
        if kind == "loadbalancer":
            [done.backend] = json.loads((await running.page("/-/stats"))[1])["backends"]
    return done


@pytest.fixture(scope="module", params=[*INTERMEDIARIES, "appserver"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(run(request.param, tmp_path_factory.mktemp("h1") / "home"))


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", ALL, ids=lambda case: case["id"])
def test_request(made: Run, case: Case, bytewise: bool) -> None:
    outcome = made.outcomes.get((case["id"], bytewise))
    if outcome is None:
        assert case["role"] == "gateway"  # no origin behind an app server
        return
    found = list(complaints(*outcome, last=made.kind == "appserver"))
    assert not found, f"{found}\n{case['rule']}: {case['title']}\n{outcome[1].data[:600]!r}"


def test_nothing_else_reached_the_origin(made: Run) -> None:
    assert made.nobodys == []


def test_a_client_s_fault_counts_against_no_backend(made: Run) -> None:
    """Of all these requests, with one failure as the measure."""
    if made.kind == "loadbalancer":
        attempts = made.backend["attempts"]
        assert made.backend["state"] in ("unknown", "up"), made.backend
        assert attempts["client"] > 10  # content that ended early, or was not well-formed
        assert attempts["answered"] > 200
        assert (attempts["failed"], attempts["timeout"], attempts["refused"], attempts["bad-status"]) == (0, 0, 0, 0)
