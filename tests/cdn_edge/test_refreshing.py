"""Renewing in the background: RFC 5861 §3; and an origin that is known to be silent: RFC 9111 §4.2.4."""

from __future__ import annotations

import asyncio

import pytest

from cdn_edge.rules.judging import Policy
from stack.clock import settle
from stack.errors import ConnectRefused, ConnectTimeout, HopError
from stack.http.message import Request
from tests.cdn_edge.lab import Lab, Reply, Script

SWR = "Cache-Control: max-age=60, stale-while-revalidate=3000"


def silent(lab: Lab) -> Script:
    """Does not answer: it takes as long as `lab.delay` to find out."""
    return lambda _: ConnectTimeout()


@pytest.mark.parametrize("failure", [ConnectRefused(), 500, 503], ids=["refused", "500", "503"])
async def test_what_fails_is_tried_again_after_a_pause_and_never_forgotten(failure: HopError | int) -> None:
    lab = Lab()
    broken = lab.response("", status=failure) if isinstance(failure, int) else failure
    lab.origin(lab.response(SWR, body=b"old"), broken)
    await lab.ask("/a")
    lab.pass_time(70)
    asked = 1
    for pause in (1, 2, 4, 8, 10, 10):
        for _ in range(3):
            reply = await lab.ask("/a")
            assert (reply.body, reply.word("lookup")) == (b"old", "stale-while-revalidate")
        asked += 1
        assert lab.asked == asked
        lab.pass_time(pause - 0.01)
        await lab.ask("/a")
        assert lab.asked == asked
        lab.pass_time(0.01)
    lab.origin(lab.response(SWR, body=b"new"))
    assert (await lab.ask("/a")).body == b"old"
    assert (await lab.ask("/a")).cache_status == "edge; hit; ttl=60"
    assert len(lab.tasks) == 0
    assert not lab.edge._onward.refreshing._notes
    assert not lab.store._recordings


@pytest.mark.parametrize(
    ("status", "text"), [(404, ""), (200, "Cache-Control: private"), (200, "Cache-Control: no-cache")]
)
async def test_an_answer_of_another_kind_ends_what_is_stored(status: int, text: str) -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"), lab.response(text, status=status))
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a")).body == b"old"
    assert (await lab.ask("/a")).status == status
    assert lab.asked == 3


async def test_the_pause_begins_anew_after_a_success() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR), ConnectRefused(), ConnectRefused(), lab.response(SWR), ConnectRefused())
    await lab.ask("/a")
    lab.pass_time(70)
    await lab.ask("/a")
    lab.pass_time(1)
    await lab.ask("/a")
    lab.pass_time(2)
    await lab.ask("/a")
    assert (await lab.ask("/a")).cache_status == "edge; hit; ttl=60"
    lab.pass_time(70)
    await lab.ask("/a")
    lab.pass_time(1)
    await lab.ask("/a")
    assert lab.asked == 6


async def test_a_client_that_leaves_does_not_end_it() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"), lab.response(SWR, body=b"new"))
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 5
    client = asyncio.ensure_future(lab.ask("/a"))
    await settle()
    client.cancel()
    await settle()
    assert len(lab.tasks) == 1
    await lab.clock.advance(5)
    reply = await lab.ask("/a")
    assert (reply.body, len(lab.tasks)) == (b"new", 0)


async def test_one_that_is_ended_with_the_process_leaves_all_as_it_was() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"))
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 5
    await lab.ask("/a")
    await lab.tasks.close()
    assert not lab.store._recordings
    lab.pass_time(1)
    assert (await lab.ask("/a")).body == b"old"
    assert len(lab.tasks) == 1
    await lab.tasks.close()


@pytest.mark.parametrize("said", ["no-store", "only-if-cached", "max-stale=1000", "stale-if-error=1"])
async def test_what_the_client_says_to_caches_is_not_said_for_all(said: str) -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"), lab.response(SWR, body=b"new"))
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a", f"Cache-Control: {said}\nX-Own: 1")
    assert reply.body == b"old"
    await lab.ask("/a")
    assert lab.seen[1].get(b"cache-control") is None
    assert (await lab.ask("/a")).body == b"new"


