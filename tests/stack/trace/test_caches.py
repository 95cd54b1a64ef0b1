from __future__ import annotations

import pytest

from cdn_edge.rules.storing import NotStored
from stack import errors
from stack.path import STEPS
from stack.trace import caches, words
from tests.stack.trace.cases import fields

CASES = [
    ("RFC 9211 2.1", "edge; hit; ttl=42", "hit", "answered from the store, fresh for another 42 s"),
    ("RFC 9211 2.4 stale", "edge; hit; ttl=-3", "stale", "answered from the store, 3 s past its freshness"),
    (
        "RFC 5861 3",
        "edge; hit; ttl=-3; detail=stale-while-revalidate",
        "stale",
        "answered from the store, 3 s past its freshness; it is past its freshness, and is being refreshed now "
        "(stale-while-revalidate)",
    ),
    (
        "RFC 9211 2.2 uri-miss",
        "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60",
        "miss",
        "nothing was stored under this URL; stored now, fresh for 60 s",
    ),
    (
        "RFC 9211 2.2 vary-miss",
        "edge; fwd=vary-miss; fwd-status=200; detail=private",
        "miss",
        "what is stored under this URL is for other request fields (Vary: Cookie); not stored: the response says "
        "Cache-Control: private",
    ),
    (
        "RFC 9211 2.2 stale",
        "edge; fwd=stale; fwd-status=304; ttl=3600",
        "revalidated",
        "what is stored is no longer fresh; the origin says that it still holds (304), fresh for 60 min",
    ),
    (
        "RFC 9211 2.2 method",
        "edge; fwd=method; fwd-status=200; detail=method",
        "pass",
        "a request of this method is always passed on; not stored: the response to this method is not kept",
    ),
    (
        "RFC 5861 4",
        "edge; fwd=stale; fwd-status=502; ttl=-9; detail=stale-if-error",
        "stale",
        "answered from the store, 9 s past its freshness; the origin failed, so what is stored answers though stale "
        "(stale-if-error)",
    ),
    (
        "no answer",
        "edge; fwd=uri-miss; detail=connection_refused",
        "miss",
        "nothing was stored under this URL; asking the origin failed: the next hop refused the connection",
    ),
    (
        "not forwarded",
        "edge; detail=only-if-cached",
        "none",
        "the request takes only what is stored (only-if-cached), and nothing is",
    ),
    (
        "validated before each use",
        "edge; fwd=uri-miss; fwd-status=200; stored; ttl=0",
        "miss",
        "nothing was stored under this URL; stored now, to be validated before each use",
    ),
    (
        "stored without its cookies",
        "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60; detail=stripped",
        "miss",
        "nothing was stored under this URL; stored now, fresh for 60 s: it is kept, and nobody gets the cookies that "
        "it sets",
    ),
    ("a detail of another make", 'edge; fwd=bypass; detail="dunno"', "pass",
     "this cache does not look at requests like this one; not stored: dunno"),
    ("a hit of another make", "ExampleCache; hit", "hit", "answered from the store"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "result", "why"), CASES, ids=[case[0] for case in CASES])
def test_cache_status(name: str, value: str, result: str, why: str) -> None:
    (said,) = caches.decisions(fields(f"vary: Cookie\ncache-status: {value}"))
    assert (said.result, said.why) == (result, why)


def test_every_cache_has_its_word_the_one_nearest_to_the_origin_first() -> None:
    text = "cache-status: shield; hit; ttl=3\ncache-status: edge; fwd=uri-miss; stored"
    assert [(said.cache, said.result) for said in caches.decisions(fields(text))] == [
        ("shield", "hit"),
        ("edge", "miss"),
    ]


def test_only_errors_of_proxy_status() -> None:
    text = 'proxy-status: a; received-status=200, b; error=connection_timeout; details="injected: slow"'
    (error,) = caches.errors(fields(text))
    assert (error.hop, error.error) == ("b", "connection_timeout")
    assert error.why == "the next hop did not accept the connection in time (injected: slow)"


def test_every_word_of_the_edge_is_explained() -> None:
    assert {reason.value for reason in NotStored} <= set(words.KEPT)
    assert set(STEPS["cdn_edge"]["store"]) - {"stored"} <= set(words.KEPT)
    lookups = set(STEPS["cdn_edge"]["lookup"]) - {"hit"}
    assert lookups <= set(words.FORWARDED) | set(words.DETAIL)


def test_every_word_of_balancer_and_proxy_is_explained() -> None:
    assert set(STEPS["loadbalancer"]["attempt"]) <= set(words.ATTEMPT)
    assert set(STEPS["proxy"]["compress"]) - {"br", "zstd", "gzip"} <= set(words.CODING)


def test_every_error_type_that_a_hop_sends_is_explained() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.HopError)]
    assert {kind.proxy_status for kind in kinds if kind.proxy_status} <= set(words.ERRORS)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (864000, "10 d")],
)
def test_seconds(value: int, wanted: str) -> None:
    assert caches.seconds(value) == wanted
