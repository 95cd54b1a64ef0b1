"""Cache-Status and X-Cache: their words, what comes from caches behind, who gets them, and the key."""

from __future__ import annotations

import pytest

from cdn_edge.shown import Shown, To
from stack.errors import ConnectRefused, LoopDetected
from stack.http.message import Peer, Request, Response, combined
from stack.telemetry.exchange import Exchange
from tests.cdn_edge.lab import Lab, Script


async def test_x_cache_is_one_plain_word() -> None:
    lab = Lab()
    swr = lab.response('Cache-Control: max-age=10, stale-while-revalidate=60, stale-if-error=600\nETag: "a"')
    lab.origin(swr)
    assert (await lab.ask("/a")).get("x-cache") == "MISS"
    assert (await lab.ask("/a")).get("x-cache") == "HIT"
    assert (await lab.ask("/a", "Range: bytes=0-1")).get("x-cache") == "HIT"
    lab.pass_time(20)
    lab.origin(Response(304, []))
    assert (await lab.ask("/a")).get("x-cache") == "STALE"
    lab.pass_time(200)
    assert (await lab.ask("/a")).get("x-cache") == "REVALIDATED"
    lab.pass_time(200)
    lab.origin(ConnectRefused())
    assert (await lab.ask("/a")).get("x-cache") == "STALE"
    assert (await lab.ask("/b")).get("x-cache") == "MISS"
    lab.origin(lab.response())
    assert (await lab.ask("/a", method="POST")).get("x-cache") == "BYPASS"
    assert (await lab.ask("/a", "Cache-Control: only-if-cached")).get("x-cache") == "MISS"


BEHIND = [
    ("shield; hit; ttl=5", "shield; hit; ttl=5, edge; fwd=uri-miss"),
    ('"Far Away"; fwd=miss; fwd-status=200; stored, shield; hit', '"Far Away"; fwd=miss; fwd-status=200; stored, shield; hit, edge;'),
    ('a; key="x, \\"y\\""', 'a; key="x, \\"y\\"", edge; fwd'),
    ("shield; hit; ttl=", "edge; fwd"),
    ("shield hit", "edge; fwd"),
    ('shield; detail="open', "edge; fwd"),
    ("shield,", "edge; fwd"),
    ("", "edge; fwd"),
    ("shield; hit; ttl=5\nCache-Status: near; fwd=stale", "shield; hit; ttl=5, near; fwd=stale, edge; fwd"),
    ("shield; hit\nCache-Status: =", "edge; fwd"),
]  # fmt: skip


@pytest.mark.parametrize(("behind", "begin"), BEHIND, ids=[case[0] for case in BEHIND])
async def test_members_of_caches_behind_stay_in_order_and_what_is_malformed_goes(behind: str, begin: str) -> None:
    """RFC 9211 §2, RFC 9651 §4.2: one member that cannot be read would make all of them unreadable."""
    lab = Lab()
    lab.origin(lab.response(f"Cache-Control: max-age=60\nCache-Status: {behind}"))
    reply = await lab.ask("/a")
    assert reply.cache_status.startswith(begin)
    hit = (await lab.ask("/a")).cache_status
    assert hit == f"{reply.cache_status.partition('edge;')[0]}edge; hit; ttl=60"


async def shown(lab: Lab, to: To, *, trusted: bool = False, key: bool = False, target: str = "/a") -> Response:
    service = Shown(lab.edge, to=to, key=lab.policy.keying.of if key else None)
    request = Request(
        b"GET", target.encode(), [], authority=b"shop.test", scheme=b"https", peer=Peer("192.0.2.1", 1, trusted=trusted)
    )
    answer = service.handle(request, Exchange("edge", lab.clock.now, request))
    return answer if isinstance(answer, Response) else await answer


def field(response: Response, name: str) -> str | None:
    value = combined([*(response.block.fields if response.block else []), *response.fields], name.encode())
    return None if value is None else value.decode()


@pytest.mark.parametrize(
    ("to", "trusted", "sees"),
    [("all", False, True), ("trusted", False, False), ("trusted", True, True), ("none", True, False)],
)
async def test_who_gets_it(to: To, *, trusted: bool, sees: bool) -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nCache-Status: shield; hit\nX-Own: 1"))
    for _ in range(3):
        response = await shown(lab, to, trusted=trusted)
        assert (field(response, "cache-status") is not None) is sees
        assert (field(response, "x-cache") is not None) is sees
        assert (response.status, response.body, field(response, "x-own")) == (200, b"content", "1")
    assert lab.asked == 1
    again = await lab.ask("/a")
    assert again.cache_status == "shield; hit, edge; hit; ttl=60"


FAILURES: list[Script | BaseException] = [ConnectRefused(), LoopDetected()]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_failures_too(failure: BaseException) -> None:
    lab = Lab()
    lab.origin(failure)
    assert field(await shown(lab, "none"), "cache-status") is None
    assert field(await shown(lab, "all"), "cache-status") is not None


async def test_the_key() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nCache-Status: shield; hit"))
    target = '/a?b="\\c'
    miss = field(await shown(lab, "all", key=True, target=target), "cache-status")
    hit = field(await shown(lab, "all", key=True, target=target), "cache-status")
    key = 'key="https://shop.test/a?b=\\"\\\\c"'
    assert miss == f"shield; hit, edge; fwd=uri-miss; fwd-status=200; stored; ttl=60; {key}"
    assert hit == f"shield; hit, edge; hit; ttl=60; {key}"
