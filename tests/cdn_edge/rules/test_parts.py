"""What a 206 brings, and what may be put together: RFC 9110 §14.4, §15.3.7; RFC 9111 §3.4."""

from __future__ import annotations

import pytest

from cdn_edge.rules import parts
from cdn_edge.rules.parts import Part
from stack.http.ranges import Range
from tests.cdn_edge.lab import lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Content-Range: bytes 4-9/10", Part(Range(4, 10), 10), id="14.4"),
        pytest.param(
            "Content-Range: BYTES 0-0/1\nContent-Length: 1", Part(Range(0, 1), 1), id="14.1 units have no case"
        ),
        pytest.param("Content-Range: bytes 4-9/10\nContent-Length: 5", None, id="14.4 contradicted by Content-Length"),
        pytest.param("Content-Range: bytes 4-9/*", None, id="14.4 of unknown length"),
        pytest.param("Content-Range: bytes */10", None, id="15.5.17 unsatisfied"),
        pytest.param("Content-Range: bytes 9-4/10", None, id="14.4 invalid: last before first"),
        pytest.param("Content-Range: bytes 4-10/10", None, id="14.4 invalid: last beyond the length"),
        pytest.param("Content-Range: pages 4-9/10", None, id="14.4 another unit"),
        pytest.param("Content-Range: bytes 0-1/10\nContent-Range: bytes 2-3/10", None, id="14.4 twice"),
        pytest.param("Content-Type: multipart/byteranges; boundary=x", None, id="15.3.7.2 several ranges"),
        pytest.param("Content-Range: bytes 0-99999999999999999999/999999999999999999999", None, id="14.4 absurd"),
    ],
)
def test_what_a_206_brings(text: str, expected: Part | None) -> None:
    assert parts.part(lines(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('ETag: "a"', b'"a"', id="8.8.3 strong"),
        pytest.param('ETag: W/"a"', None, id="8.8.3 weak"),
        pytest.param("ETag: a", None, id="8.8.3 no entity tag"),
        pytest.param('ETag: "a"\nETag: "b"', None, id="8.8.3 two"),
        pytest.param("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", None, id="8.8.2.2 a date"),
    ],
)
def test_3_4_the_strong_validator(text: str, expected: bytes | None) -> None:
    assert parts.strong_tag(lines(text)) == expected


def test_the_head_of_the_whole() -> None:
    fields = lines('Content-Type: a/b\nContent-Range: bytes 0-1/10\nContent-Length: 2\nETag: "a"')
    assert parts.whole_head(fields, 10) == lines('Content-Type: a/b\nETag: "a"\nContent-Length: 10')


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        pytest.param(200, 'ETag: "a"\nContent-Length: 11\nAccept-Ranges: bytes', 11, id="sliced"),
        pytest.param(200, 'ETag: "a"\nContent-Length: 10\nAccept-Ranges: bytes', None, id="not large"),
        pytest.param(200, 'ETag: W/"a"\nContent-Length: 11\nAccept-Ranges: bytes', None, id="3.4 no strong validator"),
        pytest.param(200, 'ETag: "a"\nContent-Length: 11\nAccept-Ranges: none', None, id="14.3 no ranges"),
        pytest.param(200, 'ETag: "a"\nContent-Length: 11', None, id="14.3 nothing said of ranges"),
        pytest.param(200, 'ETag: "a"\nAccept-Ranges: bytes', None, id="unknown length"),
        pytest.param(404, 'ETag: "a"\nContent-Length: 11\nAccept-Ranges: bytes', None, id="15.3.7 only of a 200"),
    ],
)
def test_what_is_kept_in_slices(status: int, text: str, expected: int | None) -> None:
    assert parts.sliced(status, lines(text), size=4, beyond=10) == expected
    assert parts.sliced(status, lines(text), size=0, beyond=10) is None


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ([], (2, 5), [(2, 5)]),
        ([(0, 10)], (2, 5), []),
        ([(0, 3)], (2, 5), [(3, 5)]),
        ([(4, 8)], (2, 5), [(2, 4)]),
        ([(3, 4)], (2, 5), [(2, 3), (4, 5)]),
        ([(0, 2), (5, 9)], (2, 5), [(2, 5)]),
        ([(0, 3), (3, 9)], (2, 5), []),
    ],
)
def test_what_is_missing(held: list[tuple[int, int]], wanted: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert parts.gaps([Range(*one) for one in held], Range(*wanted)) == [Range(*one) for one in expected]


def test_slices_are_aligned() -> None:
    assert parts.aligned(5, 4, 10) == Range(4, 8)
    assert parts.aligned(9, 4, 10) == Range(8, 10)
    assert parts.aligned(9, 0, 10) == Range(0, 10)
