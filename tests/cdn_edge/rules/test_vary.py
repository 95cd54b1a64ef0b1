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
        ("Vary: Accept, X-Forwarded-For", None),
        ("Vary: X-Request-ID", None),
        ("Vary: X-Forwarded-Proto", (b"x-forwarded-proto",)),
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
    ("codings of one class", "accept-encoding", "Accept-Encoding: gzip, deflate, br", "Accept-Encoding: br;q=1, gzip"),
    ("what is rarely used beside", "accept-encoding", "Accept-Encoding: x-own, gzip", "Accept-Encoding: gzip, deflate"),
    ("12.5.3 empty is identity", "accept-encoding", "Accept-Encoding:", "Accept-Encoding: identity"),
    ("languages by weight", "accept-language", "Accept-Language: en, de;q=0.5", "Accept-Language: de;q=0.5, en"),
    ("a cookie among others", "cookie:lang", "Cookie: lang=de", "Cookie: a=1; lang = de; b=2"),
    ("a cookie's lines", "cookie:lang", "Cookie: lang=de\nCookie: x=1", "Cookie: lang=de"),
    ("a cookie of a longer name", "cookie:lang", "", "Cookie: xlang=de; langx=en; x=lang=de"),
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
    ("a preference", "accept-encoding", "Accept-Encoding: gzip, br;q=0.5", "Accept-Encoding: gzip, br"),
    ("a cookie's value", "cookie:lang", "Cookie: lang=de", "Cookie: lang=en"),
    ("a cookie's name has case", "cookie:lang", "Cookie: lang=de", "Cookie: Lang=de"),
    ("a cookie that is empty", "cookie:lang", "Cookie: lang=", ""),
    ("a cookie twice", "cookie:lang", "Cookie: lang=de; lang=en", "Cookie: lang=de"),
    ("a cookie behind a comma", "cookie:lang", "Cookie: x=1,lang=evil", "Cookie: x=1"),
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


def test_what_the_operator_makes_alike_or_not() -> None:
    unordered = Selector(language_order=False)
    assert unordered.normalised(b"accept-language", b"en, de") == unordered.normalised(b"accept-language", b"de,  EN")
    assert unordered.normalised(b"accept-language", b"en, de;q=0.5") != unordered.normalised(
        b"accept-language", b"de, en"
    )
    exact = Selector(encodings="exact")
    assert exact.normalised(b"accept-encoding", b"gzip, deflate") != exact.normalised(b"accept-encoding", b"gzip")
    assert exact.normalised(b"accept-encoding", b"gzip, br") == exact.normalised(b"accept-encoding", b"BR,gzip")


def test_the_origin_is_asked_for_the_class() -> None:
    fields = lines("Accept: */*\nAccept-Encoding: gzip, deflate\nX: 1\nAccept-Encoding: br")
    Selector().ask(fields)
    assert fields == lines("Accept: */*\nAccept-Encoding: br, gzip\nX: 1")
    for text in ("Accept: */*", "Accept-Encoding: gzip, br;q=0.5", "Accept-Encoding: *"):
        fields = lines(text)
        Selector().ask(fields)
        assert fields == lines(text)
    fields = lines("Accept-Encoding: gzip, deflate")
    Selector(encodings="exact").ask(fields)
    assert fields == lines("Accept-Encoding: gzip, deflate")
