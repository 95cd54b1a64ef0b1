"""RFC 9211."""

from __future__ import annotations

from cdn_edge.rules.cache_status import forwarded, fresh_hit, hit, member, unanswered


def test_a_name_that_is_no_token_is_a_string() -> None:
    assert member("edge-fra") == b"edge-fra"
    assert member("edge-fra/0") == b"edge-fra/0"
    assert member("1st edge") == b'"1st edge"'


def test_members() -> None:
    assert fresh_hit(b"edge") % 30 == b"edge; hit; ttl=30"
    assert fresh_hit(b'"a%d"') % 3 == b'"a%d"; hit; ttl=3'
    assert hit(b"edge", -4, "stale-while-revalidate") == b"edge; hit; ttl=-4; detail=stale-while-revalidate"
    assert forwarded(b"edge", "uri-miss") == b"edge; fwd=uri-miss"
    assert (
        forwarded(b"edge", "uri-miss", status=200, stored=True, ttl=60)
        == b"edge; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    )
    assert forwarded(b"edge", "stale", status=503, detail="a b") == b'edge; fwd=stale; fwd-status=503; detail="a b"'
    assert unanswered(b"edge", "only-if-cached") == b"edge; detail=only-if-cached"
