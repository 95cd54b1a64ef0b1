from __future__ import annotations

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns_server.rules.names import (
    NameFault,
    _label_text,
    ancestors,
    from_text,
    is_at_or_below,
    plain_text,
    to_text,
)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (".", b"\0"),
        ("", b"\0"),
        ("shop.test", b"\4shop\4test\0"),
        ("shop.test.", b"\4shop\4test\0"),
        (r"a\.b.test", b"\3a.b\4test\0"),
        (r"a\200.test", b"\2a\xc8\4test\0"),
        ("*.test", b"\1*\4test\0"),
    ],
    ids=["root", "empty", "no-dot", "dot", "rfc1035-5.1-escaped-dot", "rfc1035-5.1-octet", "wildcard"],
)
def test_from_text(text: str, wire: bytes) -> None:
    assert from_text(text) == wire


@pytest.mark.parametrize("text", ["..", "a..b", ".a", "a" * 64, ".".join(["abcdefg"] * 32), "a\\", "a\\25", "a\\999"])
def test_no_name(text: str) -> None:
    with pytest.raises(NameFault):
        from_text(text)


names = st.lists(st.binary(min_size=1, max_size=20), max_size=6)


@given(names)
def test_text_comes_back(labels: list[bytes]) -> None:
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    assert from_text(to_text(wire)) == wire
    assert dns.name.from_text(to_text(wire)).to_wire() == wire


@given(names, names)
def test_at_or_below_is_about_labels(lower: list[bytes], upper: list[bytes]) -> None:
    def wire(labels: list[bytes]) -> bytes:
        return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"

    assert is_at_or_below(wire(lower + upper), wire(upper))
    assert is_at_or_below(wire(lower), wire(upper)) == (
        lower[len(lower) - len(upper) :] == upper and len(lower) >= len(upper)
    )
    assert list(ancestors(wire(lower)))[-1] == b"\0"


def test_a_name_that_ends_alike_is_not_below() -> None:
    assert not is_at_or_below(from_text("notshop.test"), from_text("shop.test"))
    assert not is_at_or_below(b"\x0bxx\4shop\4test\0", from_text("shop.test"))


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=5), st.integers(min_value=0, max_value=6))
def test_the_short_way_to_text_is_the_same_where_there_is_one(parts: list[bytes], more: int) -> None:
    wire = b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
    slow = "".join(_label_text(part) + "." for part in parts) or "."
    assert to_text(wire) == slow
    assert plain_text(wire, len(parts)) in ("", slow)


@pytest.mark.parametrize(
    ("parts", "plain"),
    [
        ([b"www", b"shop", b"test"], True),
        ([b"_dmarc", b"a-b", b"WWW9"], True),
        ([b"a" * 31], True),
        ([b"a" * 32], True),
        ([b"a" * 33], False),
        ([b"a" * 48, b"a\1b"], False),
        ([b"a\1b"], False),
        ([b"a b"], False),
        ([b"a.b"], False),
        ([b"a\\b"], False),
        ([b'a"b'], False),
        ([b"\xff"], False),
        ([], False),
    ],
)
def test_which_names_go_the_short_way_to_text(parts: list[bytes], plain: bool) -> None:
    wire = b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
    assert bool(plain_text(wire, len(parts))) is plain
