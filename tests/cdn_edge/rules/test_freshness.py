"""RFC 9111 §4.2, §5.1, §5.3."""

from __future__ import annotations

import pytest

from cdn_edge.rules.directives import DEFAULT
from cdn_edge.rules.freshness import Heuristic, age_value, initial_age, lifetime, parse_date
from stack.http.cache_control import FOREVER
from stack.http.dates import http_date
from tests.cdn_edge.lab import lines

NOW = 1_700_000_000.0


def at(text: str) -> str:
    """{N} is a date N s from now."""
    while "{" in text:
        before, _, rest = text.partition("{")
        offset, _, after = rest.partition("}")
        text = before + http_date(NOW + int(offset)).decode() + after
    return text


LIFETIMES = [
    ("4.2.1 s-maxage first", 200, "Cache-Control: max-age=1, s-maxage=2\nExpires: {9}\nDate: {0}", 2, "s-maxage"),
    ("4.2.1 s-maxage=0 counts", 200, "Cache-Control: max-age=1, s-maxage=0", 0, "s-maxage"),
    ("4.2.1 max-age before Expires", 200, "Cache-Control: max-age=1\nExpires: {9}\nDate: {0}", 1, "max-age"),
    ("4.2.1 max-age before a past Expires", 200, "Cache-Control: max-age=9\nExpires: {-9}\nDate: {0}", 9, "max-age"),
    ("4.2.1 max-age before a bad Expires", 200, "Cache-Control: max-age=9\nExpires: 0", 9, "max-age"),
    ("4.2.1 Expires less Date", 200, "Expires: {9}\nDate: {0}", 9, "expires"),
    ("4.2.1 Expires less a slow Date", 200, "Expires: {9}\nDate: {-5}", 14, "expires"),
    ("4.2.1 Expires less a fast Date", 200, "Expires: {9}\nDate: {5}", 4, "expires"),
    ("4.2.1 Expires before Date", 200, "Expires: {5}\nDate: {9}", 0, "expires"),
    ("4.2.1 Expires without Date", 200, "Expires: {9}", 9, "expires"),
    ("4.2.1 Expires with a bad Date", 200, "Expires: {9}\nDate: yesterday", 9, "expires"),
    ("5.3 Expires: 0", 200, "Expires: 0\nDate: {0}", 0, "expires"),
    ("5.3 Expires: -1", 200, "Expires: -1\nDate: {0}", 0, "expires"),
    ("5.3 empty Expires", 200, "Expires:\nDate: {0}", 0, "expires"),
    ("5.3 two Expires", 200, "Expires: {9}\nExpires: {9}\nDate: {0}", 0, "expires"),
    ("4.2.1 max-age unreadable", 200, "Cache-Control: max-age=1a\nExpires: {9}\nDate: {0}", 0, "max-age"),
    ("4.2.1 max-age decimal", 200, "Cache-Control: max-age=3600.5", 0, "max-age"),
    ("4.2.1 max-age negative", 200, "Cache-Control: max-age=-1", 0, "max-age"),
    ("1.2.2 max-age beyond all", 200, "Cache-Control: max-age=99999999999999", FOREVER, "max-age"),
    ("5.2 max-age quoted", 200, 'Cache-Control: max-age="5"', 5, "max-age"),
    ("5.2 max-age within a string", 200, 'Cache-Control: ext="max-age=100, a", max-age=1', 1, "max-age"),
    ("4.2.1 max-age twice, unlike: stale", 200, "Cache-Control: max-age=100, max-age=1", 0, "max-age"),
    ("4.2.2 a tenth of the time since", 200, "Last-Modified: {-1000}\nDate: {0}", 100, "heuristic"),
    ("4.2.2 at most a day", 200, "Last-Modified: {-86400000}\nDate: {0}", 86400, "heuristic"),
    ("4.2.2 measured from Date", 200, "Last-Modified: {-1000}\nDate: {-500}", 50, "heuristic"),
    ("4.2.2 modified after Date", 200, "Last-Modified: {10}\nDate: {0}", 0, "none"),
    ("4.2.2 bad Last-Modified", 200, "Last-Modified: long ago\nDate: {0}", 0, "none"),
    ("4.2.2 never beside Expires", 200, "Last-Modified: {-1000}\nExpires: 0\nDate: {0}", 0, "expires"),
    ("4.2.2 never beside max-age", 200, "Last-Modified: {-1000}\nCache-Control: max-age=0", 0, "max-age"),
    ("4.2.2 nothing to guess from", 200, 'ETag: "a"\nDate: {0}', 0, "none"),
    *[(f"9110 15.1 {status} by default", status, "Last-Modified: {-1000}\nDate: {0}", 100, "heuristic")
      for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)],
    *[(f"9110 15.1 {status} not by default", status, "Last-Modified: {-1000}\nDate: {0}", 0, "none")
      for status in (201, 202, 302, 303, 307, 400, 401, 403, 500, 502, 503, 504, 599)],
    ("4.2.2 Last-Modified in RFC 850 form", 200, "Last-Modified: Tuesday, 14-Nov-23 00:00:00 GMT\nDate: {0}", 8000, "heuristic"),
    ("4.2.2 public makes it guessable", 599, "Last-Modified: {-1000}\nDate: {0}\nCache-Control: public", 100, "heuristic"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text", "seconds", "source"), [pytest.param(*row, id=case) for case, *row in LIFETIMES]
)
def test_lifetime(status: int, text: str, seconds: float, source: str) -> None:
    fields = lines(at(text))
    found = lifetime(status, fields, DEFAULT.said(fields), received=NOW)
    assert (found.seconds, found.source) == (seconds, source)
    assert found.explicit == (source in ("s-maxage", "max-age", "expires"))


