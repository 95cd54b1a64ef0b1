"""Assertions that say what happened: each of them passes, and fails with the words that help."""

from __future__ import annotations

from typing import Any

import pytest

from stack.testing import SyncWebStack, WebStack, assert_cached, assert_miss, assert_no_leak, assert_served_by
from tests.stack.testing.apps import MINUTE, Probe

SHARED = "/x?cache-control=public,max-age%3D60"


async def test_cached_and_missed() -> None:
    async with WebStack(Probe) as web:
        first, second = await web.get(MINUTE), await web.get(MINUTE)
        assert_miss(first, reason="uri-miss")
        assert_cached(second)
        with pytest.raises(
            AssertionError, match=r"not answered from the cache: <edge-fra MISS: .*cache-control: max-age=60"
        ):
            assert_cached(first)
        with pytest.raises(AssertionError, match=r"set-cookie.*\n.*say public.*\[Cache-Control: public"):
            assert_cached(await web.get("/x?set-cookie=a%3Db&cache-control=max-age%3D60"))
        with pytest.raises(AssertionError, match="a miss for 'uri-miss', not 'vary-miss'"):
            assert_miss(first, reason="vary-miss")
        with pytest.raises(AssertionError, match="was no miss: <edge-fra HIT"):
            assert_miss(second)


async def test_a_page_made_for_one_and_given_to_another_is_a_leak() -> None:
    async with WebStack(Probe) as web:
        ada, bob = web.client(), web.client()
        page = SHARED + "&body=Hello+Ada+Lovelace"
        a, b = await ada.get(page), await bob.get(page)
        assert_no_leak(a, b)  # the same for all: nothing says that it is personal
        with pytest.raises(AssertionError, match='"Ada Lovelace" is the other user'):
            assert_no_leak(a, b, secrets=("Ada Lovelace",))


async def test_a_cookies_value_in_the_content_is_a_leak() -> None:
    async with WebStack(Probe) as web:
        ada, bob = web.client(), web.client()
        a = await ada.get("/y?cache-control=public,max-age%3D60&body=cart+of+s3ss10n", cookies={"session": "s3ss10n"})
        b = await bob.get("/y?cache-control=public,max-age%3D60&body=cart+of+s3ss10n", cookies={"session": "another1"})
        with pytest.raises(AssertionError, match=r'"s3ss10n" is the other user\'s, and stands in the content'):
            assert_no_leak(a, b)


async def test_a_stored_set_cookie_is_a_leak() -> None:
    async with WebStack(Probe, cache={"set_cookie": "store"}) as web:
        path = SHARED + "&set-cookie=session%3Dabcdef1"
        a, b = await web.client().get(path), await web.client().get(path)
        with pytest.raises(AssertionError, match="the cookie session=abcdef1 was set for the other user"):
            assert_no_leak(a, b)


async def test_a_token_in_the_content_is_a_leak() -> None:
    async with WebStack(Probe) as web:
        page = SHARED + "&body=your+token+is+t0ken-of-ada"
        a = await web.client(headers={"Authorization": "Bearer t0ken-of-ada"}).get(page)
        b = await web.client(headers={"Authorization": "Bearer t0ken-of-bob"}).get(page)
        with pytest.raises(AssertionError, match='"t0ken-of-ada" is the other user'):
            assert_no_leak(a, b)


class Greeter:
    """Greets by cookie, and says what the path wants about caching."""

    count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        self.count += 1
        who = dict(scope["headers"]).get(b"cookie", b"nobody").removeprefix(b"id=")
        said = {
            "/personal": (b"public, max-age=60", {b"1": b"Welcome, Ada", b"2": b"Welcome, Bob"}.get(who, b"Welcome")),
            "/private": (b"private, max-age=60", who),
            "/news": (b"public, max-age=60", b"the same for all"),
            "/visits": (b"public, max-age=60", b"visit no. %d" % self.count),
        }
        control, body = said.get(scope["path"], (b"no-store", b""))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", control)]})
        await send({"type": "http.response.body", "body": body})


LEAK = r"(?s)/personal gave one user what is another's:.*made for the other user, and came from the shared cache.*HIT"


async def test_two_users_find_what_no_response_says_of_itself() -> None:
    async with WebStack(Greeter(), replicas=1) as web:
        ada, bob = web.client(headers={"Cookie": "id=1"}), web.client(headers={"Cookie": "id=2"})
        a, b = await ada.get("/personal"), await bob.get("/personal")
        assert_no_leak(a, b)  # neither of them is known to be personal
        with pytest.raises(AssertionError, match=LEAK):
            await assert_no_leak(ada, bob, "/personal")
        with pytest.raises(AssertionError, match=LEAK):
            await assert_no_leak(ada, bob, lambda user: user.get(web.url("/personal")))
        for page in ("/private", "/news", "/visits"):
            await assert_no_leak(ada, bob, page)
        with pytest.raises(ValueError, match="edge-fra and edge-nrt, whose caches are apart"):
            await assert_no_leak(ada, web.client(edge="nrt"), "/news")


def test_two_users_without_await() -> None:
    with SyncWebStack(Greeter(), replicas=1) as web:
        ada, bob = web.client(headers={"Cookie": "id=1"}), web.client(headers={"Cookie": "id=2"})
        assert_no_leak(ada, bob, "/news")
        with pytest.raises(AssertionError, match=LEAK):
            assert_no_leak(ada, bob, "/personal")
        with pytest.raises(AssertionError, match=LEAK):
            assert_no_leak(ada, bob, lambda user: user.get("/personal"))


async def test_what_is_no_response_is_told() -> None:
    async with WebStack(Greeter(), replicas=1) as web:
        r, user = await web.get("/news"), web.client()
        for wrong in (
            lambda: assert_cached(web.get("/news")),  # type: ignore[arg-type]
            lambda: assert_miss(web.get("/news")),  # type: ignore[arg-type]
            lambda: assert_served_by(web.get("/news"), "app-1"),  # type: ignore[arg-type]
            lambda: assert_no_leak(r, web.get("/news")),  # type: ignore[call-overload]
        ):
            with pytest.raises(TypeError, match="not awaited"):
                wrong()
        with pytest.raises(TypeError, match=r"this is a builtins\.str"):
            assert_cached("page")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"two users need a page"):
            assert_no_leak(user, user)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="a page is for two users"):
            assert_no_leak(r, r, "/news")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="every page has that"):
            assert_no_leak(r, r, secrets=[""])
        with pytest.raises(AssertionError, match='"same" is the other user'):
            assert_no_leak(r, r, secrets="same")
