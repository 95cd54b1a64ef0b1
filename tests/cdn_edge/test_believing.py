"""Behind proxies that are trusted: their word reaches the origin, so it tells responses apart; nobody else's does either."""

from __future__ import annotations

import pytest

from cdn_edge.believing import BelievingEdge
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.key import Keying
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab


def reflecting(request: Request) -> Response:
    told = b"\n".join(b"%b: %b" % field for field in request.fields)
    return Response(200, [(b"cache-control", b"max-age=600")], told)


def lab() -> Lab:
    made = Lab(policy=Policy(keying=Keying(proxies=True)), edge_type=BelievingEdge)
    made.origin(reflecting)
    return made


@pytest.mark.parametrize(
    "said",
    ["X-Forwarded-Proto: https", "X-Forwarded-Host: other.test", "X-Original-URL: /b", "Forwarded: for=1;proto=https"],
)
async def test_what_a_trusted_proxy_says_tells_responses_apart(said: str) -> None:
    edge = lab()
    first = await edge.ask("/a", said, trusted=True, scheme="http")
    assert said.partition(": ")[2].encode().split(b";")[-1] in first.body
    assert (await edge.ask("/a", said, trusted=True, scheme="http")).is_hit
    for other in ("", f"{said}x"):
        assert not (await edge.ask("/a", other, trusted=True, scheme="http")).is_hit


async def test_what_it_says_of_its_client_does_not() -> None:
    edge = lab()
    await edge.ask("/a", "X-Forwarded-Proto: https\nX-Real-IP: 1\nForwarded: for=1;proto=https", trusted=True)
    same = "X-Forwarded-Proto: https\nX-Real-IP: 2\nForwarded: for=2;proto=https"
    assert (await edge.ask("/a", same, trusted=True)).is_hit


async def test_who_is_not_trusted_cannot_speak_for_a_proxy() -> None:
    edge = lab()
    mine = await edge.ask("/a", "X-Forwarded-Proto: https", scheme="http")
    assert b"x-forwarded-proto: http\n" in mine.body
    proxied = await edge.ask("/a", "X-Forwarded-Proto: https", scheme="http", trusted=True)
    assert not proxied.is_hit
    assert b"x-forwarded-proto: https" in proxied.body
    assert (await edge.ask("/a", scheme="http")).is_hit
