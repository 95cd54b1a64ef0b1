"""RFC 9111 §4.3, §3.2."""

from __future__ import annotations

import pytest

from cdn_edge.rules.validation import conditions, freshened, same_as_head, same_representation
from tests.cdn_edge.lab import lines

NOW = 1_700_000_000.0
LM = "Last-Modified: Tue, 14 Nov 2023 00:00:00 GMT"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param('ETag: "a"', ['if-none-match: "a"'], id="4.3.1 strong"),
        pytest.param('ETag: W/"a"', ['if-none-match: W/"a"'], id="4.3.1 weak"),
        pytest.param(LM, ["if-modified-since: Tue, 14 Nov 2023 00:00:00 GMT"], id="4.3.1 date"),
        pytest.param(
            f'ETag: "a"\n{LM}',
            ['if-none-match: "a"', "if-modified-since: Tue, 14 Nov 2023 00:00:00 GMT"],
            id="4.3.1 both",
        ),
        pytest.param("ETag: a", [], id="no entity tag"),
        pytest.param("Last-Modified: then", [], id="no date"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_conditions(stored: str, expected: list[str]) -> None:
    assert [f"{name.decode()}: {value.decode()}" for name, value in conditions(lines(stored), NOW)] == expected


@pytest.mark.parametrize(
    ("stored", "fresh", "same"),
    [
        pytest.param('ETag: "a"', 'ETag: "a"', True, id="4.3.4 strong"),
        pytest.param('ETag: "a"', 'ETag: "b"', False, id="4.3.4 other"),
        pytest.param('ETag: W/"a"', 'ETag: W/"a"', True, id="4.3.4 weak"),
        pytest.param('ETag: "a"', 'ETag: W/"a"', True, id="4.3.4 weak of strong"),
        pytest.param('ETag: "a"', 'ETag: W/"b"', False, id="4.3.4 other weak"),
        pytest.param(LM, 'ETag: "b"', False, id="4.3.4 a tag out of nowhere"),
        pytest.param(LM, LM, True, id="4.3.4 date"),
        pytest.param(LM, "Last-Modified: Tue, 14 Nov 2023 00:00:01 GMT", False, id="4.3.4 other date"),
        pytest.param(f'ETag: "a"\n{LM}', "", True, id="4.3.4 no validator"),
        pytest.param('ETag: "a"', LM, True, id="4.3.4 a date for a tag"),
    ],
)
def test_same_representation(stored: str, fresh: str, same: bool) -> None:
    assert same_representation(lines(stored), lines(fresh)) is same


@pytest.mark.parametrize(
    ("stored", "head", "same"),
    [
        pytest.param('ETag: "a"\nContent-Length: 5', 'ETag: "a"\nContent-Length: 5', True, id="4.3.5 same"),
        pytest.param('ETag: "a"\nContent-Length: 5', 'ETag: "a"\nContent-Length: 6', False, id="4.3.5 length"),
        pytest.param('ETag: "a"', 'ETag: "b"', False, id="4.3.5 tag"),
        pytest.param(LM, "Last-Modified: Tue, 14 Nov 2023 00:00:01 GMT", False, id="4.3.5 date"),
        pytest.param("Content-Length: 5", "Content-Length: 5", True, id="4.3.5 no validator"),
    ],
)
def test_same_as_head(stored: str, head: str, same: bool) -> None:
    assert same_as_head(lines(stored), lines(head)) is same


def test_freshened() -> None:
    stored = lines(
        "Content-Type: a\nContent-Length: 5\nContent-Encoding: br\nA: 1\nA: 2\nB: 3\nCache-Status: old\nVia: old"
    )
    fresh = lines("Content-Length: 0\nContent-Encoding: gzip\nContent-Range: x\nA: 4\nC: 5\nContent-Type: b")
    assert freshened(stored, fresh) == lines(
        "Content-Length: 5\nContent-Encoding: br\nB: 3\nA: 4\nC: 5\nContent-Type: b"
    )
