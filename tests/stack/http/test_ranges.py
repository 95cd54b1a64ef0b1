from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.ranges import MOST, Range, Unsatisfiable, content_range, multipart, parse

Expected = tuple[Range, ...] | Unsatisfiable | None


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        pytest.param(b"bytes=0-499", 10_000, (Range(0, 500),), id="9110-14.1.2-first-500"),
        pytest.param(b"bytes=500-999", 10_000, (Range(500, 1000),), id="9110-14.1.2-second-500"),
        pytest.param(b"bytes=-500", 10_000, (Range(9500, 10_000),), id="9110-14.1.2-final-500"),
        pytest.param(b"bytes=9500-", 10_000, (Range(9500, 10_000),), id="9110-14.1.2-open"),
        pytest.param(b"bytes=0-0,-1", 10_000, (Range(0, 1), Range(9999, 10_000)), id="9110-14.1.2-first-and-last"),
        pytest.param(b"bytes= 0-0 ,\t-1 ", 10_000, (Range(0, 1), Range(9999, 10_000)), id="9110-5.6.1-white-space"),
        pytest.param(b"bytes=0-0,,-1,", 10_000, (Range(0, 1), Range(9999, 10_000)), id="9110-5.6.1-empty-elements"),
        pytest.param(b"BYTES=0-0", 10_000, (Range(0, 1),), id="9110-14.1-unit-is-case-insensitive"),
        pytest.param(b"bytes=500-600,0-1", 10_000, (Range(500, 601), Range(0, 2)), id="9110-15.3.7.2-order-asked-for"),
        pytest.param(b"bytes=0-99999", 10_000, (Range(0, 10_000),), id="9110-14.1.2-last-beyond-the-end"),
        pytest.param(b"bytes=-99999", 10_000, (Range(0, 10_000),), id="9110-14.1.2-suffix-longer-than-all"),
        pytest.param(b"bytes=9999-", 10_000, (Range(9999, 10_000),), id="last-byte"),
        pytest.param(b"bytes=10000-", 10_000, Unsatisfiable(10_000), id="9110-15.5.17-beyond-the-end"),
        pytest.param(b"bytes=10000-10001,20000-", 10_000, Unsatisfiable(10_000), id="9110-15.5.17-none-of-them"),
        pytest.param(b"bytes=10000-,0-0", 10_000, (Range(0, 1),), id="9110-14.2-one-of-them-will-do"),
        pytest.param(b"bytes=-0", 10_000, Unsatisfiable(10_000), id="9110-14.1.2-empty-suffix"),
        pytest.param(b"bytes=0-", 0, Unsatisfiable(0), id="9110-14.1.2-nothing-to-start-at"),
        pytest.param(b"bytes=-0", 0, Unsatisfiable(0), id="9110-14.1.2-empty-suffix-of-nothing"),
        pytest.param(b"bytes=-5", 0, None, id="9110-14.1.2-suffix-of-nothing-is-the-whole"),
        pytest.param(b"bytes=5-2", 10_000, None, id="9110-14.1.1-last-before-first"),
        pytest.param(b"bytes=0-0,5-2", 10_000, None, id="9110-14.1.1-one-invalid-makes-all-invalid"),
        pytest.param(b"bytes=", 10_000, None, id="empty-set"),
        pytest.param(b"bytes=-", 10_000, None, id="only-dash"),
        pytest.param(b"bytes=a-b", 10_000, None, id="letters"),
        pytest.param(b"bytes=0-1-2", 10_000, None, id="two-dashes"),
        pytest.param(b"bytes=+0-1", 10_000, None, id="sign"),
        pytest.param(b"bytes=0 - 1", 10_000, None, id="space-within"),
        pytest.param(b"bytes=0x0-1", 10_000, None, id="hexadecimal"),
        pytest.param("bytes=\u0660-1".encode(), 10_000, None, id="other-digits"),
        pytest.param(b"bytes 0-1", 10_000, None, id="no-equals"),
        pytest.param(b"lines=0-1", 10_000, None, id="9110-14.2-unknown-unit"),
        pytest.param(b"", 10_000, None, id="empty"),
        pytest.param(b"bytes=" + b"9" * 10_000 + b"-", 10_000, None, id="number-without-end"),
        pytest.param(b"bytes=0-9,5-14,10-19", 10_000, (Range(0, 20),), id="9110-15.3.7.2-overlapping-are-coalesced"),
        pytest.param(b"bytes=90-99,0-9,10-19", 10_000, (Range(90, 100), Range(0, 20)), id="15.3.7.2-touching"),
        pytest.param(
            b"bytes=5-9,90-99,0-6", 10_000, (Range(0, 10), Range(90, 100)), id="15.3.7.2-in-the-first's-place"
        ),
        pytest.param(b"bytes=0-0,-1", 1, None, id="17.15-the-same-twice"),
        pytest.param(b"bytes=0-0,2-2", 10_000, (Range(0, 1), Range(2, 3)), id="15.3.7.2-apart"),
        pytest.param(b"bytes=0-9,0-9,0-9,0-9", 10_000, None, id="9110-14.2-more-than-two-overlap"),
        pytest.param(b"bytes=0-,0-", 10_000, None, id="9110-17.15-more-than-there-is"),
        pytest.param(
            b"bytes=" + b",".join(b"%d-%d" % (i * 2, i * 2) for i in range(MOST + 1)), 10_000, None, id="17.15-many"
        ),
    ],
)
def test_parse(value: bytes, size: int, expected: Expected) -> None:
    assert parse(value, size) == expected


