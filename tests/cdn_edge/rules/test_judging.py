"""Whatever origin and client send: nothing breaks, and what must not be never is."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from cdn_edge.rules.judging import Policy, judge
from cdn_edge.rules.reuse import Failure, decide, on_error
from cdn_edge.rules.storing import SetCookie
from stack.http.message import Fields

NAMES = st.sampled_from(
    b"cache-control cdn-cache-control hopstack-cdn-cache-control surrogate-control expires date age last-modified etag vary "
    b"set-cookie content-length pragma no-vary-search content-range trailer".split()
)
ODD = st.lists(
    st.sampled_from(
        [b"max-age", b"=", b"60", b",", b" ", b'"', b"private", b"-1", b"9" * 20, b"\xff", b";", b"*", b"0", b"+", b"\xb2",
         b"thu aug  8 02:01:18 2050", b"Thursday, 18-Aug-50 02:01:18 gmt", b"Fri, 31 Feb 9999 99:99:99 GMT"]
    ), max_size=6,
).map(b"".join)  # fmt: skip
DIRECTIVES = st.lists(
    st.sampled_from(
        [b"max-age=60", b"s-maxage=60", b"max-age=0", b"private", b"public", b"no-store", b"no-cache", b"must-revalidate",
         b"stale-while-revalidate=900", b"stale-if-error=900", b"immutable", b"must-understand", b"proxy-revalidate",
         b'no-cache="set-cookie"', b'private="x"', b"max-stale", b"min-fresh=9", b"stale-if-error=9"]
    ), min_size=1, max_size=3,
).map(b", ".join)  # fmt: skip
VALUES = st.one_of(DIRECTIVES, ODD, st.just(b"Thu, 18 Aug 2050 02:01:18 GMT"))
SAID = st.tuples(st.sampled_from([b"cache-control", b"cdn-cache-control", b"surrogate-control"]), DIRECTIVES)
RESPONSE = st.builds(
    lambda said, sets, others: [*said, *sets, *others],
    st.lists(SAID, min_size=1, max_size=2),
    st.sampled_from([[], [(b"set-cookie", b"a=b")]]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
)
REQUEST = st.lists(
    st.tuples(st.sampled_from([b"cache-control", b"pragma", b"authorization", b"cookie", b"range"]), VALUES), max_size=2
)
POLICIES = st.builds(
    Policy,
    set_cookie=st.sampled_from(get_args(SetCookie)),
    directed=st.booleans(),
    stale_with_s_maxage=st.booleans(),
    guess_for_cookies=st.booleans(),
)


@given(
    st.sampled_from([200, 204, 304, 404, 500, 599, 999]),
    RESPONSE,
    REQUEST,
    POLICIES,
    st.sampled_from([0, 59, 61, 100, 1e4, 3e9]),
)
@settings(max_examples=600)
def test_what_must_not_be_never_is(status: int, fields: Fields, request: Fields, policy: Policy, later: float) -> None:
    asked = policy.read(request)
    judged = judge(status, fields, asked, request, policy, received=1.7e9 + 0.5, delay=0.25, age=0)
    assert judged.lifetime.seconds >= 0
    assert judged.age >= 0.25  # what the way took
    said = policy.targets.said(fields)
    if judged.refused is None:
        assert not said.cc.private
        assert said.cc.must_understand or not said.cc.no_store
        assert not asked.authorized or said.cc.public or said.cc.must_revalidate or said.cc.s_maxage is not None
        setting = any(name == b"set-cookie" for name, _ in judged.fields)
        assert not (setting and policy.set_cookie in ("pass", "strip"))
        assert not (setting and policy.set_cookie == "explicit") or said.shared
    assert not {b"surrogate-control", b"trailer", b"age"} & {name for name, _ in judged.fields}
    terms, age = judged.terms, judged.age + later
    found = decide(terms, age, asked)
    if found.answers:
        assert not terms.always_validate
        assert not asked.no_cache
        assert age < terms.lifetime or not terms.never_stale
    for failure in Failure:
        if on_error(terms, age, asked, failure, 1000):
            assert not terms.never_stale
            assert not terms.always_validate
            assert not asked.no_cache
