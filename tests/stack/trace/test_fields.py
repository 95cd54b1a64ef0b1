from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.trace.fields import Item, items

CASES = [
    ("", []),
    ("a", [("a", {})]),
    ("a, b", [("a", {}), ("b", {})]),
    ('edge-fra.lookup;dur=0.2;desc="uri-miss"', [("edge-fra.lookup", {"dur": "0.2", "desc": "uri-miss"})]),
    ("db; dur = 53 ; desc=x", [("db", {"dur": "53", "desc": "x"})]),
    ('"a b";x', [("a b", {"x": "?1"})]),
    ("edge; hit; ttl=-5", [("edge", {"hit": "?1", "ttl": "-5"})]),
    (r'a;d="one \"two\", \\three;"', [("a", {"d": 'one "two", \\three;'})]),
    ("a;x=1;x=2", [("a", {"x": "1"})]),  # Server Timing §3: the first of a name counts
    ("a;DUR=1", [("a", {"dur": "1"})]),
    (",, a,,b,", [("a", {}), ("b", {})]),
    ('a;d="never closed, b', [("a", {"d": ""}), ("b", {})]),
    ("a b, c", [("a", {}), ("c", {})]),
]


@pytest.mark.parametrize(("value", "wanted"), CASES)
def test_reads(value: str, wanted: list[tuple[str, dict[str, str]]]) -> None:
    assert items(value) == [Item(name, params) for name, params in wanted]


@pytest.mark.parametrize(("value", "wanted"), [("1.5", 1.5), ("-3", -3.0), ("x", None), ("nan", None), ("inf", None)])
def test_a_number_is_finite(value: str, wanted: float | None) -> None:
    assert Item("a", {"dur": value}).number("dur") == wanted


@given(st.text(max_size=60))
def test_nothing_that_a_server_sends_is_an_error(value: str) -> None:
    assert all(item.name for item in items(value))


@given(st.text(alphabet='a;,="\\ ', max_size=40))
def test_nor_is_what_looks_like_a_list(value: str) -> None:
    items(value)


def test_the_members_of_one_field_are_bounded() -> None:
    assert len(items("a," * 5000)) == 1000
