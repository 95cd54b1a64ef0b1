"""Outside cases, and own ones: what a shared cache must do, what a good one does, and what was decided where it may
do either.

A real edge with the profile that follows RFC 9111's letter, between a client and an origin that do what the case says.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cdn_edge.processes import edge
from tests.support.cache_cases import ROOT, Case, Outcome, Runner, cases, decisions, verdicts
from tests.support.cache_client import Client
from tests.support.cache_origin import CacheOrigin
from tests.support.strict_origin import strict_origin

ALL = [*cases(), *cases("own.json")]

NOT_COUNTED = {
    "conditional-lm-fresh-no-lm": "a 304 without Last-Modified, where RFC 9110 §13.1.3 gives 200",
    "partial-store-partial-reuse-partial": "Content-Range says six bytes, the content has five",
    "partial-store-partial-reuse-partial-absent": "Content-Range says six bytes, the content has five",
    "partial-store-partial-reuse-partial-byterange": "Content-Range says six bytes, the content has five",
    "partial-store-partial-reuse-partial-suffix": "Content-Range says six bytes, the content has five",
    "partial-store-partial-complete": "parts are combined by a strong validator only (RFC 9111 §3.4)",
}
"""Cases that ask for what the RFC does not allow. One that passes all the same is a fault, too."""

CAREFUL = {
    "heuristic-414-cached": "what one request's oddity caused is kept from all others",
    "status-400-fresh": "the same",
    "status-406": "the same",
    "status-415": "the same",
    "vary-normalise-lang-order": "of languages with one weight some origins take the first",
    "headers-store-Set-Cookie": "one user's cookie is kept from all others",
    "headers-store-Set-Cookie2": "the same",
    "other-set-cookie": "the same",
}
"""What the default profile does not do, and why; docs/caching.md says so."""


@dataclass
class Run:
    outcomes: dict[str, Outcome]
    verdicts: dict[str, str]
    strangers: list[bytes]
    faults: list[list[str]]


async def run(home: Path, wanted: list[Case], *flags: str) -> Run:
    origin = CacheOrigin()
    async with (
        strict_origin(origin.answer) as behind,
        edge(f"http://127.0.0.1:{behind.port}", *flags, home=home) as running,
        Client("127.0.0.1", int(running.url.rpartition(":")[2])) as client,
    ):
        outcomes = await Runner(client, origin).run(wanted)
        faults = [request.faults for request in behind.received if request.faults]
    return Run(outcomes, verdicts(wanted, outcomes), origin.unknown, faults)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(run(tmp_path_factory.mktemp("cases") / "home", ALL, "--profile", "rfc9111"))


@pytest.mark.parametrize("case", [case for case in ALL if case["kind"] != "check"], ids=lambda case: case["id"])
def test_case(made: Run, case: Case) -> None:
    name = case["id"]
    verdict, said = made.verdicts[name], f"{case['kind']}: {case['name']}: {made.outcomes[name].message}"
    if name in NOT_COUNTED:
        assert verdict != "pass", f"{said}\nbut {NOT_COUNTED[name]}"
    else:
        assert verdict == "pass", said


@pytest.mark.parametrize("case", [case for case in ALL if case["kind"] == "check"], ids=lambda case: case["id"])
def test_decision(made: Run, case: Case) -> None:
    """docs/caching.md says which way, and why."""
    name = case["id"]
    said = f"{case['name']}: {made.outcomes[name].message}"
    assert made.verdicts[name] == decisions()[name], said


def test_every_question_is_decided() -> None:
    assert set(decisions()) == {case["id"] for case in ALL if case["kind"] == "check"}


def test_what_is_listed_exists() -> None:
    kinds = {case["id"]: case["kind"] for case in ALL}
    assert {kinds.get(name) for name in NOT_COUNTED} == {"optimal"}


def test_all_that_reached_the_origin_was_well_formed_and_of_a_case(made: Run) -> None:
    assert made.faults == []
    assert made.strangers == []


def test_what_the_default_profile_does_not_do(tmp_path: Path) -> None:
    wanted = [{**case, "depends_on": []} for case in ALL if case["id"] in CAREFUL]
    made = asyncio.run(run(tmp_path / "home", wanted))
    assert set(made.verdicts) == set(CAREFUL)
    assert "pass" not in made.verdicts.values(), made.verdicts
    page = (ROOT / "docs" / "caching.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in CAREFUL)