def test_a_guess_is_configured() -> None:
    fields = lines(at("Last-Modified: {-1000}\nDate: {0}"))
    said = DEFAULT.said(fields)
    assert lifetime(200, fields, said, received=NOW, heuristic=Heuristic(0.5, 300)).seconds == 300
    assert lifetime(200, fields, said, received=NOW, heuristic=Heuristic(0.1, 0)).source == "none"


@pytest.mark.parametrize(
    ("date", "age", "delay", "expected"),
    [
        pytest.param(0, 0, 0, 0, id="4.2.3 just made"),
        pytest.param(-7, 0, 0, 7, id="4.2.3 apparent age"),
        pytest.param(7, 0, 0, 0, id="4.2.3 a fast Date"),
        pytest.param(0, 30, 0, 30, id="4.2.3 Age"),
        pytest.param(0, 30, 2, 32, id="4.2.3 Age and delay"),
        pytest.param(0, 0, 2, 2, id="4.2.3 delay alone"),
        pytest.param(-40, 30, 2, 40, id="4.2.3 the larger"),
    ],
)
def test_initial_age(date: float, age: int, delay: float, expected: float) -> None:
    assert initial_age(NOW + date, age, received=NOW, delay=delay) == expected


@pytest.mark.parametrize(
    ("date", "later", "delay", "expected"),
    [
        pytest.param(0, 0.9, 0.0, 0, id="4.2.3 late in the second of its Date"),
        pytest.param(0, 0.9, 0.3, 0.3, id="4.2.3 and what the way took"),
        pytest.param(-1, 0.9, 0.3, 1, id="4.2.3 a second before"),
        pytest.param(-7, 0.5, 0.3, 7, id="4.2.3 apparent age in whole seconds"),
    ],
)
def test_within_a_second(date: float, later: float, delay: float, expected: float) -> None:
    assert initial_age(NOW + date, 0, received=NOW + later, delay=delay) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("Age: 0", 0),
        ("Age: 30", 30),
        ("Age: 0030", 30),
        ("Age: 30, 60", 30),
        ("Age: 30\nAge: 60", 30),
        ("Age: 2147483648", FOREVER),
        ("Age: 99999999999999999999999999", FOREVER),
        ("Age: -1", 0),
        ("Age: 1.5", 0),
        ("Age: a", 0),
        ("Age: 1a", 0),
        ('Age: "1"', 0),
        ("Age:", 0),
        ("Age: a, 7", 0),
    ],
    ids=lambda value: f"5.1 {value}" if isinstance(value, str) else "",
)
def test_age_value(text: str, expected: int) -> None:
    assert age_value(lines(text)) == expected


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),
        ("Sun Nov  6 08:49:37 1994", True),
        ("sun, 06 nov 1994 08:49:37 GMT", True),
        ("SUN, 06 NOV 1994 08:49:37 gmt", True),
        ("Sun, 06 Nov 1994 08:49:37 AEST", False),
        ("Sun, 06 Nov 1994 08:49:37 UTC", False),
        ("Sun, 06 Nov 1994 08:49:37 +0000", False),
        ("Sun, 06 Nov 94 08:49:37 GMT", False),
        ("Sun 06 Nov 1994 08:49:37 GMT", False),
        ("Sun, 06-Nov-1994 08:49:37 GMT", False),
        ("Sun, 06 Nov 1994 8:49:37 GMT", False),
        ("0", False),
    ],
)
def test_dates_of_4_2(text: str, valid: bool) -> None:
    assert (parse_date(text.encode(), NOW) == 784111777) is valid
