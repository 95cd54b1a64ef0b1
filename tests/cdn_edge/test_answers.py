"""The head of a fresh hit, which is kept for as long as it says the truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_edge.answers import Answers
from cdn_edge.rules.reuse import Terms
from cdn_edge.stored import Stored, whole
from stack.http.message import FieldBlock, get
from stack.testing.clock import VirtualClock
from tests.cdn_edge.lab import Lab


def stored(born: float, lifetime: float) -> Stored:
    fields = [(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"etag", b'"1"')]
    terms = Terms(lifetime)
    return whole(b"https://shop.test/", (), (), status=200, fields=fields, body=b"", terms=terms, date=0, born=born)


@given(
    born=st.floats(0, 1000),
    lifetime=st.floats(1, 5),
    steps=st.lists(st.floats(0, 0.7), min_size=5, max_size=30),
)
def test_age_and_ttl_are_those_of_the_moment(born: float, lifetime: float, steps: list[float]) -> None:
    """RFC 9111 §5.1, RFC 9211 §2.4: a head that is kept says what one made for this moment would say."""
    answers = Answers("edge", VirtualClock(), random.Random(1))
    one = stored(born, lifetime)
    now = born
    for step in steps:
        now += step
        if now >= one.fresh_until:
            break
        if now >= one.hit_until:
            answers.renew(one, now)
        assert one.hit.get(b"age") == b"%d" % (now - born)
        assert one.hit.get(b"cache-status") == b"edge; hit; ttl=%d" % (one.fresh_until - now)


def test_the_head_of_a_hit_is_the_stored_one_and_three_fields() -> None:
    answers = Answers("edge", VirtualClock(), random.Random(1))
    one = stored(0, 10)
    answers.renew(one, 3.5)
    hit = FieldBlock([*one.block.fields, (b"age", b"3"), (b"cache-status", b"edge; hit; ttl=6"), (b"x-cache", b"HIT")])
    assert (one.hit.fields, one.hit.wire) == (hit.fields, hit.wire)
    assert (one.hit.dated, one.hit.length) == (True, None)
    assert get(one.block.fields, b"age") is None


@pytest.mark.parametrize("wait", [0.3, 0.9, 1.1, 7.4])
async def test_a_second_hit_does_not_say_the_age_of_the_first(wait: float) -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask()
    assert (await lab.ask()).get("age") == "0"
    lab.pass_time(wait)
    reply = await lab.ask()
    assert reply.get("age") == str(int(wait))
    assert reply.cache_status == f"edge; hit; ttl={int(60 - wait)}"
