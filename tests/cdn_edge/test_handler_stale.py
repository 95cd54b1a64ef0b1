"""Serving stale: RFC 5861, RFC 9111 §4.2.4; and what the client is told of failures."""

from __future__ import annotations

import json

import pytest

from cdn_edge.rules.judging import Policy
from stack.errors import ClientGone, ConnectRefused, HopError, ResponseTimeout
from tests.cdn_edge.lab import Lab, Stream

SWR = 'Cache-Control: max-age=60, stale-while-revalidate=30\nETag: "a"'
SIE = "Cache-Control: max-age=60, stale-if-error=30"


async def test_a_stale_answer_now_and_one_refresh_behind_it() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"), lab.response(SWR.replace('"a"', '"b"'), body=Stream(b"n", b"ew")))
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a", "Range: bytes=0-0\nX-Own: 1")
    assert (reply.at_once, reply.body) == (True, b"o")
    assert reply.cache_status == "edge; hit; ttl=-10; detail=stale-while-revalidate"
    sent = lab.seen[1]
    assert sent.method == b"GET"
    assert sent.get(b"range") is None
    assert sent.get(b"x-own") == b"1"
    assert sent.get(b"if-none-match") == b'"a"'
    assert sent.get(b"x-request-id") == b"own-id"
    again = await lab.ask("/a")
    assert (again.body, again.cache_status) == (b"new", "edge; hit; ttl=60")
    assert len(lab.tasks) == 0


async def test_a_refresh_that_is_a_304() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR, body=b"old"), lab.response('ETag: "a"', status=304, body=b""))
    await lab.ask("/a")
    lab.pass_time(70)
    await lab.ask("/a", method="HEAD")
    assert (await lab.ask("/a")).cache_status == "edge; hit; ttl=60"


async def test_one_refresh_at_a_time() -> None:
    lab = Lab()
    lab.origin(lab.response(SWR))
    await lab.ask("/a")
    lab.pass_time(70)
    lab.delay = 5
    for _ in range(10):
        assert (await lab.ask("/a")).is_hit
    assert lab.asked == 2
    await lab.clock.advance(5)
    assert (await lab.ask("/a")).cache_status.startswith("edge; hit; ttl=5")


FAILURES = [
    # case, response, seconds, request, failure, served stale
    ("4 500", SIE, 70, "", 500, True),
    ("4 502", SIE, 70, "", 502, True),
    ("4 503", SIE, 70, "", 503, True),
    ("4 504", SIE, 70, "", 504, True),
    ("4 refused", SIE, 70, "", ConnectRefused(), True),
    ("4 silent", SIE, 70, "", ResponseTimeout(), True),
    ("4 404 is an answer", SIE, 70, "", 404, False),
    ("4 501 is an answer", SIE, 70, "", 501, False),
    ("4 beyond", SIE, 90, "", 503, False),
    ("4 refused beyond", SIE, 90, "", ConnectRefused(), False),
    ("4 by the request", "Cache-Control: max-age=60", 70, "Cache-Control: stale-if-error=30", 503, True),
    ("9111 4.2.4 unreachable, nothing said", "Cache-Control: max-age=60", 70, "", ConnectRefused(), True),
    ("9111 4.2.4 an error, nothing said", "Cache-Control: max-age=60", 70, "", 503, False),
    ("9111 4.2.4 unreachable for too long", "Cache-Control: max-age=60", 1070, "", ConnectRefused(), False),
    ("9111 5.2.2.2", f"{SIE}, must-revalidate", 70, "", ConnectRefused(), False),
    ("9111 5.2.2.2 answered", f"{SIE}, must-revalidate", 70, "", 503, False),
    ("9111 5.2.2.8", f"{SIE}, proxy-revalidate", 70, "", ConnectRefused(), False),
    ("9111 5.2.2.10", f"{SIE}, s-maxage=60", 70, "", ConnectRefused(), False),
    ("9111 5.2.2.4", f'{SIE}, no-cache\nETag: "a"', 10, "", ConnectRefused(), False),
    ("9111 5.2.1.4", SIE, 70, "Cache-Control: no-cache", ConnectRefused(), False),
    ("9111 5.2.1.4 fresh", SIE, 10, "Cache-Control: no-cache", ConnectRefused(), False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("response", "seconds", "request_fields", "failure", "stale"),
    [pytest.param(*row, id=case) for case, *row in FAILURES],
)
async def test_the_origin_fails(
    response: str, seconds: float, request_fields: str, failure: int | HopError, stale: bool
) -> None:
    lab = Lab(policy=Policy(stale_if_unreachable=1000))
    broken = failure if isinstance(failure, HopError) else lab.response("", status=failure, body=Stream(b"broken"))
    lab.origin(lab.response(response, body=b"stored"), broken)
    await lab.ask("/a")
    lab.pass_time(seconds)
    reply = await lab.ask("/a", request_fields)
    if stale:
        word = "stale-if-error" if isinstance(failure, int) else "stale-if-unreachable"
        assert (reply.status, reply.body) == (200, b"stored")
        assert reply.get("age") == str(int(seconds))
        assert reply.word("fetch") == word
        assert reply.cache_status.endswith(f"ttl={60 - seconds}; detail={word}")
        if isinstance(failure, int):
            assert f"fwd-status={failure}" in reply.cache_status
        assert lab.store.statistics().objects == 1
    else:
        assert reply.status == (failure if isinstance(failure, int) else failure.status)
        assert "detail=stale" not in reply.cache_status
    assert not lab.store._recordings


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ConnectRefused(private="10.0.0.7:8000"), 502, "connection_refused"),
        (ResponseTimeout(), 504, "http_response_timeout"),
    ],
)
async def test_a_failure_is_a_problem_document_with_its_cache_status(error: HopError, status: int, word: str) -> None:
    lab = Lab()
    lab.origin(error)
    for method in ("GET", "POST"):
        reply = await lab.ask("/a", method=method)
        assert reply.status == status
        why = "uri-miss" if method == "GET" else "method"
        assert reply.cache_status == f"edge; fwd={why}; detail={word}"
        assert reply.get("x-cache") == "MISS"
        assert f"error={word}" in (reply.get("proxy-status") or "")
        assert json.loads(reply.body)["request_id"] == "own-id"
        assert b"10.0.0.7" not in reply.body
        assert reply.exchange.proxy_status == word
        assert reply.word("fetch") == "failed"
    assert not lab.store._recordings


async def test_a_client_that_is_gone_is_answered_by_nobody() -> None:
    lab = Lab()
    lab.origin(ClientGone())
    with pytest.raises(ClientGone):
        await lab.ask("/a", method="POST")
    with pytest.raises(ClientGone):
        await lab.ask("/a")
    assert not lab.store._recordings


async def test_our_own_mistake_leaves_nothing_behind() -> None:
    lab = Lab()
    lab.origin(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await lab.ask("/a")
    assert not lab.store._recordings


@pytest.mark.parametrize("status", [200, 301, 404, 500, 503])
async def test_every_response_has_cache_status(status: int) -> None:
    lab = Lab()
    lab.origin(lab.response("", status=status))
    for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE", "FOO"):
        reply = await lab.ask("/a", method=method)
        assert reply.cache_status.startswith("edge; fwd=")
        assert f"fwd-status={status}" in reply.cache_status
