"""Field lines of RFC 9112 §5: what is taken, what is refused, and that remembering a line changes nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http import field_lines
from stack.http.field_lines import LONGEST, MOST, FieldParser, KnownLines


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param(b"Host: a", (b"host", b"a"), id="9110-5.1-lower-case"),
        pytest.param(b"A:b", (b"a", b"b"), id="9112-5.1-no-space"),
        pytest.param(b"A:\t b \t c\t ", (b"a", b"b \t c"), id="9112-5.1-ows"),
        pytest.param(b"A:", (b"a", b""), id="9110-5.5-empty"),
        pytest.param(b"A: \t ", (b"a", b""), id="9110-5.5-only-space"),
        pytest.param(b"A: b:c", (b"a", b"b:c"), id="9112-5-first-colon"),
        pytest.param(b"A: \x80\xff", (b"a", b"\x80\xff"), id="9110-5.5-obs-text"),
        pytest.param(b"!#$%&'*+-.^_`|~09: x", (b"!#$%&'*+-.^_`|~09", b"x"), id="9110-5.6.2-token"),
    ],
)
def test_a_line_is_taken(line: bytes, field: tuple[bytes, bytes]) -> None:
    parser = FieldParser()
    assert parser.parse([line]) == [field]
    assert parser.parse([line, line]) == [field, field]  # and from memory


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param(b" A: b", "folded", id="9112-5.2-fold"),
        pytest.param(b"\tb", "folded", id="9112-5.2-fold-tab"),
        pytest.param(b"A : b", "before a colon", id="9112-5.1-space"),
        pytest.param(b"A\t: b", "before a colon", id="9112-5.1-tab"),
        pytest.param(b"A", "no colon", id="9112-5-no-colon"),
        pytest.param(b"", "no colon", id="9112-5-empty"),
        pytest.param(b": b", "no token", id="9110-5.1-no-name"),
        pytest.param(b"A(: b", "no token", id="9110-5.6.2-delimiter"),
        pytest.param(b"\xc3\xa4: b", "no token", id="9110-5.6.2-not-ascii"),
        pytest.param(b"A: b\rc", "control", id="9112-2.2-bare-cr"),
        pytest.param(b"A: b\nc", "control", id="9112-2.2-bare-lf"),
        pytest.param(b"A: b\r", "control", id="9112-2.2-cr-at-the-end"),
        pytest.param(b"A: b\n", "control", id="9112-2.2-lf-at-the-end"),
        pytest.param(b"A: b\0c", "control", id="9110-5.5-nul"),
        pytest.param(b"A: b\x7f", "control", id="9110-5.5-del"),
        pytest.param(b"A: \x0b", "control", id="9110-5.5-vt"),
        pytest.param(b"A\n: b", "no token", id="9112-5.1-lf-in-the-name"),
    ],
)
def test_a_line_is_refused(line: bytes, complaint: str) -> None:
    parser = FieldParser()
    for _ in range(2):
        with pytest.raises(ValueError, match=complaint):
            parser.parse([b"X: y", line])


def test_secrets_and_long_lines_are_not_remembered() -> None:
    known = KnownLines()
    parser = FieldParser(known=known)
    parser.parse(
        [b"Cookie: a=b", b"Authorization: Basic x", b"SET-COOKIE: c=d", b"X: " + b"y" * LONGEST, b"Accept: */*"]
    )
    assert known.fields == {b"Accept: */*": (b"accept", b"*/*")}
    assert not known.noted


def test_the_memory_is_bounded() -> None:
    known = KnownLines()
    parser = FieldParser(known=known)
    for number in range(3 * MOST):
        parser.parse([b"X: %d" % number, b"Content-Length: %d" % number])
        assert len(known.noted) <= len(known.fields) <= MOST


@given(st.lists(st.binary(max_size=12).map(lambda junk: b"A" + junk), max_size=6))
def test_a_line_means_the_same_whether_it_was_met_before(lines: list[bytes]) -> None:
    used = FieldParser()
    for line in lines:
        with contextlib.suppress(ValueError):
            used.parse([line])
    for line in lines:
        first = again = None
        with contextlib.suppress(ValueError):
            first = FieldParser().parse([line])
        with contextlib.suppress(ValueError):
            again = used.parse([line])
        assert first == again


def test_fields_with_a_rule_are_told_apart_for_each_message() -> None:
    parser = FieldParser()
    for _ in range(2):
        parser.parse([b"Host: a", b"X: y", b"Connection: x", b"VIA: 1.1 b", b"connection: z", b"X_Forwarded-For: c"])
        assert parser.noted == [
            (b"host", b"a"), (b"connection", b"x"), (b"via", b"1.1 b"), (b"connection", b"z"), (b"x_forwarded-for", b"c"),
        ]  # fmt: skip
        before = parser.noted
        parser.parse([b"X: y"])
        assert parser.noted == []
        assert len(before) == 5


@given(
    st.lists(
        st.lists(
            st.builds(
                lambda name, value: name + b": " + value,
                st.sampled_from(
                    [b"Host", b"host", b"Content-Length", b"X-A", b"X-B", b"Via", b"Cookie", b"X-Request-ID"]
                ),
                st.sampled_from([b"1", b"2", b"3"]),
            ),
            max_size=8,
        ),
        max_size=12,
    )
)
def test_what_is_told_apart_does_not_depend_on_what_is_remembered(messages: list[list[bytes]]) -> None:
    """Host or Content-Length that nobody told of would be a way to smuggle."""
    ruled = {b"host", b"content-length", b"via", b"x-request-id"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(field_lines, "MOST", 5)  # forgotten in the middle of messages
        known = KnownLines()
        parsers = [FieldParser(known=known), FieldParser(known=known)]
        for number, lines in enumerate(messages):
            parser = parsers[number % 2]
            fields = parser.parse(lines)
            assert fields == FieldParser().parse(lines)
            assert parser.noted == [field for field in fields if field[0] in ruled]
