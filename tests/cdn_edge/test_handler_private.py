"""What is one client's own reaches no other client (RFC 9111 §3.5, §4.2.4, §5.2.1.2)."""

from __future__ import annotations

import asyncio

import pytest

from cdn_edge.rules.judging import Policy
from stack.errors import ConnectRefused
from stack.http.message import ClientCertificate, Peer, Request, Response, TlsInfo
from tests.cdn_edge.lab import Lab

POSTED = "Cache-Control: max-age=60\nContent-Location: /account"


@pytest.mark.parametrize(
    ("text", "answer", "stored"),
    [
        ("", POSTED, True),
        ("Authorization: Basic YTpi", POSTED, False),
        ("Authorization: Basic YTpi", POSTED + "\nCache-Control: public", True),
        ("Cache-Control: no-store", POSTED, False),
    ],
    ids=["nobody's own", "§3.5 Authorization", "§3.5 public", "§5.2.1.5 no-store"],
)
async def test_what_a_post_is_answered_with_is_kept_as_any_other_response(text: str, answer: str, stored: bool) -> None:
    lab = Lab()
    lab.origin(lab.response(answer, body=b"posted"), lab.response("", body=b"got"))
    await lab.ask("/account", text, method="POST", body=b"x")
    reply = await lab.ask("/account")
    assert (reply.is_hit, reply.body) == (stored, b"posted" if stored else b"got")


@pytest.mark.parametrize("other", ["purge", "POST"])
async def test_what_becomes_invalid_while_a_post_is_on_its_way_is_not_its_answer(other: str) -> None:
    lab = Lab()
    lab.delay = 5
    lab.origin(lab.response(POSTED, body=b"first"), lab.response("", body=b"second"), lab.response("", body=b"got"))
    first = asyncio.create_task(lab.ask("/account", method="POST", body=b"x"))
    await lab.clock.advance(3)
    lab.delay = 0
    if other == "purge":
        lab.store.invalidate(b"https://shop.test/account")
    else:
        lab.script.reverse()  # what is asked second is answered first
        await lab.ask("/account", method="POST", body=b"y")
        lab.script.reverse()
    await lab.clock.advance(3)
    assert (await first).status == 200
    assert not (await lab.ask("/account")).is_hit
    assert not lab.store._recordings


NO_LIFETIME = [
    # what the origin says of a page that it made for a client with a cookie
    'ETag: W/"mine"',
    'ETag: "mine"\nLast-Modified: {+0}',
    'ETag: "mine"\nCache-Control: max-age=0',
    'ETag: "mine"\nExpires: 0',
]


@pytest.mark.parametrize("text", NO_LIFETIME)
@pytest.mark.parametrize(
    "asking", ["", "Cache-Control: max-stale", "Cookie: id=other", "Cache-Control: stale-if-error=9"]
)
async def test_a_page_asked_for_with_a_cookie_is_never_sent_stale_to_others(text: str, asking: str) -> None:
    lab = Lab()
    lab.origin(lab.response(text, body=b"mine"), ConnectRefused())
    await lab.ask("/account", "Cookie: id=me")
    lab.pass_time(1)
    reply = await lab.ask("/account", asking)
    assert b"mine" not in reply.body
    assert reply.status == 502


@pytest.mark.parametrize("text", NO_LIFETIME)
async def test_it_is_validated_for_each_client(text: str) -> None:
    lab = Lab()
    lab.origin(lab.response(text, body=b"page"), lab.response(text.partition("\n")[0], status=304, body=b""))
    await lab.ask("/page", "Cookie: id=me")
    reply = await lab.ask("/page", "Cookie: id=other")
    assert (reply.body, reply.word("fetch")) == (b"page", "revalidated")


@pytest.mark.parametrize(
    ("text", "cookie"),
    [
        ('ETag: "a"', ""),
        ('ETag: "a"\nCache-Control: max-age=60', "Cookie: id=me"),
        ('ETag: "a"\nCache-Control: public, max-age=0', "Cookie: id=me"),
        ('ETag: "a"\nCache-Control: max-age=0, stale-if-error=600', "Cookie: id=me"),
        ('ETag: "a"\nVary: Cookie', "Cookie: id=me"),
    ],
)
async def test_what_may_be_anybodys_is_sent_stale_while_the_origin_is_away(text: str, cookie: str) -> None:
    lab = Lab()
    lab.origin(lab.response(text, body=b"page"), ConnectRefused())
    await lab.ask("/page", cookie)
    lab.pass_time(100)
    assert (await lab.ask("/page", cookie)).body == b"page"


async def test_an_operator_may_have_cookies_disregarded() -> None:
    lab = Lab(policy=Policy(guess_for_cookies=True))
    lab.origin(lab.response('ETag: "a"', body=b"page"), ConnectRefused())
    await lab.ask("/page", "Cookie: id=me")
    lab.pass_time(1)
    assert (await lab.ask("/page")).body == b"page"


CERTIFIED = TlsInfo("TLSv1.3", "", "shop.test", "h2", ClientCertificate(b"der", "CN=me", ()))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("Cache-Control: max-age=60", False),
        ("Cache-Control: max-age=60\nVary: Client-Cert", False),
        ("Cache-Control: public, max-age=60\nVary: Client-Cert", False),
        ("Cache-Control: public, max-age=60", True),
        ("Cache-Control: s-maxage=60", True),
    ],
)
@pytest.mark.parametrize("trusted", [False, True])
async def test_what_a_client_got_for_its_certificate_is_its_own(text: str, stored: bool, trusted: bool) -> None:
    """RFC 9440 §2.4: the origin is told of it, and may answer by it."""
    lab = Lab()
    lab.origin(lab.response(text, body=b"mine"), lab.response("", body=b"theirs"))
    fields = [(b"client-cert", b":ZGVy:")] if trusted else []
    peer = Peer("192.0.2.1", 1234, trusted=trusted, tls=None if trusted else CERTIFIED)
    request = Request(b"GET", b"/a", fields, authority=b"shop.test", scheme=b"https", peer=peer)
    answer = lab.edge.handle(request, lab._exchange(request))
    assert not isinstance(answer, Response)
    assert (await answer).body == b"mine"
    assert lab.seen[0].get(b"client-cert") == b":ZGVy:"
    assert (await lab.ask("/a")).body == (b"mine" if stored else b"theirs")
