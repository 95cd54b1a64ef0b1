"""What a test orders: hosts drained, killed and brought back, faults on links, and that time passes for them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from stack.errors import ConfigError
from stack.testing import Late, NoResponse, NoSuchHost, WebStack, assert_served_by
from tests.stack.testing.apps import Probe


async def served(web: WebStack, count: int = 6) -> list[str]:
    return [(await web.get(f"/{number}")).backend for number in range(count)]


async def test_a_drained_host_gets_nothing_until_it_is_ready() -> None:
    async with WebStack(Probe) as web:
        web.backends["app-1"].drain()  # the next call waits for it
        assert set(await served(web)) == {"app-2", "app-3"}
        assert web.backends["app-1"].state == web.backends["proxy-1"].state == "draining"
        await web.backends["app-1"].ready()
        await web.clock.advance(1)
        assert web.backends["app-1"].state == "up"
        assert set(await served(web)) == {"app-1", "app-2", "app-3"}


@pytest.mark.parametrize("name", ["app-2", "proxy-2"])
async def test_a_killed_host_costs_no_get_and_leaves_the_rotation(name: str) -> None:
    async with WebStack(Probe) as web:
        web.backends[name].kill()
        assert "app-2" not in await served(web, 9)
        assert not web.backends[name].running
        await web.clock.advance(6)
        assert web.backends[name].state == "down"
        await web.backends[name].start()
        await web.clock.advance(6)
        assert web.backends[name].state == "up"
        assert set(await served(web)) == {"app-1", "app-2", "app-3"}


async def test_a_host_that_comes_back_has_forgotten() -> None:
    async with WebStack(Probe, replicas=1) as web:
        assert [(await web.get(f"/{n}")).text for n in range(2)] == ["1", "2"]
        web.backends["app-1"].kill()
        web.backends["app-1"].start()
        assert (await web.get("/2")).text == "1"


async def test_an_edge_that_is_gone_is_left_for_another() -> None:
    async with WebStack(Probe) as web:
        assert (await web.get("/")).edge == "edge-fra"
        web.kill("edge-fra")
        assert (await web.get("/")).edge == "edge-nrt"
        web.kill("edge-nrt")
        with pytest.raises(NoResponse, match=r"edge-nrt: Connect call failed"):
            await web.get("/")
        await web.revive("edge-fra")
        assert (await web.get("/")).edge == "edge-fra"


async def test_without_a_resolver_only_what_is_known_is_found() -> None:
    async with WebStack(Probe) as web:
        await web.get("/")
        web.kill("resolver")
        assert (await web.get("/")).status == 200
        await web.clock.advance(61)  # longer than the records live
        with pytest.raises(NoSuchHost, match=r"app\.test: the resolver at"):
            await web.get("/")


async def test_latency_takes_no_time_of_the_machine_and_shows() -> None:
    async with WebStack(Probe, replicas=1) as web:
        with web.fault("lb-a>proxy-1", latency=3.0) as fault:
            began = time.monotonic()
            r = await web.get("/")
            assert time.monotonic() - began < 2.0
            assert 3.0 <= r.elapsed < 5.0
            assert fault.hits == 1
            assert "lb-a fault latency" in r.decisions
            assert r.trace.span("loadbalancer").own_ms >= 3000  # type: ignore[union-attr]
        assert (await web.get("/")).elapsed < 3.0


async def test_a_share_of_requests_is_the_same_share_every_time() -> None:
    async def hit() -> list[bool]:
        async with WebStack(Probe) as web:
            web.fault("edge-*>lb-a", status=503, share=0.5, seed=7)
            return [(await web.get(f"/{n}")).status == 503 for n in range(12)]

    first = await hit()
    assert 0 < sum(first) < 12
    assert await hit() == first


@pytest.mark.parametrize(
    ("fault", "status"),
    [({"refused": True}, 200), ({"status": 503, "first": 1}, 200), ({"blackhole": True}, 200)],
    ids=["refused: another host", "one 503: another host", "black hole: another host, after its time-out"],
)
async def test_the_balancer_meets_a_broken_link_as_it_would_a_real_one(fault: dict[str, Any], status: int) -> None:
    async with WebStack(Probe, replicas=2, deadline=30) as web:
        web.fault("lb-a>proxy-1", **fault)
        statuses = [(await web.get(f"/{n}")).status for n in range(2)]
        assert statuses[0] == status
        assert statuses[1] == 200


async def test_faults_on_dns() -> None:
    async with WebStack(Probe) as web:
        with web.fault("dns-shop", rcode="SERVFAIL") as fault:
            with pytest.raises(NoSuchHost, match="SERVFAIL"):
                await web.get("/")
            assert fault.hits >= 1
        with pytest.raises(ConfigError, match=r"status .here: rcode. is of HTTP alone"):
            web.fault("resolver>dns-shop", status=503)
    async with WebStack(Probe) as web:
        web.fault("resolver>dns-*", latency=0.3)
        assert (await web.get("/")).status == 200
    async with WebStack(Probe) as web:
        web.fault("client>resolver", rcode="REFUSED", count=1)
        with pytest.raises(NoSuchHost, match="REFUSED"):
            await web.get("/")
        assert (await web.get("/")).status == 200


async def test_faults_end_by_clear() -> None:
    async with WebStack(Probe) as web:
        web.fault("lb-a>proxy-*", refused=True)
        assert (await web.get("/")).status == 502
        web.clear_faults()
        await web.clock.advance(10)
        assert (await web.get("/")).status == 200


async def test_a_broken_off_response_says_what_came() -> None:
    async with WebStack(Probe, replicas=1) as web:
        web.fault("client>edge-fra", truncate=3)
        with pytest.raises(NoResponse, match="broken off after 3 bytes") as caught:
            await web.get("/?body=0123456789", http="h1")
        assert caught.value.partial is not None
        assert caught.value.partial.raw == b"012"


@pytest.mark.parametrize(
    ("on", "kinds", "said"),
    [
        ("lb-a>proxy-9", {"latency": 1.0}, "ends at 'proxy-9', and no hop is called so; there is dns-root"),
        ("edge-fra>app-1", {"latency": 1.0}, "no hop that runs has such a link"),
        ("lb-a>proxy-1", {"latncy": 1.0}, "latency"),
    ],
    ids=["no such hop", "no such link", "no such kind"],
)
async def test_a_fault_that_would_act_nowhere_is_an_error(on: str, kinds: dict[str, Any], said: str) -> None:
    async with WebStack(Probe) as web:
        with pytest.raises(ConfigError, match=said):
            web.fault(on, **kinds)


async def test_retries_are_seen_by_name() -> None:
    async with WebStack(Probe, replicas=2) as web:
        web.fault("lb-a>proxy-1", refused=True, checks=False)
        r = await web.get("/")
        assert_served_by(r, "app-2")
        with pytest.raises(AssertionError, match="was served by app-2, not app-1"):
            assert_served_by(r, "app-1")


async def test_a_fault_that_holds_a_request_for_ever_is_named_at_the_deadline() -> None:
    async with WebStack(Probe, deadline=0.5) as web:
        web.fault("client>edge-fra", blackhole=True)
        with pytest.raises(Late, match="faults: client>edge-fra blackhole"):
            await web.get("/")
