from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.cache_control import FOREVER, CacheControl, delta_seconds, parse


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"max-age=60", CacheControl(max_age=60), id="9111-5.2.2.1-max-age"),
        pytest.param(b"MAX-AGE=60", CacheControl(max_age=60), id="9111-5.2-case-insensitive"),
        pytest.param(b'max-age="60"', CacheControl(max_age=60), id="9111-5.2-quoted-form"),
        pytest.param(b"max-age=060", CacheControl(max_age=60), id="9111-1.2.2-leading-zero"),
        pytest.param(b"s-maxage=60, max-age=5", CacheControl(s_maxage=60, max_age=5), id="9111-5.2.2.10-s-maxage"),
        pytest.param(b"max-age=99999999999", CacheControl(max_age=FOREVER), id="9111-1.2.2-overflow"),
        pytest.param(b"max-age=2147483649", CacheControl(max_age=FOREVER), id="9111-1.2.2-overflow-by-one"),
        pytest.param(b"max-age=" + b"9" * 5000, CacheControl(max_age=FOREVER), id="9111-1.2.2-overflow-by-far"),
        pytest.param(b"max-age=-1", CacheControl(max_age=0), id="9111-4.2.1-negative-is-stale"),
        pytest.param(b"max-age=1.5", CacheControl(max_age=0), id="9111-4.2.1-fraction-is-stale"),
        pytest.param(b"max-age=60s", CacheControl(max_age=0), id="9111-4.2.1-unit-is-stale"),
        pytest.param(b"max-age='60'", CacheControl(max_age=0), id="9111-4.2.1-single-quotes-are-stale"),
        pytest.param(b"max-age", CacheControl(max_age=0), id="9111-4.2.1-no-argument-is-stale"),
        pytest.param(b"max-age=", CacheControl(max_age=0), id="9111-4.2.1-empty-argument-is-stale"),
        pytest.param(b"max-age= 60", CacheControl(max_age=0), id="9111-5.2-space-after-equals-is-stale"),
        pytest.param(b"max-age =60", CacheControl(max_age=0), id="9111-5.2-space-before-equals-is-stale"),
        pytest.param(b"max-age=60, max-age=60", CacheControl(max_age=60), id="9111-4.2.1-twice-the-same"),
        pytest.param(b"max-age=60, max-age=50", CacheControl(max_age=0), id="9111-4.2.1-two-differ-is-stale"),
        pytest.param(b"no-store", CacheControl(no_store=True), id="9111-5.2.2.5-no-store"),
        pytest.param(b"no-store=1", CacheControl(no_store=True), id="9111-5.2.2.5-argument-does-not-undo-it"),
        pytest.param(b"no-cache", CacheControl(no_cache=True), id="9111-5.2.2.4-no-cache"),
        pytest.param(
            b'no-cache="Set-Cookie, X-A"',
            CacheControl(no_cache_fields=frozenset({b"set-cookie", b"x-a"})),
            id="9111-5.2.2.4-qualified",
        ),
        pytest.param(
            b"no-cache=set-cookie",
            CacheControl(no_cache_fields=frozenset({b"set-cookie"})),
            id="9111-5.2.2.4-qualified-as-a-token",
        ),
        pytest.param(b'no-cache=""', CacheControl(no_cache=True), id="9111-5.2.2.4-naming-nothing-is-all"),
        pytest.param(b'no-cache="@ ;"', CacheControl(no_cache=True), id="9111-5.2.2.4-naming-junk-is-all"),
        pytest.param(
            b'no-cache="a", no-cache, no-cache="b"',
            CacheControl(no_cache=True, no_cache_fields=frozenset({b"a", b"b"})),
            id="9111-5.2.2.4-both-forms",
        ),
        pytest.param(b"private", CacheControl(private=True), id="9111-5.2.2.7-private"),
        pytest.param(
            b'private="x-user"',
            CacheControl(private_fields=frozenset({b"x-user"})),
            id="9111-5.2.2.7-qualified",
        ),
        pytest.param(b"public, private", CacheControl(private=True), id="9111-4.2.1-private-beats-public"),
        pytest.param(b"public", CacheControl(public=True), id="9111-5.2.2.9-public"),
        pytest.param(
            b"must-revalidate, proxy-revalidate, must-understand, no-transform",
            CacheControl(must_revalidate=True, proxy_revalidate=True, must_understand=True, no_transform=True),
            id="9111-5.2.2-flags",
        ),
        pytest.param(b"immutable", CacheControl(immutable=True), id="8246-2-immutable"),
        pytest.param(
            b"stale-while-revalidate=30, stale-if-error=60",
            CacheControl(stale_while_revalidate=30, stale_if_error=60),
            id="5861-3-and-4",
        ),
        pytest.param(b"stale-if-error=x", CacheControl(stale_if_error=0), id="5861-4-malformed-is-none"),
        pytest.param(
            b"stale-if-error=60, stale-if-error=9", CacheControl(stale_if_error=9), id="5861-4-two-differ-the-shorter"
        ),
        pytest.param(b"only-if-cached", CacheControl(only_if_cached=True), id="9111-5.2.1.7-only-if-cached"),
        pytest.param(b"max-stale", CacheControl(max_stale=FOREVER), id="9111-5.2.1.2-any-age"),
        pytest.param(b"max-stale=9", CacheControl(max_stale=9), id="9111-5.2.1.2-max-stale"),
        pytest.param(b"max-stale=x", CacheControl(max_stale=0), id="9111-5.2.1.2-malformed-is-none"),
        pytest.param(b"max-stale, max-stale=9", CacheControl(max_stale=9), id="9111-5.2.1.2-the-stricter"),
        pytest.param(b"min-fresh=9", CacheControl(min_fresh=9), id="9111-5.2.1.3-min-fresh"),
        pytest.param(b"min-fresh=9, min-fresh=10", CacheControl(min_fresh=10), id="9111-5.2.1.3-the-stricter"),
        pytest.param(b"min-fresh=x", CacheControl(min_fresh=FOREVER), id="9111-5.2.1.3-malformed-is-never"),
        pytest.param(
            b'community="UCI", max-age=1, X, y=z',
            CacheControl(max_age=1, extensions=((b"community", b"UCI"), (b"x", None), (b"y", b"z"))),
            id="9111-5.2.3-extensions",
        ),
        pytest.param(
            b'x="no-store, max-age=9"',
            CacheControl(extensions=((b"x", b"no-store, max-age=9"),)),
            id="9110-5.6.4-directives-in-quotes-are-none",
        ),
        pytest.param(b", ,no-store,,", CacheControl(no_store=True), id="9110-5.6.1-empty-elements"),
        pytest.param(b"max-age=60;no-store", CacheControl(max_age=0), id="9111-5.2-semicolon-is-malformed"),
        pytest.param(b"=5", CacheControl(), id="no-name"),
    ],
)
def test_parse(value: bytes, expected: CacheControl) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize("value", [None, b""])
def test_none_at_all_is_one_shared_value(value: bytes | None) -> None:
    assert parse(value) is parse(None)
    assert parse(value) == CacheControl()


@pytest.mark.parametrize("value", [b"no-cache", b"max-age=0", b"no-store", b"no-transform"])
def test_the_usual_values_mean_what_parsing_finds(value: bytes) -> None:
    assert parse(value) is parse(value)
    assert parse(value) == parse(value + b",")


@given(st.binary(max_size=200))
def test_never_raises(value: bytes) -> None:
    parse(value)
    delta_seconds(value)


@given(st.lists(st.sampled_from([b"max-age=5", b"no-store", b"private", b"no-cache", b"public", b"s-maxage=1"])))
def test_order_does_not_matter(directives: list[bytes]) -> None:
    assert parse(b",".join(directives)) == parse(b" , ".join(reversed(directives)))


@given(st.integers(0, 10**30))
def test_seconds(seconds: int) -> None:
    assert delta_seconds(b"%d" % seconds) == min(seconds, FOREVER)
