from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.fields import quote, split_list, split_params, tokens, unquote


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a, b\t,c", [b"a", b"b", b"c"], id="9110-5.6.1-list"),
        pytest.param(b", a,, b ,", [b"a", b"b"], id="9110-5.6.1.2-empty-elements"),
        pytest.param(b'a="x,y", b', [b'a="x,y"', b"b"], id="9110-5.6.4-comma-in-quotes"),
        pytest.param(b'"x\\",y", b', [b'"x\\",y"', b"b"], id="9110-5.6.4-quoted-pair"),
        pytest.param(b'a="x, b', [b'a="x, b'], id="open-quote-runs-to-the-end"),
        pytest.param(b'a="x\\', [b'a="x\\'], id="open-quote-and-backslash"),
        pytest.param(b'"a"b"c,d",e', [b'"a"b"c,d"', b"e"], id="quotes-within"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b" , \t,", [], id="nothing"),
    ],
)
def test_split_list(value: bytes, expected: list[bytes]) -> None:
    assert split_list(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a=b; C=d", {b"a": b"b", b"c": b"d"}, id="9110-5.6.6-parameters"),
        pytest.param(b'a="b;c";d', {b"a": b"b;c", b"d": b""}, id="9110-5.6.6-quoted"),
        pytest.param(b"a=1;a=2", {b"a": b"1"}, id="first-of-a-repeated-name"),
        pytest.param(b"=x;;", {}, id="no-name"),
        pytest.param(b'a="b\\"c"', {b"a": b'b"c'}, id="9110-5.6.4-quoted-pair"),
    ],
)
def test_split_params(value: bytes, expected: dict[bytes, bytes]) -> None:
    assert split_params(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a", b"a"),
        (b'"a b"', b"a b"),
        (b'"a\\"\\\\"', b'a"\\'),
        (b'"a', b'"a'),
        (b'"', b'"'),
        (b'""', b""),
        (b"", b""),
    ],
)
def test_unquote(value: bytes, expected: bytes) -> None:
    assert unquote(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), (b"", []), (b"Close, X-A", [b"close", b"x-a"]), (b'a b, "c", d(', []), (b"a, b c, d", [b"a", b"d"])],
)
def test_tokens(value: bytes | None, expected: list[bytes]) -> None:
    assert tokens(value) == expected


@given(st.binary())
def test_quoting_round_trip(value: bytes) -> None:
    quoted = quote(value)
    assert unquote(quoted) == value
    assert split_list(b"a, " + quoted + b", b") == [b"a", quoted, b"b"]
    assert split_params(b"x=1;y=" + quoted) == {b"x": b"1", b"y": value}


@given(st.binary())
def test_never_raises(value: bytes) -> None:
    split_list(value)
    split_params(value)
    tokens(value)
    unquote(value)


@pytest.mark.parametrize(
    "value", [b'"' * 80_001, b'"\\' * 40_000, b'a"b' * 30_001, b"," * 80_000, b' "' + b"\\" * 80_001]
)
def test_takes_linear_time(value: bytes) -> None:
    began = time.monotonic()
    split_list(value)
    split_params(value)
    assert time.monotonic() - began < 2
