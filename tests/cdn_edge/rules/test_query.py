"""What of a query is in the key, where the operator wants less than all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_edge.rules.key import Keying
from cdn_edge.rules.query import LISTS, patterns, reduced

TRACKED = Keying(ignore_query=["@tracking"])
SORTED = Keying(sort_query=True)
ONLY = Keying(only_query=["id", "page"])
NONE = Keying(ignore_query=["*"])


@pytest.mark.parametrize(
    ("keying", "target", "expected"),
    [
        pytest.param(TRACKED, "/a?utm_source=x", "/a", id="nothing-left-meets-no-query"),
        pytest.param(TRACKED, "/a?utm_source=x&id=1&fbclid=y", "/a?id=1", id="around"),
        pytest.param(TRACKED, "/a?id=1&gclid", "/a?id=1", id="without-value"),
        pytest.param(TRACKED, "/a?utmost=1", "/a?utmost=1", id="another-name"),
        pytest.param(TRACKED, "/a?gclid2=1", "/a?gclid2=1", id="a-longer-name"),
        pytest.param(TRACKED, "/a?x=utm_source=1", "/a?x=utm_source=1", id="name-in-a-value"),
        pytest.param(TRACKED, "/a?UTM_source=1", "/a?UTM_source=1", id="case-is-the-origins"),
        pytest.param(TRACKED, "/a?utm%5Fsource=1", "/a?utm%5Fsource=1", id="spelling-is-the-origins"),
        pytest.param(TRACKED, "/a?", "/a?", id="empty-is-not-none"),
        pytest.param(TRACKED, "/a?&&", "/a?&&", id="nothing-to-take-out"),
        pytest.param(TRACKED, "/a", "/a", id="no-query"),
        pytest.param(TRACKED, "/utm_source=1", "/utm_source=1", id="path"),
        pytest.param(
            TRACKED,
            "/a?utm_content=x;callback=alert(1)",
            "/a?utm_content=x;callback=alert(1)",
            id="CVE-2021-23336-semicolon",
        ),
        pytest.param(TRACKED, "/a?utm_x=1&b;c&utm_y", "/a?utm_x=1&b;c&utm_y", id="semicolon-anywhere"),
        pytest.param(NONE, "/a?b=1&c", "/a", id="all"),
        pytest.param(NONE, "/a?b&=c", "/a", id="all-nameless-too"),
        pytest.param(ONLY, "/a?x=1&page=2&id=3&y", "/a?page=2&id=3", id="only"),
        pytest.param(ONLY, "/a?ids=3", "/a", id="only-whole-names"),
        pytest.param(SORTED, "/a?b=2&a=1", "/a?a=1&b=2", id="sorted"),
        pytest.param(SORTED, "/a?b=1&a=2&b=0", "/a?a=2&b=1&b=0", id="repeats-keep-their-order"),
        pytest.param(SORTED, "/a?a=2&A=1", "/a?a=2&A=1", id="names-that-differ-by-case-keep-it"),
        pytest.param(SORTED, "/a?a=2&%61=1", "/a?a=2&%61=1", id="names-that-differ-by-spelling-keep-it"),
        pytest.param(SORTED, "/a?a=2&a[x]=1", "/a?a=2&a[x]=1", id="php-arrays-keep-it"),
        pytest.param(SORTED, "/a?a[x]=1&a=2", "/a?a[x]=1&a=2", id="php-arrays-keep-it-either-way"),
        pytest.param(SORTED, "/a?b=1;c&a=2", "/a?b=1;c&a=2", id="semicolon-is-not-sorted"),
        pytest.param(SORTED, "/a?b&a", "/a?a&b", id="without-values"),
    ],
)
def test_reduced(keying: Keying, target: str, expected: str) -> None:
    assert keying.of(b"https", b"Shop.test:443", target.encode()) == b"https://shop.test" + expected.encode()
    # a purge of the same URL means the same
    assert keying.of_url(f"https://Shop.test:443{target}") == b"https://shop.test" + expected.encode()


@given(st.lists(st.sampled_from([b"a=1", b"a=2", b"b=1", b"c", b"utm_x=1", b"", b"a[]=3"]), max_size=6))
def test_what_is_reduced_stays_so_and_only_what_is_named_goes(parameters: list[bytes]) -> None:
    ignore = patterns(["utm_*"])
    query = b"&".join(parameters)
    found = reduced(query, ignore=ignore, only=None, sort=True)
    kept = [one for one in parameters if not one.startswith(b"utm_")]
    assert sorted((found or b"").split(b"&")) == sorted(kept or [b""])
    if found is not None:
        assert reduced(found, ignore=ignore, only=None, sort=True) == found


@pytest.mark.parametrize("names", [["@trackers"], [""], ["a&b"], ["a=1"], ["a b"], ["ä"], ["a\n"]])
def test_names_that_cannot_be(names: list[str]) -> None:
    with pytest.raises(ValueError, match="parameter"):
        patterns(names)


def test_the_list_is_of_names() -> None:
    for names in LISTS.values():
        assert patterns(names) is not None
        assert len(set(names)) == len(names)


def test_without_options_nothing_stands_between() -> None:
    """The plain function: what is off costs nothing."""
    from cdn_edge.rules.key import key

    assert Keying().of is key
    assert Keying(headers=["X-Country"], cookies=["lang"]).of is key


def test_headers_and_cookies_are_names_beside_those_of_vary() -> None:
    assert Keying(headers=["X-Country", "x-country"], cookies=["Lang"]).names == (b"cookie:Lang", b"x-country")
    for wrong in ("", "*", "a b", "a:b"):
        with pytest.raises(ValueError, match="key"):
            Keying(headers=[wrong])
        with pytest.raises(ValueError, match="key"):
            Keying(cookies=[wrong])
