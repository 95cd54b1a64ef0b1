from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.conditional import (
    Condition,
    entity_tags,
    evaluate,
    if_range_holds,
    is_entity_tag,
    strong_match,
    weak_match,
)

PROCEED, NOT_MODIFIED, FAILED = Condition
NOW = 1_700_000_000.0
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
THEN = b"Sun, 06 Nov 1994 08:49:37 GMT"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("first", "second", "strong", "weak"),
    [  # the table of RFC 9110 §8.8.3.2
        (b'W/"1"', b'W/"1"', False, True),
        (b'W/"1"', b'W/"2"', False, False),
        (b'W/"1"', b'"1"', False, True),
        (b'"1"', b'"1"', True, True),
    ],
)
def test_comparison(first: bytes, second: bytes, strong: bool, weak: bool) -> None:
    assert strong_match(first, second) is strong_match(second, first) is strong
    assert weak_match(first, second) is weak_match(second, first) is weak


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"*", None, id="9110-13.1.1-any"),
        pytest.param(b" *\t", None, id="9110-13.1.1-any-with-space"),
        pytest.param(b'"a"', (b'"a"',), id="9110-8.8.3-one"),
        pytest.param(b'"a", W/"b" ,"c"', (b'"a"', b'W/"b"', b'"c"'), id="9110-13.1.2-list"),
        pytest.param(b', "a",, "b",', (b'"a"', b'"b"'), id="9110-5.6.1-empty-elements"),
        pytest.param(b'"a,b"', (b'"a,b"',), id="9110-8.8.3-comma-within"),
        pytest.param(b'"a\\"', (b'"a\\"',), id="9110-8.8.3-backslash-is-no-escape"),
        pytest.param(b'""', (b'""',), id="9110-8.8.3-empty-tag"),
        pytest.param(b'"\xe9"', (b'"\xe9"',), id="9110-8.8.3-obs-text"),
        pytest.param(b"a", (), id="unquoted"),
        pytest.param(b'"a" "b"', (), id="no-comma"),
        pytest.param(b'w/"a"', (), id="9110-8.8.3-weak-is-case-sensitive"),
        pytest.param(b'*, "a"', (), id="any-in-a-list"),
        pytest.param(b'"a b"', (), id="9110-8.8.3-no-space-within"),
        pytest.param(b'"a', (), id="open-quote"),
        pytest.param(b"", (), id="empty"),
    ],
)
def test_entity_tags(value: bytes, expected: tuple[bytes, ...] | None) -> None:
    assert entity_tags(value) == expected


GET_AND_HEAD = (b"GET", b"HEAD")


