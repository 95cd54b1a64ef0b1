"""The field Priority (RFC 9218 §4, §5), read as a dictionary (RFC 9651 §3.2)."""

from __future__ import annotations

import pytest

from stack.http.h2_priority import DEFAULT, Priority, parse


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        pytest.param(b"", DEFAULT, id="4-nothing"),
        pytest.param(b"u=0", Priority(0), id="4.1-highest"),
        pytest.param(b"u=7", Priority(7), id="4.1-lowest"),
        pytest.param(b"i", Priority(3, True), id="4.2-incremental"),
        pytest.param(b"u=5, i", Priority(5, True), id="5-both"),
        pytest.param(b" i,u=5 ", Priority(5, True), id="5-other-way-round"),
        pytest.param(b"u=1, i=?0", Priority(1), id="4.2-false"),
        pytest.param(b"u=1, i=?1", Priority(1, True), id="4.2-true"),
        pytest.param(b"u=1;q=2, i;x", Priority(1, True), id="9651-3.1.2-parameters"),
        pytest.param(b"u=8", DEFAULT, id="4-out-of-range"),
        pytest.param(b"u=-1", DEFAULT, id="4-below"),
        pytest.param(b"u=1.5", DEFAULT, id="4-decimal"),
        pytest.param(b'u="1"', DEFAULT, id="4-other-type"),
        pytest.param(b"i=1, u=2", Priority(2), id="4-only-the-wrong-one-is-ignored"),
        pytest.param(b'u=2, x=("a" b;c=1 ?0), y=:YQ==:, z="\\"", i', Priority(2, True), id="4-unknown-parameters"),
        pytest.param(b"u=2, u=4", Priority(4), id="9651-3.2-the-last-counts"),
        pytest.param(b"u=2,", DEFAULT, id="9651-4.2.2-comma-at-the-end"),
        pytest.param(b"u=2 i", DEFAULT, id="9651-4.2.2-no-comma"),
        pytest.param(b"u=2, =", DEFAULT, id="9651-4.2.2-no-key"),
        pytest.param(b"U=2", DEFAULT, id="9651-4.2.3.3-upper-case"),
        pytest.param(b"u=2, x=(", DEFAULT, id="9651-4.2.1.2-list-cut"),
        pytest.param(b"u=2, \xff", DEFAULT, id="9651-4.2-not-ascii"),
        pytest.param(b"u=2" + b" " * 300 + b",i", DEFAULT, id="too-long"),
    ],
)
def test_parse(value: bytes, meant: Priority) -> None:
    assert parse(value) == meant


def test_what_is_not_said_is_as_before() -> None:
    """RFC 9218 §8: a response's field changes what it names."""
    assert parse(b"u=1", Priority(5, True)) == Priority(1, True)
    assert parse(b"i=?0", Priority(5, True)) == Priority(5)
    assert parse(b"!", Priority(5, True)) == Priority(5, True)
