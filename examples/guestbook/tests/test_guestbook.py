"""What a unit test cannot see: the guest book behind DNS, an edge, a load balancer and three instances."""

from __future__ import annotations

import pytest
from guestbook import create_app

from stack.testing import WebStack, assert_no_leak, assert_served_by


@pytest.fixture
def webstack_app() -> object:
    """The stack's app: called three times, for three instances with a memory of their own."""
    return create_app


@pytest.mark.webstack(replicas=1)
async def test_a_greeting_is_for_one_pair_of_eyes(webstack: WebStack) -> None:
    """The caching bug: a personal page that says `public`."""
    ada, bob = webstack.client(), webstack.client()
    await ada.post("/login", data={"name": "Ada Lovelace"})
    hers = await ada.get("/")
    assert "Welcome, Ada Lovelace" in hers.text
    his = await bob.get("/")
    assert_no_leak(hers, his, secrets=("Ada Lovelace",))


async def test_an_invitation_leads_to_https(webstack: WebStack) -> None:
    """The forwarded-header bug: TLS ended two hops before the app, which believes that its links begin with http."""
    r = await webstack.get("/invite")
    assert f'href="{webstack.url("/")}"' in r.text


async def test_a_visitor_is_who_asked_and_not_the_hop_before(webstack: WebStack) -> None:
    """The same bug, as rate limits and audit logs have it: the last of X-Forwarded-For is a hop of our own."""
    r = await webstack.get("/invite", headers={"X-Forwarded-For": "203.0.113.7"})
    assert "You come from 127.0.0.1." in r.text
    assert r.request_at("app").headers["x-forwarded-for"].startswith("127.0.0.1, ")  # the edge believed no client


@pytest.mark.webstack(replicas=3, edges=["fra"])
async def test_a_session_is_known_to_every_instance(webstack: WebStack) -> None:
    """The sticky-session bug: sessions in the memory of one process."""
    user = webstack.client()
    await user.post("/login", data={"name": "Grace"})
    for number in range(3):
        r = await user.get(f"/?page={number}")
        assert "Welcome, Grace" in r.text, f"{r.backend} does not know the session"


async def test_a_session_outlives_the_instance_that_made_it(webstack: WebStack) -> None:
    """The same bug, as an operator meets it: one host is taken out for an update."""
    user = webstack.client()
    signed_in = await user.post("/login", data={"name": "Grace"})
    assert_served_by(signed_in, "app-1")
    webstack.backends["app-1"].kill()
    assert "Welcome, Grace" in (await user.get("/?after=update")).text