@pytest.mark.parametrize(
    ("pairs", "method", "etag", "modified", "expected"),
    [
        pytest.param([], b"GET", b'"a"', THEN, PROCEED, id="none"),
        # If-Match, by strong comparison
        pytest.param([("if-match", b'"a"')], b"PUT", b'"a"', None, PROCEED, id="9110-13.1.1-match"),
        pytest.param([("if-match", b'"b", "a"')], b"PUT", b'"a"', None, PROCEED, id="9110-13.1.1-in-list"),
        pytest.param([("if-match", b'"b"'), ("if-match", b'"a"')], b"PUT", b'"a"', None, PROCEED, id="9110-5.3-lines"),
        pytest.param([("if-match", b'"b"')], b"PUT", b'"a"', None, FAILED, id="9110-13.1.1-no-match"),
        pytest.param([("if-match", b'"b"')], b"GET", b'"a"', None, FAILED, id="9110-13.1.1-get-too"),
        pytest.param([("if-match", b'W/"a"')], b"PUT", b'W/"a"', None, FAILED, id="9110-13.1.1-weak-never-matches"),
        pytest.param([("if-match", b"*")], b"PUT", None, None, PROCEED, id="9110-13.1.1-any"),
        pytest.param([("if-match", b'"a"')], b"PUT", None, THEN, FAILED, id="9110-13.1.1-no-etag"),
        pytest.param([("if-match", b"junk")], b"PUT", b'"a"', None, FAILED, id="9110-13.1.1-malformed-fails-safe"),
        # If-Unmodified-Since
        pytest.param([("if-unmodified-since", THEN)], b"PUT", None, THEN, PROCEED, id="9110-13.1.4-same"),
        pytest.param([("if-unmodified-since", AFTER)], b"PUT", None, THEN, PROCEED, id="9110-13.1.4-older"),
        pytest.param([("if-unmodified-since", BEFORE)], b"PUT", None, THEN, FAILED, id="9110-13.1.4-newer"),
        pytest.param([("if-unmodified-since", BEFORE)], b"PUT", None, None, PROCEED, id="9110-13.1.4-no-date-known"),
        pytest.param([("if-unmodified-since", b"junk")], b"PUT", None, THEN, PROCEED, id="9110-13.1.4-invalid"),
        pytest.param(
            [("if-match", b'"a"'), ("if-unmodified-since", BEFORE)],
            b"PUT",
            b'"a"',
            THEN,
            PROCEED,
            id="9110-13.1.4-ignored-with-if-match",
        ),
        # If-None-Match, by weak comparison
        *(
            pytest.param(
                [("if-none-match", tag)], method, etag, None, NOT_MODIFIED, id=f"9110-13.1.2-{name}-{method!r}"
            )
            for method in GET_AND_HEAD
            for name, tag, etag in [
                ("match", b'"a"', b'"a"'),
                ("weak-match", b'W/"a"', b'"a"'),
                ("match-weak", b'"a"', b'W/"a"'),
                ("list", b'"x", "a"', b'"a"'),
                ("any", b"*", b'"a"'),
                ("any-without-etag", b"*", None),
            ]
        ),
        pytest.param([("if-none-match", b'"b"')], b"GET", b'"a"', None, PROCEED, id="9110-13.1.2-no-match"),
        pytest.param([("if-none-match", b'"b"')], b"GET", None, None, PROCEED, id="9110-13.1.2-no-etag"),
        pytest.param([("if-none-match", b"junk")], b"GET", b'"a"', None, PROCEED, id="9110-13.1.2-malformed"),
        pytest.param([("if-none-match", b'"a"')], b"PUT", b'"a"', None, FAILED, id="9110-13.1.2-put"),
        pytest.param([("if-none-match", b"*")], b"PUT", b'"a"', None, FAILED, id="9110-13.1.2-put-any"),
        pytest.param([("if-none-match", b'"b"')], b"PUT", b'"a"', None, PROCEED, id="9110-13.1.2-put-no-match"),
        # If-Modified-Since
        pytest.param([("if-modified-since", THEN)], b"GET", None, THEN, NOT_MODIFIED, id="9110-13.1.3-same"),
        pytest.param([("if-modified-since", AFTER)], b"HEAD", None, THEN, NOT_MODIFIED, id="9110-13.1.3-older"),
        pytest.param([("if-modified-since", BEFORE)], b"GET", None, THEN, PROCEED, id="9110-13.1.3-newer"),
        pytest.param([("if-modified-since", THEN)], b"GET", None, None, PROCEED, id="9110-13.1.3-no-date-known"),
        pytest.param([("if-modified-since", b"yesterday")], b"GET", None, THEN, PROCEED, id="9110-13.1.3-invalid"),
        pytest.param([("if-modified-since", THEN)] * 2, b"GET", None, THEN, PROCEED, id="9110-13.1.3-two-members"),
        pytest.param([("if-modified-since", THEN)], b"POST", None, THEN, PROCEED, id="9110-13.1.3-only-get-and-head"),
        pytest.param(
            [("if-modified-since", b"Sunday, 06-Nov-94 08:49:37 GMT")],
            b"GET",
            None,
            b"Sun Nov  6 08:49:37 1994",
            NOT_MODIFIED,
            id="9110-5.6.7-obsolete-forms",
        ),
        pytest.param(
            [("if-none-match", b'"b"'), ("if-modified-since", THEN)],
            b"GET",
            b'"a"',
            THEN,
            PROCEED,
            id="9110-13.1.3-ignored-with-if-none-match",
        ),
        pytest.param(
            [("if-none-match", b'"a"'), ("if-modified-since", BEFORE)],
            b"GET",
            b'"a"',
            THEN,
            NOT_MODIFIED,
            id="9110-13.2.2-if-none-match-alone-decides",
        ),
        # the order of §13.2.2
        pytest.param(
            [("if-match", b'"b"'), ("if-none-match", b'"a"')],
            b"GET",
            b'"a"',
            None,
            FAILED,
            id="9110-13.2.2-step-1-first",
        ),
        pytest.param(
            [("if-match", b'"a"'), ("if-none-match", b'"a"')],
            b"GET",
            b'"a"',
            None,
            NOT_MODIFIED,
            id="9110-13.2.2-then-3",
        ),
        pytest.param(
            [("if-unmodified-since", BEFORE), ("if-modified-since", AFTER)],
            b"GET",
            None,
            THEN,
            FAILED,
            id="9110-13.2.2-step-2-before-4",
        ),
        *(
            pytest.param([("if-match", b'"b"')], method, b'"a"', None, PROCEED, id=f"9110-13.2.1-{method!r}")
            for method in (b"OPTIONS", b"TRACE", b"CONNECT")
        ),
    ],
)
def test_evaluate(
    pairs: list[tuple[str, bytes]], method: bytes, etag: bytes | None, modified: bytes | None, expected: Condition
) -> None:
    fields = [(b"accept", b"*/*"), *((name.encode(), value) for name, value in pairs)]
    assert evaluate(method, fields, etag=etag, last_modified=modified, now=NOW) is expected


