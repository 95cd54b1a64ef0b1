"""What a second request gets, by the clauses of RFC 9111: a table of response, time, request."""

from __future__ import annotations

import pytest

from cdn_edge.rules.judging import Policy
from tests.cdn_edge.lab import Lab

FRESH = "Cache-Control: max-age=60"

REUSE = [
    # case, the first response, seconds, the second request, what Cache-Status says then
    ("4 fresh by max-age", FRESH, 59, "", "hit; ttl=1"),
    ("4 stale by max-age", FRESH, 60, "", "fwd=stale"),
    ("4 fresh by s-maxage", "Cache-Control: s-maxage=60, max-age=0", 59, "", "hit; ttl=1"),
    ("4 stale by s-maxage", "Cache-Control: s-maxage=1, max-age=60", 2, "", "fwd=stale"),
    ("4 fresh by Expires", "Expires: {60}", 59, "", "hit; ttl=1"),
    ("4 stale by Expires", "Expires: {60}", 61, "", "fwd=stale"),
    ("4.2.2 fresh by guess", "Last-Modified: {-600}", 59, "", "hit; ttl=1"),
    ("4.2.2 stale by guess", "Last-Modified: {-600}", 61, "", "fwd=stale"),
    ("4.2.3 Age counts", f"{FRESH}\nAge: 50", 9, "", "hit; ttl=1"),
    ("4.2.3 Age beyond the lifetime", f'{FRESH}\nAge: 70\nETag: "a"', 0, "", "fwd=stale"),
    ("5.2.2.4 no-cache", f'{FRESH}, no-cache\nETag: "a"', 0, "", "fwd=stale"),
    ("5.2.2.5 no-store", f"{FRESH}, no-store", 0, "", "fwd=uri-miss"),
    ("5.2.2.7 private", f"{FRESH}, private", 0, "", "fwd=uri-miss"),
    ("3.5 Authorization does not hinder reuse", FRESH, 0, "Authorization: Basic x", "hit; ttl=60"),
    ("3 Cookie does not hinder reuse", FRESH, 0, "Cookie: a=b", "hit; ttl=60"),
    ("4.1 Vary, both without", f"{FRESH}\nVary: X", 0, "", "hit; ttl=60"),
    ("4.1 Vary, unlike", f"{FRESH}\nVary: X", 0, "X: 1", "fwd=vary-miss"),
    ("4.1 Vary: *", f"{FRESH}\nVary: *", 0, "", "fwd=uri-miss"),
    ("5.2.1.1 max-age=0", FRESH, 1, "Cache-Control: max-age=0", "fwd=request"),
    ("5.2.1.1 max-age", FRESH, 5, "Cache-Control: max-age=6", "hit; ttl=55"),
    ("5.2.1.2 max-stale", FRESH, 70, "Cache-Control: max-stale=20", "hit; ttl=-10; detail=max-stale"),
    ("5.2.1.3 min-fresh", FRESH, 55, "Cache-Control: min-fresh=10", "fwd=request"),
    ("5.2.1.4 no-cache", FRESH, 0, "Cache-Control: no-cache", "fwd=request"),
    ("5.4 Pragma", FRESH, 0, "Pragma: no-cache", "fwd=request"),
    ("5.2.1.7 only-if-cached, stored", FRESH, 0, "Cache-Control: only-if-cached", "hit; ttl=60"),
    ("5.2.1.7 only-if-cached, stale", FRESH, 61, "Cache-Control: only-if-cached", "detail=only-if-cached"),
    ("5861 3", f"{FRESH}, stale-while-revalidate=9", 65, "", "hit; ttl=-5; detail=stale-while-revalidate"),
    ("5861 3 beyond", f"{FRESH}, stale-while-revalidate=9", 70, "", "fwd=stale"),
    ("5861 3 must-revalidate", f"{FRESH}, stale-while-revalidate=9, must-revalidate", 65, "", "fwd=stale"),
]


