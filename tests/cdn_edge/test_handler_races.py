"""What changes while a fetch is on its way (RFC 9111 §4.3.4, §4.4)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cdn_edge.explain import asked as request_of
from cdn_edge.rules.judging import Policy
from stack.clock import eventually
from stack.errors import ConnectRefused, ConnectTimeout
from stack.http.message import Request, Response, get
from tests.cdn_edge.disk_lab import disk_lab
from tests.cdn_edge.lab import Lab
from tests.cdn_edge.ranged import File, counted

A = b"https://shop.test/a"


@pytest.mark.parametrize("failure", [ConnectTimeout(), 503], ids=["silent", "503"])
async def test_what_was_purged_while_it_was_validated_is_not_sent_instead_of_a_failure(
    failure: ConnectTimeout | int,
) -> None:
    lab = Lab()
    broken = lab.response("", status=failure, body=b"broken") if isinstance(failure, int) else failure
    lab.origin(lab.response("Cache-Control: max-age=60, stale-if-error=600", body=b"old"), broken)
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 5
    asking = asyncio.create_task(lab.ask("/a"))
    await lab.clock.advance(3)
    assert lab.store.invalidate(A) == 1
    await lab.clock.advance(3)
    reply = await asking
    assert reply.status in (503, 504)
    assert b"old" not in reply.body


class SlowLab(Lab):
    """The origin makes each answer when it is asked, and some take their time to come."""

    async def _fetch(self, request: Request, exchange: object) -> Response:
        self.seen.append(request)
        made = self.script.pop(0)(request)
        assert isinstance(made, Response)
        slow = made.fields and (b"x-slow", b"1") in made.fields
        if slow:
            await self.clock.sleep(5)
        return made


async def test_a_304_that_was_overtaken_by_another_version_does_not_bring_the_old_one_back() -> None:
    lab = SlowLab()
    kept = "Cache-Control: max-age=60\nETag: "
    lab.origin(
        lab.response(kept + '"1"', body=b"first"),
        lab.response(kept + '"1"\nX-Slow: 1', status=304, body=b""),
        lab.response(kept + '"2"', body=b"second"),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    slow = asyncio.create_task(lab.ask("/a"))
    await lab.clock.advance(1)
    assert (await lab.ask("/a")).body == b"second"
    await lab.clock.advance(5)
    assert (await slow).body == b"first"
    reply = await lab.ask("/a")
    assert (reply.is_hit, reply.body) == (True, b"second")


async def test_what_comes_later_but_is_older_does_not_take_the_place_of_what_is_newer() -> None:
    lab = SlowLab()
    kept = "Cache-Control: max-age=60"
    lab.origin(
        lab.response(kept + "\nX-Slow: 1", body=b"first"),
        lab.response(kept, body=b"second"),
    )
    slow = asyncio.create_task(lab.ask("/a"))
    await lab.clock.advance(2)
    assert (await lab.ask("/a")).body == b"second"
    await lab.clock.advance(5)
    assert (await slow).body == b"first"
    assert (await lab.ask("/a")).body == b"second"


async def test_a_slice_is_fetched_without_what_makes_another_method_of_it() -> None:
    lab = Lab(max_object=20_000, policy=Policy(max_object=20_000, slice=4_096, slice_from=8_192))
    file = File(lab.clock, counted(20_000))
    lab.origin(file)
    await lab.ask("/a", "Range: bytes=0-9")
    await lab.ask("/a", "Range: bytes=9000-9009\nX-HTTP-Method-Override: DELETE")
    assert lab.asked == 2
    assert lab.seen[1].get(b"range") is not None
    assert lab.seen[1].get(b"x-http-method-override") is None


async def test_what_came_while_the_disk_was_asked_has_no_age_below_zero(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"old"))
        await lab.ask("/a")
        await lab.written()
        lab.empty_memory()
        bring = lab.disk.tier.bring

        async def slowly(key: bytes, *rest: object) -> object:
            await lab.clock.sleep(1.9)
            return await bring(key, *rest)  # type: ignore[arg-type]

        lab.disk.tier.bring = slowly  # type: ignore[method-assign, assignment]
        first = asyncio.create_task(lab.ask("/a"))
        await lab.clock.advance(1.8)
        lab.origin(lab.response("Cache-Control: max-age=60", body=b"new"))
        lab.disk.tier.bring = bring  # type: ignore[method-assign]
        await lab.ask("/a", "Cache-Control: no-cache")
        await lab.clock.advance(0.5)
        reply = await first
        assert reply.body == b"new"
        assert reply.get("age") == "0"


async def test_one_refresh_at_a_time_also_of_what_the_memory_does_not_keep(tmp_path: Path) -> None:
    async with disk_lab(tmp_path) as lab:
        lab.origin(
            lab.response("Cache-Control: max-age=60, stale-while-revalidate=3000", body=b"old"), ConnectRefused()
        )
        await lab.ask("/a")
        await lab.written()
        lab.empty_memory()
        lab.pass_time(70)
        lab.delay = 5
        for _ in range(3):
            assert (await lab.ask("/a")).word("lookup") == "stale-while-revalidate"
            lab.empty_memory()
        assert lab.asked == 2
        await lab.clock.advance(5)
        await eventually(lambda: not lab.edge._onward.refreshing._under_way)
        lab.delay = 0
        for _ in range(3):
            assert (await lab.ask("/a")).word("lookup") == "stale-while-revalidate"
            lab.empty_memory()
        assert lab.asked == 2, "it has failed just now"


@pytest.mark.parametrize("text", ["", "Cache-Control: max-age=50"])
async def test_a_request_that_waited_while_the_answer_came_has_no_age_below_zero(text: str) -> None:
    """As before an edge whose service is slow by order (`stack.faults.serving`)."""
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    request = request_of({"url": "https://shop.test/a", "headers": dict([text.split(": ")] if text else [])})
    exchange = lab._exchange(request)
    lab.pass_time(3)
    await lab.ask("/a")
    answer = lab.edge.handle(request, exchange)
    assert isinstance(answer, Response)
    fields = [*(answer.block.fields if answer.block is not None else []), *answer.fields]
    assert get(fields, b"age") == b"0"
