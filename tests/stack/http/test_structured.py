from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.structured import Bare, Token, bare, integer, item, items, params, string, token


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(True, "?1", id="9651-4.1.9-true"),
        pytest.param(False, "?0", id="9651-4.1.9-false"),
        pytest.param(42, "42", id="9651-4.1.4-integer"),
        pytest.param(-42, "-42", id="9651-4.1.4-negative"),
        pytest.param(10**15, "999999999999999", id="9651-4.1.4-too-large"),
        pytest.param(-(10**15), "-999999999999999", id="9651-4.1.4-too-small"),
        pytest.param("a b", '"a b"', id="9651-4.1.6-string"),
        pytest.param('a"\\', '"a\\"\\\\"', id="9651-4.1.6-escaped"),
        pytest.param("é\r\n\x7f", '"????"', id="9651-4.1.6-not-in-a-string"),
        pytest.param(Token("hit"), "hit", id="9651-4.1.7-token"),
        pytest.param(Token("*a/b:c"), "*a/b:c", id="9651-3.3.4-token-characters"),
        pytest.param(Token("1a"), '"1a"', id="9651-3.3.4-no-token-by-its-first"),
        pytest.param(Token("a b"), '"a b"', id="9651-3.3.4-no-token-by-a-later"),
        pytest.param(Token(""), '""', id="9651-3.3.4-no-token-when-empty"),
        pytest.param(Token("a\n"), '"a?"', id="9651-3.3.4-no-token-by-its-end"),
    ],
)
def test_bare(value: Bare, expected: str) -> None:
    assert bare(value) == expected


def test_params() -> None:
    """RFC 9651 §4.1.1.2."""
    assert params({"hit": True, "ttl": 5, "stored": False, "detail": "x"}) == ';hit;ttl=5;stored=?0;detail="x"'


@pytest.mark.parametrize("key", ["", "A", "1a", "a b", "a\n", "é"])
def test_bad_key_is_the_callers_mistake(key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        params({key: 1})


def test_items() -> None:
    """RFC 9211 §2, an example of Cache-Status."""
    value = items([(Token("OriginCache"), {"hit": True, "ttl": 1100}), ("CDN Company", {"fwd": Token("uri-miss")})])
    assert value == b'OriginCache;hit;ttl=1100, "CDN Company";fwd=uri-miss'
    assert item(Token("a")) == "a"
    assert items([]) == b""


@given(st.text(), st.integers())
def test_only_printable_ascii_comes_out(text: str, number: int) -> None:
    for out in (token(text), string(text), integer(number)):
        assert out.isascii()
        assert out.isprintable()