@pytest.mark.parametrize(
    ("response", "seconds", "request_fields", "expected"), [pytest.param(*row, id=case) for case, *row in REUSE]
)
async def test_reuse(response: str, seconds: float, request_fields: str, expected: str) -> None:
    lab = Lab()
    lab.origin(lab.response(response, body=b"one"), lab.response(response, body=b"two"))
    first = await lab.ask("/a")
    assert first.body == b"one"
    lab.pass_time(seconds)
    second = await lab.ask("/a", request_fields)
    assert second.cache_status.startswith(f"edge; {expected}")
    if expected.startswith("hit"):
        assert second.at_once
        assert second.body == b"one"
        assert second.get("x-cache") == ("STALE" if "detail=" in expected else "HIT")
    elif "only-if-cached" in expected:
        assert second.status == 504
        assert lab.asked == 1
    else:
        assert second.body == b"two"
        assert second.get("x-cache") == "MISS"
        assert lab.asked == 2


@pytest.mark.parametrize(
    "status", [200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 500, 501, 503, 599]
)
async def test_a_status_with_explicit_freshness_is_reused(status: int) -> None:
    lab = Lab(policy=Policy(request_errors="explicit"))
    lab.origin(lab.response(FRESH, status=status, body=b"" if status == 204 else b"x"))
    await lab.ask("/a")
    reply = await lab.ask("/a")
    assert (reply.status, reply.is_hit) == (status, True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"authority": "SHOP.TEST"}, True),
        ({}, {"authority": "shop.test:443"}, True),
        ({}, {"authority": "shop.test:8443"}, False),
        ({}, {"scheme": "http"}, False),
        ({}, {"authority": "www.shop.test"}, False),
        ({"target": "/a?x=1"}, {"target": "/a?x=2"}, False),
        ({"target": "/a?"}, {"target": "/a"}, False),
        ({"target": "/a"}, {"target": "/A"}, False),
        ({}, {"method": "HEAD"}, True),
        ({"method": "HEAD"}, {}, False),
    ],
)
async def test_the_key(one: dict[str, str], other: dict[str, str], same: bool) -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH))
    await lab.ask(**{"target": "/a", **one})  # type: ignore[arg-type]
    assert (await lab.ask(**{"target": "/a", **other})).is_hit is same  # type: ignore[arg-type]


async def test_age_grows_and_date_stays() -> None:
    """RFC 9111 §5.1, §4.2.3; RFC 9110 §6.6.1."""
    lab = Lab()
    lab.origin(lab.response(f"{FRESH}\nAge: 5", date=-3))
    first = await lab.ask("/a")
    assert first.get("age") == "5"
    lab.pass_time(10)
    second = await lab.ask("/a")
    assert second.get("age") == "15"
    assert second.get("date") == first.get("date")


async def test_the_delay_of_the_fetch_is_part_of_the_age() -> None:
    """RFC 9111 §4.2.3: response_delay."""
    lab = Lab()
    lab.origin(lab.response(f"{FRESH}\nAge: 5"))
    real = lab.edge._onward._origin._send

    async def slow(request, exchange):  # type: ignore[no-untyped-def]
        lab.pass_time(7)
        return await real(request, exchange)

    lab.edge._onward._origin._send = slow
    await lab.ask("/a")
    assert (await lab.ask("/a")).get("age") == "12"


async def test_what_a_hit_does_not_repeat_of_the_first_response() -> None:
    lab = Lab()
    lab.origin(
        lab.response(
            f"{FRESH}\nServer-Timing: app;dur=3\nX-Request-ID: theirs\nX-Cache: HIT from shield\nAge: 1\n"
            "Cache-Status: shield; hit\nX-Own: 1\nConnection: x-hop\nX-Hop: 1\nKeep-Alive: timeout=5"
        )
    )
    first = await lab.ask("/a")
    assert first.get("server-timing") == "app;dur=3"
    assert first.get("x-request-id") is None
    assert first.get("x-cache") == "MISS"
    assert first.cache_status.startswith("shield; hit, edge; fwd=uri-miss")
    second = await lab.ask("/a")
    assert second.get("server-timing") is None
    assert second.get("x-request-id") is None
    assert second.get("x-cache") == "HIT"
    assert second.get("age") == "1"
    assert second.get("x-own") == "1"
    assert second.get("x-hop") is None
    assert second.get("keep-alive") is None
    assert second.cache_status == "shield; hit, edge; hit; ttl=59"
    assert second.get("via") == first.get("via") == "1.1 edge"


