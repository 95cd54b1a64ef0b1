"""RFC 9111 §4.1."""

from __future__ import annotations

import pytest

from cdn_edge.rules.vary import Selector, names, selection
from tests.cdn_edge.lab import lines


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ("", ()),
        ("Vary: Accept-Encoding", (b"accept-encoding",)),
        ("Vary: b, A", (b"a", b"b")),
        ("Vary: a\nVary: B", (b"a", b"b")),
        ("Vary: a, a", (b"a",)),
        ("Vary:", ()),
        ("Vary: *", None),
        ("Vary: a, *", None),
        ("Vary: a\nVary: *", None),
    ],
)
def test_names(vary: str, expected: tuple[bytes, ...] | None) -> None:
    assert names(lines(vary)) == expected


SAME = [
    ("both absent", "x", "", ""),
    ("white space around commas", "x", "X: 1, 2", "X: 1,2"),
    ("white space runs", "x", "X: a   b", "X: a b"),
    ("lines combined", "x", "X: 1\nX: 2", "X: 1, 2"),
    ("codings in any order", "accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br, gzip"),
    ("codings in any case", "accept-encoding", "Accept-Encoding: GZIP", "Accept-Encoding: gzip"),
    ("x-gzip is gzip", "accept-encoding", "Accept-Encoding: x-gzip", "Accept-Encoding: gzip"),
    ("weight 1 is the default", "accept-encoding", "Accept-Encoding: br;q=1.0", "Accept-Encoding: br"),
    ("weights in thousandths", "accept-encoding", "Accept-Encoding: br;q=0.5", "Accept-Encoding: br ; q=0.500"),
    ("white space between languages", "accept-language", "Accept-Language: en, de", "Accept-Language: en,de"),
    ("languages in any case", "accept-language", "Accept-Language: en-US", "Accept-Language: EN-us"),
    ("language weights", "accept-language", "Accept-Language: en, de;q=0.8", "Accept-Language: en, de; q=0.80"),
]
DIFFERENT = [
    ("absent is not empty", "x", "", "X:"),
    ("absent and present", "x", "", "X: 1"),
    ("values", "x", "X: 1", "X: 2"),
    ("order of an unknown field", "x", "X: 1, 2", "X: 2, 1"),
    ("case of an unknown field", "x", "X: a", "X: A"),
    ("blanks within quotes", "x", 'X: "a,b"', 'X: "a, b"'),
    ("language weights", "accept-language", "Accept-Language: en, de;q=0.5", "Accept-Language: en;q=0.5, de"),
    ("12.5.4 order of languages", "accept-language", "Accept-Language: en, de", "Accept-Language: de, en"),
    ("a coding refused", "accept-encoding", "Accept-Encoding: gzip, br;q=0", "Accept-Encoding: gzip, br"),
    ("no coding at all", "accept-encoding", "Accept-Encoding:", ""),
]


@pytest.mark.parametrize(("name", "one", "other"), [pytest.param(*row, id=case) for case, *row in SAME])
def test_same(name: str, one: str, other: str) -> None:
    wanted = (name.encode(),)
    assert selection(wanted, lines(one)) == selection(wanted, lines(other))


@pytest.mark.parametrize(("name", "one", "other"), [pytest.param(*row, id=case) for case, *row in DIFFERENT])
def test_different(name: str, one: str, other: str) -> None:
    wanted = (name.encode(),)
    assert selection(wanted, lines(one)) != selection(wanted, lines(other))


def test_the_memory_changes_nothing_and_is_bounded() -> None:
    remembering = Selector(remembered=3)
    for round in range(2):
        for case, name, one, other in SAME + DIFFERENT:
            for text in (one, other):
                wanted = (name.encode(), b"unasked")
                assert remembering(wanted, lines(text)) == selection(wanted, lines(text)), (round, case)
                assert remembering(wanted[:1], lines(text)) == selection(wanted[:1], lines(text))
        assert len(remembering._known) <= 3
    remembering((b"x",), [(b"x", b"a" * 10_000)])
    assert all(len(value) < 1000 for _, value in remembering._known)