def test_the_value_is_the_status() -> None:
    assert [condition.value for condition in Condition] == [None, 304, 412]


@pytest.mark.parametrize(
    ("value", "etag", "modified", "date", "expected"),
    [
        pytest.param(None, None, None, None, True, id="9110-14.2-no-if-range"),
        pytest.param(b'"a"', b'"a"', None, None, True, id="9110-13.1.5-tag"),
        pytest.param(b'"a"', b'"b"', None, None, False, id="9110-13.1.5-other-tag"),
        pytest.param(b'W/"a"', b'W/"a"', None, None, False, id="9110-13.1.5-strong-comparison"),
        pytest.param(b'"a"', None, None, None, False, id="9110-13.1.5-no-etag"),
        pytest.param(b'"a", "b"', b'"a"', None, None, False, id="9110-13.1.5-one-tag-only"),
        pytest.param(THEN, None, THEN, AFTER, True, id="9110-13.1.5-date"),
        pytest.param(THEN, None, THEN, THEN, False, id="9110-8.8.2.2-within-the-second-is-weak"),
        pytest.param(THEN, None, THEN, None, True, id="9110-8.8.2.2-made-now"),
        pytest.param(AFTER, None, THEN, AFTER, False, id="9110-13.1.5-later-is-no-match"),
        pytest.param(BEFORE, None, THEN, AFTER, False, id="9110-13.1.5-earlier-is-no-match"),
        pytest.param(THEN, b'"a"', None, AFTER, False, id="9110-13.1.5-no-last-modified"),
        pytest.param(THEN, None, THEN, b"junk", False, id="9110-8.8.2.2-date-unknown"),
        pytest.param(b"junk", b"junk", b"junk", None, False, id="9110-13.1.5-malformed"),
        pytest.param(b"*", b'"a"', THEN, None, False, id="9110-13.1.5-no-any"),
    ],
)
def test_if_range(
    value: bytes | None, etag: bytes | None, modified: bytes | None, date: bytes | None, expected: bool
) -> None:
    fields = [] if value is None else [(b"if-range", value)]
    assert if_range_holds(fields, etag=etag, last_modified=modified, date=date, now=NOW) is expected


def test_two_if_ranges_do_not_hold() -> None:
    fields = [(b"if-range", b'"a"'), (b"if-range", b'"a"')]
    assert not if_range_holds(fields, etag=b'"a"', last_modified=None, date=None, now=NOW)


NAMES = st.sampled_from([b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"])
VALUES = st.binary(max_size=40) | st.sampled_from([b"*", b'"a"', b'W/"a"', THEN])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.none() | VALUES, st.none() | VALUES)
def test_never_raises(fields: list[tuple[bytes, bytes]], etag: bytes | None, modified: bytes | None) -> None:
    evaluate(b"GET", fields, etag=etag, last_modified=modified, now=NOW)
    if_range_holds(fields, etag=etag, last_modified=modified, date=modified, now=NOW)


@given(st.lists(st.from_regex(rb'\A(W/)?"[!-~]{0,5}"\Z', fullmatch=True).filter(is_entity_tag), min_size=1))
def test_lists_round_trip(tags: list[bytes]) -> None:
    assert entity_tags(b", ".join(tags)) == tuple(tags)


@pytest.mark.parametrize("value", [b'"a",' * 20_000, b'"a" ' * 20_000, b", " * 40_000, b'"' * 80_000])
def test_takes_linear_time(value: bytes) -> None:
    began = time.monotonic()
    entity_tags(value)
    assert time.monotonic() - began < 2