async def test_fields_that_no_cache_and_private_name() -> None:
    """RFC 9111 §5.2.2.4, §5.2.2.7."""
    lab = Lab()
    lab.origin(lab.response(f'{FRESH}, no-cache="set-cookie", private="x-user"\nSet-Cookie: a=b\nX-User: 1\nX-Own: 2'))
    first = await lab.ask("/a")
    assert first.get("set-cookie") == "a=b"
    second = await lab.ask("/a")
    assert second.is_hit
    assert (second.get("set-cookie"), second.get("x-user"), second.get("x-own")) == (None, None, "2")


async def test_variants_live_side_by_side() -> None:
    """RFC 9111 §4.1."""
    lab = Lab()
    lab.origin(
        lab.response(f"{FRESH}\nVary: Accept-Encoding\nContent-Encoding: gzip", body=b"gz"),
        lab.response(f"{FRESH}\nVary: Accept-Encoding", body=b"plain"),
    )
    await lab.ask("/a", "Accept-Encoding: gzip, br")
    assert (await lab.ask("/a")).cache_status.startswith("edge; fwd=vary-miss")
    assert (await lab.ask("/a", "Accept-Encoding: br,GZIP")).body == b"gz"
    assert (await lab.ask("/a")).body == b"plain"
    assert lab.asked == 2


async def test_the_words_are_marked_and_counted() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH))
    first = await lab.ask("/a")
    assert [(step, word) for step, word, _ in first.exchange.marks] == [
        ("lookup", "uri-miss"),
        ("fetch", "fetched"),
        ("store", "stored"),
    ]
    second = await lab.ask("/a")
    assert [(step, word) for step, word, _ in second.exchange.marks] == [("lookup", "hit")]
    samples = lab.metrics.samples()
    assert samples['hopstack_cache_lookups_total{result="uri-miss"}'] == 1
    assert samples['hopstack_cache_lookups_total{result="hit"}'] == 1
    assert samples['hopstack_cache_stores_total{result="stored"}'] == 1


async def test_only_if_cached_is_a_problem_document() -> None:
    """RFC 9111 §5.2.1.7."""
    lab = Lab()
    reply = await lab.ask("/a", "Cache-Control: only-if-cached")
    assert reply.status == 504
    assert reply.get("content-type") == "application/problem+json"
    assert reply.cache_status == "edge; detail=only-if-cached"
    assert lab.asked == 0


async def test_hits_at_the_instant_of_its_birth_have_their_heads() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask("/a")
    for _ in range(3):
        reply = await lab.ask("/a")
        assert (reply.cache_status, reply.get("cache-control")) == ("edge; hit; ttl=60", "max-age=60")


@pytest.mark.parametrize("said", ["Cache-Control: no-cache", "Cache-Control: max-age=0", "Pragma: no-cache"])
async def test_5_2_1_clients_direct_the_cache_only_where_the_operator_lets_them(said: str) -> None:
    for directed in (True, False):
        lab = Lab(policy=Policy(directed=directed))
        lab.origin(lab.response("Cache-Control: max-age=60"))
        await lab.ask("/a")
        assert (await lab.ask("/a", said)).is_hit is not directed
        await lab.ask("/b", said)
        name = said.partition(":")[0].lower().encode()
        assert lab.seen[-1].get(name) is not None  # it goes on


async def test_what_is_no_directive_counts_where_directives_do_not() -> None:
    lab = Lab(policy=Policy(directed=False))
    lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"'))
    await lab.ask("/a")
    assert (await lab.ask("/a", 'Cache-Control: no-cache\nIf-None-Match: "a"')).status == 304
    assert (await lab.ask("/a", "Cache-Control: no-cache\nRange: bytes=0-0")).status == 206
    assert (await lab.ask("/b", "Cache-Control: no-store\nAuthorization: x")).word("store") == "authorization"
    assert (await lab.ask("/c", "Cache-Control: no-store")).word("store") == "stored"
    assert (await lab.ask("/d", "Cache-Control: only-if-cached")).status == 200
