"""Every row of failover, with scripted pools."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from loadbalancer.rules.health import Health
from stack import errors
from stack.errors import HopError
from stack.http.message import Response
from stack.path import STEPS
from tests.loadbalancer.scripted import Bench, ScriptedBody, ScriptedPool, Step

BEFORE_SENDING = [
    errors.ConnectRefused,
    errors.ConnectTimeout,
    errors.TlsFailed,
    errors.DnsFailed,
    errors.CertificateRefused,
    errors.PoolExhausted,
]
AFTER_SENDING = [errors.ClosedEarly, errors.ResponseTimeout, errors.ResponseIncomplete, errors.ResponseMalformed]


async def test_the_common_case() -> None:
    bench = Bench(ScriptedPool(200), ScriptedPool(200))
    response = await bench.send()
    assert response.status == 200
    assert bench.tried == "a"
    assert bench.words == [("choose", "chosen"), ("attempt", "answered")]
    assert (bench.exchange.upstream, bench.exchange.attempts) == ("a", 1)
    assert response.get(b"via") == b"1.1 lb-a"
    assert bench.in_flight() == {"a": 0, "b": 0}
    assert bench.metric('hopstack_lb_attempts_total{backend="a",outcome="answered"}') == 1
    sent = bench.pools[0].sent[0]
    assert sent.get(b"x-forwarded-for") == b"192.0.2.1"
    assert sent.authority == b"shop.test"


@pytest.mark.parametrize("error", BEFORE_SENDING)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE"])
async def test_what_was_not_sent_goes_to_another_whatever_the_method(error: type[HopError], method: bytes) -> None:
    bench = Bench(ScriptedPool(error()), ScriptedPool(200))
    assert (await bench.send(method)).status == 200
    assert bench.tried == "ab"
    assert bench.exchange.attempts == 2
    assert bench.exchange.upstream == "b"


@pytest.mark.parametrize("error", BEFORE_SENDING)
async def test_content_still_unread_goes_to_another(error: type[HopError]) -> None:
    bench = Bench(ScriptedPool(error()), ScriptedPool(200))
    content = ScriptedBody(b"order")
    assert (await bench.send(b"POST", content)).status == 200
    assert bench.pools[1].sent[0].body is content


@pytest.mark.parametrize("error", AFTER_SENDING)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
async def test_a_safe_method_goes_to_another_after_any_failure(error: type[HopError], method: bytes) -> None:
    bench = Bench(ScriptedPool(error()), ScriptedPool(200))
    assert (await bench.send(method)).status == 200
    assert bench.tried == "ab"


@pytest.mark.parametrize("error", AFTER_SENDING)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"PURGE"])
async def test_what_may_have_been_acted_upon_is_not_sent_twice(error: type[HopError], method: bytes) -> None:
    bench = Bench(ScriptedPool(error()), ScriptedPool(200))
    with pytest.raises(error):
        await bench.send(method, b"order")
    assert bench.tried == "a"
    assert bench.metric('hopstack_lb_given_up_total{reason="method"}') == 1


async def test_refused_stream_was_not_processed() -> None:
    """RFC 9113 §8.7: safe for any method, but not with content that is gone."""
    bench = Bench(ScriptedPool(errors.Refused()), ScriptedPool(200))
    assert (await bench.send(b"POST", b"order")).status == 200
    bench = Bench(ScriptedPool(errors.Refused()), ScriptedPool(200))
    with pytest.raises(errors.Refused):
        await bench.send(b"POST", ScriptedBody(b"order"))
    assert bench.metric('hopstack_lb_given_up_total{reason="content"}') == 1


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_safe_method_goes_to_another_after_a_bad_status(status: int) -> None:
    bench = Bench(ScriptedPool(status), ScriptedPool(200))
    assert (await bench.send()).status == 200
    assert bench.words == [("choose", "chosen"), ("attempt", "bad-status"), ("attempt", "answered")]
    assert bench.exchange.tried == ("a", "b")
    assert bench.hurried == ["a"]
    assert bench.metric('hopstack_lb_retries_total{after="bad-status"}') == 1


@pytest.mark.parametrize("status", [200, 301, 404, 429, 500, 501, 505])
async def test_other_answers_are_passed_on(status: int) -> None:
    bench = Bench(ScriptedPool(status), ScriptedPool(200))
    assert (await bench.send()).status == status
    assert bench.tried == "a"


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
async def test_a_bad_status_is_passed_on_for_other_methods(method: bytes) -> None:
    bench = Bench(ScriptedPool(503), ScriptedPool(200))
    assert (await bench.send(method)).status == 503
    assert bench.tried == "a"


async def test_a_safe_method_with_streamed_content_is_not_repeated() -> None:
    bench = Bench(ScriptedPool(503), ScriptedPool(200))
    assert (await bench.send(b"OPTIONS", ScriptedBody(b"x"))).status == 503


async def test_each_backend_at_most_once_and_the_last_answer_is_passed_on() -> None:
    bench = Bench(ScriptedPool(502), ScriptedPool(503), retries=5)
    response = await bench.send()
    assert response.status == 503
    assert response.get(b"via") == b"1.1 lb-a"
    assert bench.tried == "ab"
    assert bench.exchange.upstream == "b"


async def test_retries_are_bounded() -> None:
    bench = Bench(*(ScriptedPool(503) for _ in range(5)), retries=2)
    assert (await bench.send()).status == 503
    assert len(bench.tried) == 3
    assert bench.metric('hopstack_lb_given_up_total{reason="spent"}') == 1


async def test_no_retries() -> None:
    bench = Bench(ScriptedPool(errors.ConnectRefused()), ScriptedPool(200), retries=0)
    with pytest.raises(errors.ConnectRefused):
        await bench.send()
    assert bench.tried == "a"


async def test_a_real_answer_is_worth_more_than_a_later_error() -> None:
    kept = ScriptedBody(b"overloaded")
    bench = Bench(ScriptedPool(Response(503, [(b"retry-after", b"3")], kept)), ScriptedPool(errors.ConnectRefused()))
    response = await bench.send()
    assert (response.status, response.get(b"retry-after")) == (503, b"3")
    assert bench.exchange.upstream == "a"
    assert bench.exchange.attempts == 2
    assert not kept.closed
    assert not isinstance(response.body, bytes)
    assert [piece async for piece in response.body] == [b"overloaded"]
    assert bench.in_flight() == {"a": 0, "b": 0}


@pytest.mark.parametrize("after", [200, 503])
async def test_an_answer_that_is_not_passed_on_is_closed(after: int) -> None:
    dropped = ScriptedBody(b"x" * 100)
    bench = Bench(ScriptedPool(Response(502, [], dropped)), ScriptedPool(after))
    assert (await bench.send()).status == after
    assert dropped.closed
    assert bench.in_flight() == {"a": 0, "b": 0}


async def test_all_errors_end_in_the_last_one() -> None:
    bench = Bench(ScriptedPool(errors.ConnectRefused()), ScriptedPool(errors.ConnectTimeout()))
    with pytest.raises(errors.ConnectTimeout):
        await bench.send()
    assert bench.words == [("choose", "chosen"), ("attempt", "refused"), ("attempt", "timeout")]


@pytest.mark.parametrize("error", [errors.RequestTimeout, errors.ContentTooLarge, errors.BadRequest, errors.ClientGone])
async def test_a_clients_fault_counts_against_no_backend(error: type[HopError]) -> None:
    bench = Bench(ScriptedPool(error()), ScriptedPool(200))
    for _ in range(9):
        with pytest.raises(error):
            await bench.send(b"POST", ScriptedBody(b"slow"))
        await bench.send()
    assert bench["a"].takes
    assert bench["a"].failures == 0
    assert bench.hurried == []


async def test_a_slow_upload_that_the_backend_gave_up_on_counts_against_nobody() -> None:
    bench = Bench(ScriptedPool(errors.ClosedEarly()))
    for _ in range(9):
        with pytest.raises(errors.ClosedEarly):
            await bench.send(b"POST", ScriptedBody(b"slow"))
    assert bench["a"].takes


async def test_a_refused_connection_takes_the_backend_out_at_once() -> None:
    bench = Bench(ScriptedPool(errors.ConnectRefused()), ScriptedPool(200))
    for _ in range(10):
        assert (await bench.send()).status == 200
    assert len(bench.pools[0].sent) == 1
    assert (bench["a"].health, bench["a"].reason) == (Health.DOWN, "traffic: refused")
    assert bench.hurried == ["a"]


async def test_other_failures_take_it_out_when_no_answer_comes_between() -> None:
    lost = errors.ClosedEarly()
    bench = Bench(ScriptedPool(lost, lost, 200, lost, lost, lost), ScriptedPool(200))
    seen = []
    for _ in range(12):
        await bench.send()
        seen.append(bench["a"].health)
    assert len(bench.pools[0].sent) == 6
    assert bench["a"].health is Health.DOWN


async def test_one_request_that_kills_does_not_empty_the_pool() -> None:
    bench = Bench(*(ScriptedPool(errors.ClosedEarly(), 200) for _ in range(3)))
    with pytest.raises(errors.ClosedEarly):
        await bench.send()
    assert [backend.takes for backend in bench.backends.members] == [True, True, True]


async def test_nobody_takes_requests() -> None:
    bench = Bench(ScriptedPool(200), ScriptedPool(200), panic=False)
    bench.check("a", "-")
    bench.check("b", "-")
    with pytest.raises(errors.NoBackend) as caught:
        await bench.send()
    assert (caught.value.status, caught.value.proxy_status) == (503, "destination_unavailable")
    assert bench.words == [("choose", "none")]
    assert bench.tried == ""


async def test_panic_tries_them_nevertheless() -> None:
    bench = Bench(ScriptedPool(200), ScriptedPool(200))
    bench.check("a", "-")
    bench.check("b", "-")
    assert (await bench.send()).status == 200
    assert bench.words == [("choose", "panic"), ("attempt", "answered")]
    assert bench["a"].health is Health.DOWN, "only checks bring it back"


async def test_panic_that_meets_nobody_is_no_backend() -> None:
    bench = Bench(ScriptedPool(errors.ConnectRefused()), ScriptedPool(errors.ConnectTimeout()))
    bench.check("a", "-")
    bench.check("b", "-")
    with pytest.raises(errors.NoBackend):
        await bench.send(b"POST", b"order")
    assert sorted(bench.tried) == ["a", "b"]


async def test_panic_spares_what_is_draining() -> None:
    bench = Bench(ScriptedPool(200), ScriptedPool(200))
    bench.backends.drain(bench["a"])
    bench.check("b", "-")
    await bench.send()
    assert bench.tried == "b"
    bench.backends.drain(bench["b"])
    with pytest.raises(errors.NoBackend):
        await bench.send()


async def test_the_last_one_failing_falls_back_on_one_that_is_down() -> None:
    bench = Bench(ScriptedPool(errors.ConnectRefused()), ScriptedPool(200))
    bench.check("a", "+")
    bench.check("b", "-")
    assert (await bench.send()).status == 200
    assert bench.tried == "ab"


async def test_a_real_answer_is_not_kept_waiting_for_one_that_is_down() -> None:
    bench = Bench(ScriptedPool(503), ScriptedPool(errors.ConnectTimeout()))
    bench.check("a", "+")
    bench.check("b", "-")
    assert (await bench.send()).status == 503
    assert bench.tried == "a"


async def test_in_flight_lasts_to_the_end_of_the_content() -> None:
    bench = Bench(ScriptedPool(Response(200, [], ScriptedBody(b"1", b"2"))))
    response = await bench.send()
    assert bench.in_flight() == {"a": 1}
    assert not isinstance(response.body, bytes)
    assert [piece async for piece in response.body] == [b"1", b"2"]
    assert bench.in_flight() == {"a": 0}
    await response.body.aclose()
    assert bench.in_flight() == {"a": 0}


async def test_content_that_nobody_reads_on() -> None:
    content = ScriptedBody(b"1", b"2")
    bench = Bench(ScriptedPool(Response(200, [], content)))
    response = await bench.send()
    assert not isinstance(response.body, bytes)
    await response.body.aclose()
    assert content.closed
    assert bench.in_flight() == {"a": 0}
    assert bench["a"].failures == 0


async def test_content_that_is_cut_counts_as_failed() -> None:
    steps: list[Step] = [Response(200, [], ScriptedBody(b"1", error=errors.ResponseIncomplete())) for _ in range(3)]
    bench = Bench(ScriptedPool(*steps))
    for _ in range(3):
        response = await bench.send()
        assert not isinstance(response.body, bytes)
        with pytest.raises(errors.ResponseIncomplete):
            async for _piece in response.body:
                pass
    assert bench.metric('hopstack_lb_attempts_total{backend="a",outcome="failed"}') == 3
    assert bench.metric('hopstack_lb_attempts_total{backend="a",outcome="answered"}') == 0
    assert (bench["a"].health, bench["a"].reason) == (Health.DOWN, "traffic: cut")


async def test_a_client_that_leaves_releases_what_it_held() -> None:
    kept = ScriptedBody(b"x")
    bench = Bench(ScriptedPool(Response(503, [], kept)), ScriptedPool(asyncio.Event()))
    task = asyncio.get_running_loop().create_task(bench.send())
    await asyncio.sleep(0.01)
    assert bench.in_flight() == {"a": 1, "b": 1}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.in_flight() == {"a": 0, "b": 0}
    assert kept.closed
    assert bench["b"].failures == 0


async def test_a_loop_is_found_before_a_backend_is_asked() -> None:
    bench = Bench(ScriptedPool(200))
    with pytest.raises(errors.LoopDetected):
        await bench.send(fields=[(b"via", b"1.1 lb-a")])
    assert bench.tried == ""


async def test_least_connections_counts_requests_in_flight() -> None:
    busy = asyncio.Event()
    bench = Bench(ScriptedPool(busy), ScriptedPool(200), ScriptedPool(200), balance="least-connections")
    task = asyncio.get_running_loop().create_task(bench.send())
    await asyncio.sleep(0)
    for _ in range(6):
        await bench.send()
    assert bench.tried == "abbbccc"
    busy.set()
    await task


async def test_weights() -> None:
    bench = Bench(ScriptedPool(200), ScriptedPool(200), ScriptedPool(200), weights=(5, 1, 0))
    for _ in range(12):
        await bench.send()
    assert bench.tried == "a" * 10 + "b" * 2


async def test_the_marks_are_of_the_vocabulary() -> None:
    bench = Bench(
        ScriptedPool(503, errors.ClosedEarly(), errors.ConnectRefused()), ScriptedPool(errors.ResponseTimeout(), 200)
    )
    seen = set()
    for _ in range(6):
        with contextlib.suppress(HopError):
            await bench.send()
        seen.update(bench.words)
    assert seen <= {(step, word) for step, words in STEPS["loadbalancer"].items() for word in words}
    assert len(seen) > 4