async def test_who_asks_with_credentials_cannot_keep_it_stale_for_all() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"), lab.response(SWR, body=b"new"))
    await lab.ask("/a")
    lab.pass_time(70)
    for _ in range(3):
        assert (await lab.ask("/a", "Authorization: x")).body == b"old"
    assert lab.asked == 2  # refused, and paused for their like
    assert (await lab.ask("/a")).body == b"old"
    assert (await lab.ask("/a")).body == b"new"


async def test_refreshes_are_no_lookups() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR))
    await lab.ask("/a")
    lab.pass_time(70)
    await lab.ask("/a")
    samples = lab.metrics.samples()
    assert samples['hopstack_cache_lookups_total{result="stale-while-revalidate"}'] == 1
    assert 'hopstack_cache_lookups_total{result="stale"}' not in samples
    assert samples['hopstack_cache_refreshes_total{result="renewed"}'] == 1


async def slowly(lab: Lab, text: str = "") -> Reply:
    """A request that somebody waits for."""
    asking = asyncio.ensure_future(lab.ask("/a", text))
    await settle()
    await lab.clock.advance(lab.delay)
    return await asking


async def test_only_one_client_waits_for_an_origin_that_is_silent() -> None:
    lab = Lab(policy=Policy(stale_if_unreachable=1000))
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"), silent(lab))
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 20
    first = await slowly(lab)
    assert first.cache_status == "edge; fwd=stale; ttl=-30; detail=stale-if-unreachable"
    for _ in range(5):
        reply = await lab.ask("/a")
        assert (reply.body, reply.word("fetch")) == (b"old", "stale-if-unreachable")
        assert reply.cache_status == "edge; hit; ttl=-30; detail=stale-if-unreachable"
        assert reply.get("x-cache") == "STALE"
        assert reply.get("age") == "90"
    assert lab.asked == 3  # one of them in the background
    told = lab.edge.explaining.record(Request(b"GET", b"/a", [], authority=b"shop.test", scheme=b"https"))
    assert (told.lookup, told.answer) == ("stale", 200)
    assert "the origin was silent just now" in told.because[-1]
    await lab.clock.advance(20)
    await lab.ask("/a")
    assert lab.asked == 3  # its pause
    lab.delay = 0
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"new"))
    lab.pass_time(1)
    assert (await lab.ask("/a")).body == b"old"
    assert (await lab.ask("/a")).body == b"new"
    assert len(lab.tasks) == 0


async def test_after_a_while_somebody_asks_again() -> None:
    lab = Lab(policy=Policy(stale_if_unreachable=1000))
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"), silent(lab))
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 20
    await slowly(lab)
    lab.delay = 0
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"new"))
    lab.pass_time(30)
    assert (await lab.ask("/a")).body == b"new"


@pytest.mark.parametrize("said", ["no-cache", "max-age=0"])
async def test_who_wants_the_truth_waits_for_it(said: str) -> None:
    lab = Lab(policy=Policy(stale_if_unreachable=1000))
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"), silent(lab))
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 20
    await slowly(lab)
    reply = await slowly(lab, f"Cache-Control: {said}")
    assert reply.status == 504
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"new"))
    assert (await slowly(lab, f"Cache-Control: {said}")).body == b"new"
    assert not lab.edge._onward.refreshing._notes


async def test_an_origin_that_refuses_at_once_is_asked_each_time() -> None:
    lab = Lab(policy=Policy(stale_if_unreachable=1000))
    lab.origin(lab.response("Cache-Control: max-age=60"), ConnectRefused())
    await lab.ask("/a")
    lab.pass_time(70)
    for asked in (2, 3, 4):
        assert (await lab.ask("/a")).word("fetch") == "stale-if-unreachable"
        assert lab.asked == asked


async def test_what_is_remembered_is_bounded() -> None:
    lab = Lab(size=40_000_000)

    def origin(request: Request) -> object:
        return ConnectRefused() if lab.clock.now() > 1060 else lab.response(SWR)(request)

    lab.script = [origin]  # type: ignore[list-item]
    for number in range(4200):
        await lab.ask(f"/{number}")
    lab.pass_time(70)
    for number in range(4200):
        assert (await lab.ask(f"/{number}")).is_hit
    assert len(lab.edge._onward.refreshing._notes) == 4096
