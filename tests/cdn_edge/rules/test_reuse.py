"""RFC 9111 §4, §5.2.1, §5.2.2; RFC 5861."""

from __future__ import annotations

import pytest

from cdn_edge.rules.asking import PLAIN, read
from cdn_edge.rules.reuse import Failure, Reuse, decide, on_error, terms
from stack.http.cache_control import FOREVER, parse
from tests.cdn_edge.lab import lines

DECISIONS = [
    # response's Cache-Control, its age, the request's fields, what it comes to
    ("4.2 fresh", "max-age=10", 5, "", "hit"),
    ("4.2 at its lifetime it is stale", "max-age=10", 10, "", "stale"),
    ("4.2 stale", "max-age=10", 11, "", "stale"),
    ("5.2.2.4 no-cache", "max-age=10, no-cache", 0, "", "stale"),
    ("5.2.2.4 no-cache against max-stale", "max-age=10, no-cache", 0, "Cache-Control: max-stale", "stale"),
    ("5.2.2.4 no-cache against swr", "max-age=1, no-cache, stale-while-revalidate=99", 5, "", "stale"),
    ("5.2.2.2 must-revalidate while fresh", "max-age=10, must-revalidate", 5, "", "hit"),
    ("5.2.2.2 must-revalidate", "max-age=10, must-revalidate", 11, "Cache-Control: max-stale", "stale"),
    ("5.2.2.8 proxy-revalidate", "max-age=10, proxy-revalidate", 11, "Cache-Control: max-stale", "stale"),
    ("5.2.2.10 s-maxage", "s-maxage=10", 11, "Cache-Control: max-stale", "stale"),
    ("5.2.1.1 young enough", "max-age=10", 5, "Cache-Control: max-age=6", "hit"),
    ("5.2.1.1 too old", "max-age=10", 5, "Cache-Control: max-age=4", "request"),
    ("5.2.1.1 max-age=0", "max-age=10", 0, "Cache-Control: max-age=0", "request"),
    ("5.2.1.1 not above the lifetime", "max-age=10", 11, "Cache-Control: max-age=99", "stale"),
    ("5.2.1.2 any staleness", "max-age=10", 9999, "Cache-Control: max-stale", "max-stale"),
    ("5.2.1.2 within", "max-age=10", 15, "Cache-Control: max-stale=5", "max-stale"),
    ("5.2.1.2 beyond", "max-age=10", 16, "Cache-Control: max-stale=5", "stale"),
    ("5.2.1.2 fresh all the same", "max-age=10", 5, "Cache-Control: max-stale=5", "hit"),
    ("5.2.1.1 max-age with max-stale", "max-age=10", 12, "Cache-Control: max-age=60, max-stale=5", "max-stale"),
    ("5.2.1.3 fresh for long enough", "max-age=10", 5, "Cache-Control: min-fresh=5", "hit"),
    ("5.2.1.3 not for long enough", "max-age=10", 5, "Cache-Control: min-fresh=6", "request"),
    ("5.2.1.3 stale", "max-age=10", 15, "Cache-Control: min-fresh=1, max-stale", "stale"),
    ("5.2.1.4 no-cache", "max-age=10", 0, "Cache-Control: no-cache", "request"),
    ("5.2.1.5 no-store does not hinder reuse", "max-age=10", 5, "Cache-Control: no-store", "hit"),
    ("5.4 Pragma", "max-age=10", 5, "Pragma: no-cache", "request"),
    ("5.4 Pragma is silent beside Cache-Control", "max-age=10", 5, "Pragma: no-cache\nCache-Control: max-age=9", "hit"),
    ("5.4 another Pragma", "max-age=10", 5, "Pragma: foo", "hit"),
    ("5861 3 within", "max-age=10, stale-while-revalidate=5", 14, "", "stale-while-revalidate"),
    ("5861 3 beyond", "max-age=10, stale-while-revalidate=5", 15, "", "stale"),
    ("5861 3 against must-revalidate", "max-age=10, must-revalidate, stale-while-revalidate=5", 12, "", "stale"),
    ("5861 3 against proxy-revalidate", "max-age=10, proxy-revalidate, stale-while-revalidate=5", 12, "", "stale"),
    ("4.2.4 against s-maxage", "s-maxage=10, stale-while-revalidate=5", 12, "", "stale"),
    ("5861 3 a request that wants it young", "max-age=10, stale-while-revalidate=5", 12, "Cache-Control: max-age=30", "stale"),
    ("4.2 no lifetime", "public", 0, "", "stale"),
    ("8246 2 a reload", "max-age=10, immutable", 5, "Cache-Control: max-age=0", "hit"),
    ("8246 2 younger than it is", "max-age=10, immutable", 5, "Cache-Control: max-age=4", "hit"),
    ("8246 2 a forced reload", "max-age=10, immutable", 5, "Cache-Control: no-cache", "request"),
    ("8246 2 a forced reload of old", "max-age=10, immutable", 5, "Pragma: no-cache", "request"),
    ("8246 2 once it is stale", "max-age=10, immutable", 10, "Cache-Control: max-age=0", "request"),
    ("8246 2 stale, nothing asked", "max-age=10, immutable", 11, "", "stale"),
    ("8246 2 fresh for long enough", "max-age=10, immutable", 5, "Cache-Control: max-age=0, min-fresh=6", "request"),
    ("8246 2 with no-cache", "max-age=10, immutable, no-cache", 5, "Cache-Control: max-age=0", "stale"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("response", "age", "request_fields", "word"), [pytest.param(*row, id=case) for case, *row in DECISIONS]
)
def test_decide(response: str, age: float, request_fields: str, word: str) -> None:
    cc = parse(response.encode())
    found = decide(terms(cc, float(cc.s_maxage or cc.max_age or 0)), age, read(lines(request_fields)))
    assert found.value == word
    assert found.answers == (word in ("hit", "max-stale", "stale-while-revalidate"))


@pytest.mark.parametrize(
    ("response", "word", "answered", "unreachable"),
    [
        ("s-maxage=10", "stale", False, False),
        ("s-maxage=10, stale-while-revalidate=5", "stale-while-revalidate", False, False),
        ("s-maxage=10, stale-if-error=5", "stale", True, True),
        ("s-maxage=10, stale-while-revalidate=5, stale-if-error=5", "stale-while-revalidate", True, True),
        ("s-maxage=10, stale-while-revalidate=5, must-revalidate", "stale", False, False),
        ("s-maxage=10, stale-while-revalidate=5, proxy-revalidate", "stale", False, False),
        ("s-maxage=10, stale-while-revalidate=1", "stale", False, False),
    ],
)
def test_s_maxage_where_the_operator_lets_it_be_stale(
    response: str, word: str, answered: bool, unreachable: bool
) -> None:
    cc = parse(response.encode())
    lenient = terms(cc, 10.0, stale_with_s_maxage=True)
    assert decide(lenient, 12).value == word
    assert on_error(lenient, 12, PLAIN, Failure.ANSWERED, 1000) is answered
    assert on_error(lenient, 12, PLAIN, Failure.UNREACHABLE, 1000) is unreachable
    strict = terms(cc, 10.0)
    assert decide(strict, 12) is Reuse.STALE
    assert not on_error(strict, 12, PLAIN, Failure.UNREACHABLE, 1000)


@pytest.mark.parametrize(
    ("response", "age", "request_fields", "answered", "unreachable"),
    [
        pytest.param("max-age=10, stale-if-error=5", 14, "", True, True, id="5861 4 within"),
        pytest.param("max-age=10, stale-if-error=5", 15, "", False, False, id="5861 4 beyond"),
        pytest.param("max-age=10, stale-if-error=0", 11, "", False, False, id="5861 4 none at all"),
        pytest.param("max-age=10", 11, "", False, True, id="4.2.4 nothing said"),
        pytest.param("max-age=10", 111, "", False, False, id="4.2.4 nothing said, too stale"),
        pytest.param("max-age=10", 14, "Cache-Control: stale-if-error=5", True, True, id="5861 4 by the request"),
        pytest.param(
            "max-age=10, stale-if-error=5, must-revalidate", 11, "", False, False, id="5.2.2.2 must-revalidate"
        ),
        pytest.param(
            "max-age=10, stale-if-error=5, proxy-revalidate", 11, "", False, False, id="5.2.2.8 proxy-revalidate"
        ),
        pytest.param("max-age=10, stale-if-error=5, no-cache", 11, "", False, False, id="5.2.2.4 no-cache"),
        pytest.param("s-maxage=10, stale-if-error=5", 11, "", False, False, id="5.2.2.10 s-maxage"),
        pytest.param(
            "max-age=10, stale-if-error=5", 11, "Cache-Control: no-cache", False, False, id="5.2.1.4 no-cache"
        ),
    ],
)
def test_on_error(response: str, age: float, request_fields: str, answered: bool, unreachable: bool) -> None:
    cc = parse(response.encode())
    stored, asked = terms(cc, 10.0), read(lines(request_fields))
    assert on_error(stored, age, asked, Failure.ANSWERED, 100) is answered
    assert on_error(stored, age, asked, Failure.UNREACHABLE, 100) is unreachable


def test_a_request_that_says_nothing_is_known_at_a_glance() -> None:
    assert read(lines("Accept: */*\nCookie: a=b\nAccept-Encoding: gzip")) is PLAIN
    assert decide(terms(parse(b"max-age=1"), 1.0), 0.5) is Reuse.HIT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Range: bytes=0-1", (False, True, False)),
        ("If-None-Match: *", (True, False, False)),
        ("If-Modified-Since: x", (True, False, False)),
        ("If-Match: *", (True, False, False)),
        ("If-Unmodified-Since: x", (True, False, False)),
        ("Authorization: Basic x", (False, False, True)),
        ("Authorization: Basic x\nCache-Control: no-cache\nRange: bytes=1-\nIf-Match: *", (True, True, True)),
    ],
)
def test_what_a_request_says(text: str, expected: tuple[bool, bool, bool]) -> None:
    asked = read(lines(text))
    assert (asked.conditional, asked.ranged, asked.authorized) == expected
    assert asked.no_cache == ("no-cache" in text)


def test_directives_of_a_request() -> None:
    asked = read(lines("Cache-Control: max-stale\nCache-Control: only-if-cached"))
    assert asked.cc.max_stale == FOREVER
    assert asked.cc.only_if_cached
