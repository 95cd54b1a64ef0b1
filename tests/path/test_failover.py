"""500 requests with 20 in flight while something dies: no GET fails; while something is stopped: nothing fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.stack import Stack, running_stack

REQUESTS, IN_FLIGHT = 500, 20


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("failover") / "home") as running:
        yield running


async def settled(stack: Stack) -> None:
    """All hops are ready, and the load balancer knows."""

    async def ready() -> bool:
        hops = stack.status()["hops"]
        if any(hop["state"] != "ready" for hop in hops):
            return False
        async with stack.session() as session:
            admin = next(hop["admin"] for hop in hops if hop["name"] == "lb-a")
            async with session.get(f"{admin}/-/backends") as answer:
                return all(backend["state"] == "up" for backend in (await answer.json())["backends"])

    await eventually(ready, within=40, every=0.2)


async def under_load(stack: Stack, strike: Callable[[], None], *, method: str = "GET") -> Counter[int | str]:
    """The outcomes of REQUESTS requests that no cache may answer; `strike` happens at a quarter of them."""
    outcomes: Counter[int | str] = Counter()
    gate = asyncio.Semaphore(IN_FLIGHT)
    struck = False

    async with stack.session() as session:

        async def one(number: int) -> None:
            nonlocal struck
            async with gate:
                if number == REQUESTS // 4 and not struck:
                    struck = True
                    strike()
                try:
                    if method == "GET":
                        request = session.get(stack.url(f"/products/shoes?{number}-{os.getpid()}-{id(outcomes)}"))
                    else:
                        request = session.post(
                            stack.url("/api/cart"),
                            json={"slug": "shoes", "quantity": 1},
                            headers={"Origin": stack.url("")},
                        )
                    async with request as answer:
                        await answer.read()
                        outcomes[answer.status] += 1
                except Exception as error:
                    outcomes[repr(error)] += 1

        await asyncio.gather(*(one(number) for number in range(REQUESTS)))
    return outcomes


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("victims", "number"),
    [
        pytest.param(["app-1"], signal.SIGKILL, id="an-app-is-killed"),
        pytest.param(["proxy-2", "app-2"], signal.SIGKILL, id="a-host-is-killed"),
        pytest.param(["app-3"], signal.SIGTERM, id="an-app-is-stopped"),
        pytest.param(["proxy-1"], signal.SIGTERM, id="a-proxy-is-stopped"),
    ],
)
async def test_no_get_fails(own: Stack, victims: list[str], number: int) -> None:
    await settled(own)
    pids = {name: own.hop(name)["pid"] for name in victims}
    outcomes = await under_load(own, lambda: [os.kill(pid, number) for pid in pids.values()] and None)
    assert outcomes == {200: REQUESTS}
    # and what died comes back by itself
    await eventually(lambda: all(own.hop(name)["pid"] != pid for name, pid in pids.items()), within=30, every=0.1)
    await settled(own)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", ["app-2", "proxy-3"])
async def test_no_post_fails_while_a_hop_is_stopped(own: Stack, victim: str) -> None:
    await settled(own)
    pid = own.hop(victim)["pid"]
    outcomes = await under_load(own, lambda: os.kill(pid, signal.SIGTERM), method="POST")
    assert sum(outcomes[status] for status in (200, 201)) == REQUESTS, outcomes


def test_the_home_is_not_shared(own: Stack, stack: Stack) -> None:
    assert Path(own.home) != Path(stack.home)
    assert not {hop["pid"] for hop in own.status()["hops"]} & {hop["pid"] for hop in stack.status()["hops"]}
