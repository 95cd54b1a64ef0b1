"""No-Vary-Search: what it says, and which queries are then the same (draft-ietf-httpbis-no-vary-search)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_edge.rules.search import Learned, Variance, variance
from tests.cdn_edge.lab import lines

PARAMS = 'params=("utm" "a b")'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("params", Variance(None), id="4.1-all"),
        pytest.param("params=?1", Variance(None), id="4.1-all-spelt-out"),
        pytest.param('params=("a" "b")', Variance(frozenset({b"a", b"b"})), id="4.1-names"),
        pytest.param('params=("a+b" "%c3%a9")', Variance(frozenset({b"a b", b"\xc3\xa9"})), id="4.2-decoded"),
        pytest.param('params, except=("id")', Variance(None, frozenset({b"id"})), id="4.1-except"),
        pytest.param("key-order", Variance(ordered=False), id="4.1-key-order"),
        pytest.param('key-order, params=("a")', Variance(frozenset({b"a"}), ordered=False), id="4.1-both"),
        pytest.param("params, except=()", Variance(None), id="4.1-except-nothing"),
        pytest.param("params, unknown=3", Variance(None), id="9651-unknown-members"),
        pytest.param('params=("a"), params=("b")', Variance(frozenset({b"b"})), id="9651-the-last"),
        pytest.param("params;x=1", Variance(None), id="9651-parameters"),
        pytest.param("", None, id="4.1-empty"),
        pytest.param("params=?0", None, id="4.1-none"),
        pytest.param("params=()", None, id="4.1-no-names"),
        pytest.param("key-order=?0", None, id="4.1-ordered"),
        pytest.param("params=(a)", None, id="4.1-tokens-are-no-strings"),
        pytest.param('params=("a" 1)', None, id="4.1-numbers-are-none"),
        pytest.param('params="a"', None, id="4.1-a-string-is-no-list"),
        pytest.param("params=1", None, id="4.1-nor-a-number"),
        pytest.param('except=("a")', None, id="4.1-except-without-params"),
        pytest.param('params=("a"), except=("b")', None, id="4.1-except-beside-names"),
        pytest.param('params=?0, except=("b")', None, id="4.1-except-beside-false"),
        pytest.param('params, except="a"', None, id="4.1-except-is-no-list"),
        pytest.param("params, except", None, id="4.1-except-is-true"),
        pytest.param("params, except=(a)", None, id="4.1-except-tokens"),
        pytest.param("key-order=1, params", None, id="4.1-one-fault-spoils-all"),
        pytest.param('"params"', None, id="9651-no-dictionary"),
        pytest.param("params=(", None, id="9651-malformed"),
        pytest.param("Params", None, id="9651-keys-are-in-lower-case"),
    ],
)
def test_variance(value: str, expected: Variance | None) -> None:
    assert variance(lines(f"No-Vary-Search: {value}")) == expected


def test_lines_are_one_dictionary_and_nothing_is_nothing() -> None:
    assert variance(lines("No-Vary-Search: key-order\nNo-Vary-Search: params")) == Variance(None, ordered=False)
    assert variance([]) is None
    assert variance([(b"no-vary-search", b"params, x=" + b"1" * 10_000)]) is None


@pytest.mark.parametrize(
    ("value", "one", "other", "same"),
    [
        ("params", "a=1", "", True),
        ('params=("a")', "a=1&b=2", "b=2&a=3", True),
        ('params=("a")', "b=1&b=2", "b=2&b=1", False),
        ('params=("a")', "b=1&c=2", "c=2&b=1", False),
        ("key-order", "b=1&c=2", "c=2&b=1", True),
        ("key-order", "b=1&b=2&c=", "c=&b=1&b=2", True),
        ("key-order", "b=1&b=2", "b=2&b=1", False),
        ('params, except=("id")', "id=1&x=2", "y&id=1", True),
        ('params, except=("id")', "id=1", "id=2", False),
        ('params, except=("id")', "id=1&id=2", "id=1", False),
        ('params=("é")'.encode().decode("latin-1"), "x", "y", False),
        ('params=("%C3%A9")', "%C3%A9=1", "", True),
        ('params=("a")', "b=%41", "b=A", True),
        ('params=("a")', "b=1+1", "b=1%201", True),
        ('params=("a")', "b", "b=", True),
        ('params=("a")', "b=1&&", "b=1", True),
        ('params=("a")', "A=1", "", False),
        ('params=("a")', "%61=1", "", True),
        ('params=("a")', "b=%FF", "b=%FE", False),
        ('params=("a")', "b=1%26c=2", "b=1&c=2", False),
        ('params=("a")', "b=1;a=2", "b=1", False),
    ],
)
def test_queries_that_mean_the_same(value: str, one: str, other: str, same: bool) -> None:
    said = variance(lines(f"No-Vary-Search: {value}")) or Variance()
    assert (said.canonical(one.encode()) == said.canonical(other.encode())) is same


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "1", "2"])), max_size=5))
def test_nothing_but_what_is_named_is_left_out(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    kept = [(name, value) for name, value in pairs if name != "b"]
    expected = "&".join(f"{name}={value}" for name, value in kept)
    assert Variance(frozenset({b"b"})).canonical(query.encode()) == expected.encode()
    ordered = "&".join(f"{name}={value}" for name, value in sorted(kept, key=lambda pair: pair[0]))
    assert Variance(frozenset({b"b"}), ordered=False).canonical(query.encode()) == ordered.encode()


B = Variance(frozenset({b"b"}))
A = b"https://shop.test/a"


def test_a_path_is_learned_and_no_other() -> None:
    learned = Learned()
    assert learned.key(A + b"?b=1") == A + b"?b=1"
    key = learned.learn(A + b"?b=1", B)
    assert key == learned.key(A) == learned.key(A + b"?b=2") == learned.key(A + b"?") == A + b"? search:2"
    assert learned.key(A + b"?c=1&b=1") == A + b"?c=1 search:2"
    for other in (A + b"b?b=1", b"https://shop.test:444/a?b=1", b"http://shop.test/a?b=1"):
        assert learned.key(other) == other


def test_what_says_something_new_gets_new_keys() -> None:
    learned = Learned()
    first = learned.learn(A, B)
    assert learned.learn(A + b"?c=1", Variance(None)) != first
    assert learned.learn(A, B) not in (first, A)


def test_a_url_that_says_nothing_is_apart_and_so_is_a_path() -> None:
    learned = Learned(exceptions=3)
    rule = learned.learn(A + b"?b=1", B)
    alone = learned.learn(A + b"?b=2", None)
    assert alone == learned.key(A + b"?b=2") != rule
    assert learned.key(A + b"?b=1") == learned.key(A + b"?b=3") == rule
    assert learned.learn(A + b"?b=2", B) == learned.key(A + b"?b=2") == rule
    for n in range(4):
        learned.learn(A + b"?b=%d" % n, None)
    assert len({learned.key(A + b"?b=%d" % n) for n in range(10)}) == 10
    assert learned.key(A + b"?b=1") != A + b"?b=1"  # what was stored there before stays out of the way


def test_what_is_learned_is_bounded() -> None:
    learned = Learned(most=10, exceptions=3)
    for n in range(100):
        learned.learn(A + b"%d" % n, B)
        learned.touch(A + b"%d" % n)
        learned.learn(A + b"99?x=%d" % n, None)
    assert len(learned) == len(learned._touched) == 10


def test_what_was_touched_since() -> None:
    learned = Learned(most=2)
    learned.touch(A + b"?b=1")
    since = learned.now
    assert not learned.touched(A, since)
    learned.touch(A + b"?b=2")
    assert learned.touched(A + b"?b=7", since)
    assert learned.touched(A + b"? search:3", since)
    assert not learned.touched(b"https://shop.test/b", since)
    learned.touch(b"1")
    learned.touch(b"2")
    assert learned.touched(A, since)  # forgotten, so it may have been
