"""RFC 9213 §2; Surrogate-Control of the Edge Architecture note."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.cache_control import FOREVER, CacheControl, parse
from stack.http.targeted import parse_surrogate, parse_targeted

TARGETED: list[tuple[str, bytes, dict[str, Any] | None]] = [
    ("2.1 max-age", b"max-age=60", {"max_age": 60}),
    ("2.1 several", b"max-age=60, must-revalidate", {"max_age": 60, "must_revalidate": True}),
    ("2.1 all that Cache-Control has", b"s-maxage=1, stale-while-revalidate=2, stale-if-error=3, immutable, public",
     {"s_maxage": 1, "stale_while_revalidate": 2, "stale_if_error": 3, "immutable": True, "public": True}),
    ("2.1 parameters are ignored", b"max-age=60;x=1, no-cache;y", {"max_age": 60, "no_cache": True}),
    ("2.1 a field name is a string", b'private="x-user", max-age=1', {"private_fields": {b"x-user"}, "max_age": 1}),
    ("2.1 field names", b'no-cache="a, B"', {"no_cache_fields": {b"a", b"b"}}),
    ("2.1 an inner list names nothing", b'no-cache=("a")', {"no_cache": True}),
    ("2.2 unknown, but not empty", b"none", {}),
    ("2.2 unknown beside known", b"foobar, max-age=1", {"max_age": 1}),
    ("9651 4.2.2 of a repeated key the last", b"max-age=1, max-age=2", {"max_age": 2}),
    ("9651 4.2.2 a boolean", b"no-store=?0, max-age=1", {"max_age": 1}),
    ("9111 1.2.2 beyond all", b"max-age=999999999999999", {"max_age": FOREVER}),
    ("9111 1.2.2 below nothing", b"max-age=-1", {"max_age": 0}),
    ("9111 5.2.2.7 against public", b"public, private", {"private": True}),
    ("what only forbids does so in any type", b"no-store=1", {"no_store": True}),
    ("what allows does not", b"public=1, max-age=1", {"max_age": 1}),
    ("2.2 empty", b"", None),
    ("2.2 blank", b"  ", None),
    ("2.1 a string is no number", b'max-age="60"', None),
    ("2.1 a decimal is not made one", b"max-age=1.5", None),
    ("2.1 a bare key is no number", b"max-age", None),
    ("2.1 a wrong type beside right ones", b"max-age=60, stale-if-error=x", None),
    ("9651 4.2 space before =", b"max-age =60", None),
    ("9651 4.2 space behind =", b"max-age= 60", None),
    ("9651 4.2 capitals", b"Max-Age=60", None),
    ("9651 4.2 a comma at the end", b"max-age=60,", None),
    ("9651 4.2 a string that does not close", b'max-age=60, a="', None),
    ("9651 4.2 too many digits", b"max-age=1000000000000000", None),
    ("9651 4.2 beyond ASCII", b"max-age=60, \xe4", None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), [pytest.param(*row, id=case) for case, *row in TARGETED])
def test_targeted(value: bytes, expected: dict[str, Any] | None) -> None:
    found = parse_targeted(value)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found == CacheControl(**expected, extensions=found.extensions)


SURROGATE: list[tuple[str, bytes, bytes, dict[str, Any] | None]] = [
    ("max-age", b"max-age=60", b"no-store", {"max_age": 60}),
    ("in capitals and with more", b'Max-Age=60, content="ESI/1.0"', b"max-age=1", {"max_age": 60}),
    ("freshness and what it may be stale", b"max-age=60+30", b"",
     {"max_age": 60, "stale_while_revalidate": 30, "stale_if_error": 30}),
    ("no-store", b"no-store", b"max-age=60", {"no_store": True}),
    ("RFC 5861 in it", b"max-age=60, stale-if-error=30", b"", {"max_age": 60, "stale_if_error": 30}),
    ("unreadable is stale", b"max-age=x", b"max-age=60", {"max_age": 0}),
    ("for one surrogate, not for us", b"max-age=60;abc, no-store;abc", b"", None),
    ("nothing of caching", b'content="ESI/1.0"', b"private", None),
    ("private stays private", b"max-age=60", b"private", {"max_age": 60, "private": True}),
    ("private fields stay private", b"max-age=60, public", b'private="x"', {"max_age": 60, "public": True, "private_fields": {b"x"}}),
    ("not public against private", b"max-age=60, public", b"private", {"max_age": 60, "private": True}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "own", "expected"), [pytest.param(*row, id=case) for case, *row in SURROGATE])
def test_surrogate(value: bytes, own: bytes, expected: dict[str, Any] | None) -> None:
    found = parse_surrogate(value, parse(own))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found == CacheControl(**expected, extensions=found.extensions)


PIECES = st.sampled_from(
    [b"max-age", b"no-store", b"private", b"public", b"=", b'"', b"1", b"-", b".", b",", b";", b" ", b"+", b"(", b")", b"?0",
     b":", b"@", b"%", b"a", b"\xff", b"\\", b"x=y"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_nothing_is_too_odd_and_nothing_opens_what_is_private(value: bytes) -> None:
    found = parse_targeted(value)
    assert found is None or not (found.private and found.public)
    assert found is None or found.max_age is None or 0 <= found.max_age <= FOREVER
    surrogate = parse_surrogate(value, parse(b"private"))
    assert surrogate is None or (surrogate.private and not surrogate.public)
