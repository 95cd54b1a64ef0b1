"""The same zones, the same questions: what NSD and Knot answer, we answer too.

The zones are other ones in every run. A failure names the seed; `HOPSTACK_DNS_SEED=N` asks the same again.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from dns_server.rules.types import type_name
from tests.conformance.test_dns_model import compiled
from tests.support.dns_differences import Case, differences, explained
from tests.support.dns_network import respond
from tests.support.dns_reading import Response, read
from tests.support.dns_servers import ask, query, served
from tests.support.dns_worlds import Maker, to_text

WORLDS = 10
QUESTIONS = 300


@pytest.mark.parametrize(
    "server",
    [pytest.param("nsd", marks=pytest.mark.needs("nsd")), pytest.param("knotd", marks=pytest.mark.needs("knotd"))],
)
def test_another_server_answers_the_same(server: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("HOPSTACK_DNS_SEED", 0)) or Random().randrange(1, 1 << 32)
    print(f"HOPSTACK_DNS_SEED={seed}")
    compared = 0
    for number in range(WORLDS):
        maker = Maker(Random(seed + number), strict=True, tidy=server == "nsd")
        world = maker.world()
        zones = compiled(world)
        questions = list(maker.questions(world, QUESTIONS))
        messages = [query(name, type) for name, type in questions]
        with served(server, world, tmp_path / str(number)) as address:
            responses = ask(address, messages)
        for (name, type), message, response in zip(questions, messages, responses, strict=True):
            assert response is not None, f"{server} is silent: {to_text(name)} {type_name(type)}, seed {seed}"
            mine = respond(zones, message, stream=False, payload=4096)
            assert mine is not None
            ours, theirs = read(mine), read(response)
            found = differences(ours, theirs)
            compared += 1
            if found and explained(server, Case(world, name, type, ours, theirs, found)) is None:
                text = "\n".join(f"; {to_text(zone.origin)}\n{zone.text()}" for zone in world)
                pytest.fail(
                    f"HOPSTACK_DNS_SEED={seed + number}: {to_text(name)} {type_name(type)}: {', '.join(found)}\n"
                    f"ours    {_shown(ours)}\n{server:7} {_shown(theirs)}\n{text}",
                    pytrace=False,
                )
    assert compared == WORLDS * QUESTIONS


def _shown(response: Response) -> str:
    sections = (
        f"{name}: "
        + ", ".join(f"{to_text(owner)} {ttl} {type_name(type)} {rdata!r}" for owner, type, ttl, rdata in section)
        for name, section in (
            ("answer", response.answer),
            ("authority", response.authority),
            ("additional", response.additional),
        )
    )
    return f"rcode {response.rcode} aa {response.authoritative} " + "; ".join(sections)
