"""Assertions that say what happened: each of them passes, and fails with the words that help."""

from __future__ import annotations

import pytest

from stack.testing import WebStack, assert_cached, assert_miss, assert_no_leak
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