def test_the_most_that_is_taken() -> None:
    found = parse(b"bytes=" + b",".join(b"%d-%d" % (i * 2, i * 2) for i in range(MOST)), 10_000)
    assert isinstance(found, tuple)
    assert len(found) == MOST


def test_content_range() -> None:
    assert content_range(Range(42, 1234), 1234) == b"bytes 42-1233/1234"  # RFC 9110 §14.4
    assert Unsatisfiable(47_022).content_range == b"bytes */47022"  # RFC 9110 §15.5.17


def test_multipart() -> None:
    """RFC 9110 §14.6 and RFC 2046 §5.1.1."""
    content = b"0123456789"
    body = multipart((Range(0, 2), Range(8, 10)), 10, content_type=b"text/plain", boundary=b"SEP")
    assert body.content_type == b"multipart/byteranges; boundary=SEP"
    sent = b"".join(body.pieces(content))
    assert sent == (
        b"--SEP\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--SEP\r\ncontent-type: text/plain\r\ncontent-range: bytes 8-9/10\r\n\r\n89"
        b"\r\n--SEP--\r\n"
    )
    assert body.content_length == len(sent)


def test_multipart_without_a_type() -> None:
    body = multipart((Range(0, 2),), 10, content_type=None, boundary=b"SEP")
    assert body.heads == (b"--SEP\r\ncontent-range: bytes 0-1/10\r\n\r\n",)


@given(st.binary(max_size=60).map(lambda rest: b"bytes=" + rest), st.integers(0, 10**12))
def test_never_raises(value: bytes, size: int) -> None:
    parse(value, size)


SPECS = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: b"%d-%d" % (min(pair), max(pair)))
SUFFIXES = st.integers(0, 300).map(lambda n: b"-%d" % n)
OPEN = st.integers(0, 300).map(lambda n: b"%d-" % n)


@given(st.lists(SPECS | SUFFIXES | OPEN, min_size=1, max_size=5), st.integers(0, 255))
def test_what_is_sent_is_what_content_range_says(specs: list[bytes], size: int) -> None:
    content = bytes(range(size))
    found = parse(b"bytes=" + b",".join(specs), size)
    if not isinstance(found, tuple):
        return
    assert found
    assert sum(map(len, found)) <= size or len(found) == 1
    for part in found:
        assert 0 <= part.start < part.stop <= size
    inorder = sorted(found, key=lambda part: part.start)
    assert all(one.stop < other.start for one, other in pairwise(inorder))
    body = multipart(found, size, content_type=None, boundary=b"~")
    assert sum(map(len, body.pieces(content))) == body.content_length
