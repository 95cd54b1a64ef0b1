"""Targeted fields and Surrogate-Control on their way through the edge: RFC 9213 §2.2, §2.3."""

from __future__ import annotations

import pytest

from cdn_edge.rules.directives import Targets
from cdn_edge.rules.judging import Policy
from tests.cdn_edge.lab import Lab


async def test_a_targeted_field_goes_on_to_the_client_with_cache_control_untouched() -> None:
    lab = Lab()
    lab.origin(
        lab.response("Cache-Control: no-store\nCDN-Cache-Control: max-age=60\nExampleCDN-Cache-Control: no-store")
    )
    for expected in ("edge; fwd=uri-miss; fwd-status=200; stored; ttl=60", "edge; hit; ttl=60"):
        reply = await lab.ask("/a")
        assert reply.cache_status == expected
        assert reply.get("cache-control") == "no-store"
        assert reply.get("cdn-cache-control") == "max-age=60"
        assert reply.get("examplecdn-cache-control") == "no-store"


@pytest.mark.parametrize(
    ("field", "word"), [("no-store", "no-store"), ("private", "private"), ("max-age=60, private", "private")]
)
async def test_it_forbids_what_cache_control_allows(field: str, word: str) -> None:
    lab = Lab()
    lab.origin(lab.response(f"Cache-Control: max-age=60, public\nCDN-Cache-Control: {field}"))
    assert (await lab.ask("/a")).word("store") == word


async def test_it_says_nothing_of_authorization_that_cache_control_could_not() -> None:
    lab = Lab()
    lab.origin(lab.response("CDN-Cache-Control: max-age=60"), lab.response("CDN-Cache-Control: max-age=60, public"))
    assert (await lab.ask("/a", "Authorization: x")).word("store") == "authorization"
    assert (await lab.ask("/a", "Authorization: x")).word("store") == "stored"


async def test_a_response_is_served_stale_by_its_targeted_field() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: s-maxage=1\nCDN-Cache-Control: max-age=60, stale-while-revalidate=30"))
    await lab.ask("/a")
    lab.pass_time(70)
    assert "stale-while-revalidate" in (await lab.ask("/a")).cache_status


async def test_surrogate_control_ends_here() -> None:
    lab = Lab()
    lab.origin(lab.response('Cache-Control: no-store\nSurrogate-Control: max-age=60, content="x"\nETag: "a"'))
    for method, hit in (("GET", False), ("GET", True), ("HEAD", True), ("POST", False)):
        reply = await lab.ask("/a", method=method)
        assert reply.is_hit is hit
        assert reply.get("surrogate-control") is None
        assert reply.get("cache-control") == "no-store"
    reply = await lab.ask("/b", 'If-None-Match: "a"')
    assert (reply.status, reply.get("surrogate-control")) == (304, None)
    reply = await lab.ask("/b", "Range: bytes=0-1")
    assert (reply.status, reply.get("surrogate-control")) == (206, None)


async def test_a_304_without_surrogate_control_leaves_it_as_it_was() -> None:
    lab = Lab()
    lab.origin(
        lab.response('Cache-Control: no-store\nSurrogate-Control: max-age=60\nETag: "a"'),
        lab.response('ETag: "a"', status=304, body=b""),
        lab.response('ETag: "a"\nSurrogate-Control: max-age=5', status=304, body=b""),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a")
    assert reply.cache_status == "edge; fwd=stale; fwd-status=304; ttl=60"
    assert reply.get("surrogate-control") is None
    assert (await lab.ask("/a")).is_hit
    lab.pass_time(70)
    assert (await lab.ask("/a")).cache_status == "edge; fwd=stale; fwd-status=304; ttl=5"


async def test_surrogate_control_lets_nothing_private_in() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: private\nSurrogate-Control: max-age=60"))
    assert (await lab.ask("/a")).word("store") == "private"
    lab.origin(lab.response("Surrogate-Control: max-age=60"))
    assert (await lab.ask("/a", "Authorization: x")).word("store") == "authorization"


async def test_what_is_not_on_the_list_changes_nothing_and_passes() -> None:
    lab = Lab(policy=Policy(targets=Targets(())))
    lab.origin(lab.response("Cache-Control: max-age=60\nCDN-Cache-Control: no-store\nSurrogate-Control: no-store"))
    await lab.ask("/a")
    reply = await lab.ask("/a")
    assert reply.cache_status == "edge; hit; ttl=60"
    assert (reply.get("cdn-cache-control"), reply.get("surrogate-control")) == ("no-store", "no-store")
