from __future__ import annotations

import calendar
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.dates import http_date, parse_http_date

THE_DATE = 784111777.0  # the example of RFC 9110 §5.6.7
NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def unix(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return float(calendar.timegm((year, month, day, hour, minute, second)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT", THE_DATE, id="9110-5.6.7-imf-fixdate"),
        pytest.param(b"Sunday, 06-Nov-94 08:49:37 GMT", THE_DATE, id="9110-5.6.7-rfc850"),
        pytest.param(b"Sun Nov  6 08:49:37 1994", THE_DATE, id="9110-5.6.7-asctime"),
        pytest.param(b"Wed Nov 16 08:49:37 1994", THE_DATE + 10 * 86400, id="9110-5.6.7-asctime-two-digit-day"),
        pytest.param(b"Thu, 29 Feb 2024 00:00:00 GMT", unix(2024, 2, 29), id="9110-5.6.7-leap-day"),
        pytest.param(b"Sat, 31 Dec 2016 23:59:60 GMT", unix(2017, 1, 1), id="9110-5.6.7-leap-second"),
        pytest.param(b"Mon, 06 Nov 1994 08:49:37 GMT", THE_DATE, id="9110-5.6.7-robust-wrong-weekday"),
        pytest.param(b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="epoch"),
        pytest.param(b"Wed, 31 Dec 1969 23:59:59 GMT", -1.0, id="before-epoch"),
        pytest.param(b"Fri, 31 Dec 9999 23:59:59 GMT", unix(9999, 12, 31, 23, 59, 59), id="last"),
        pytest.param(b"Thu, 30 Feb 2024 00:00:00 GMT", None, id="no-such-day"),
        pytest.param(b"Fri, 01 Jan 0000 00:00:00 GMT", None, id="year-0"),
        pytest.param(b"Sun, 06 Nov 1994 24:00:00 GMT", None, id="hour-24"),
        pytest.param(b"Sun, 06 Nov 1994 08:60:37 GMT", None, id="minute-60"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:61 GMT", None, id="second-61"),
        pytest.param(b"sun, 06 nov 1994 08:49:37 gmt", None, id="9110-5.6.7-case-sensitive"),
        pytest.param(b"Sun, 6 Nov 1994 08:49:37 GMT", None, id="one-digit-day"),
        pytest.param(b"Sun,  06 Nov 1994 08:49:37 GMT", None, id="9110-5.6.7-no-extra-space"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 UTC", None, id="9110-5.6.7-only-gmt"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 +0000", None, id="numeric-zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT\n", None, id="trailing-newline"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None, id="two-dates"),
        pytest.param(b"0", None, id="9111-5.3-zero"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_parse(value: bytes, expected: float | None) -> None:
    assert parse_http_date(value, NOW) == expected


@pytest.mark.parametrize(
    ("two_digits", "now", "year"),
    [
        pytest.param(94, unix(2023, 11, 14), 1994, id="9110-5.6.7-past"),
        pytest.param(23, unix(2023, 11, 14), 2023, id="9110-5.6.7-this-year"),
        pytest.param(72, unix(2023, 11, 14), 2072, id="9110-5.6.7-within-50-years"),
        pytest.param(73, unix(2023, 11, 14), 2073, id="9110-5.6.7-50-years-less-some-days"),
        pytest.param(73, unix(2023, 11, 1), 1973, id="9110-5.6.7-50-years-and-some-days"),
        pytest.param(74, unix(2023, 11, 14), 1974, id="9110-5.6.7-over-50-years"),
        pytest.param(5, unix(2090, 1, 1), 2105, id="9110-5.6.7-next-century"),
        pytest.param(99, unix(2000, 1, 1), 1999, id="9110-5.6.7-last-century"),
    ],
)
def test_century_of_rfc850(two_digits: int, now: float, year: int) -> None:
    value = b"Sunday, 06-Nov-%02d 08:49:37 GMT" % two_digits
    assert parse_http_date(value, now) == unix(year, 11, 6, 8, 49, 37)


def test_century_of_an_impossible_leap_day() -> None:
    assert parse_http_date(b"Thursday, 29-Feb-01 00:00:00 GMT", NOW) is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param(THE_DATE, b"Sun, 06 Nov 1994 08:49:37 GMT", id="9110-5.6.7-example"),
        pytest.param(THE_DATE + 0.999, b"Sun, 06 Nov 1994 08:49:37 GMT", id="cut-not-rounded"),
        pytest.param(-5.0, b"Thu, 01 Jan 1970 00:00:00 GMT", id="before-epoch"),
        pytest.param(1e18, b"Fri, 31 Dec 9999 23:59:59 GMT", id="far-future"),
        pytest.param(float("inf"), b"Fri, 31 Dec 9999 23:59:59 GMT", id="infinity"),
    ],
)
def test_format(at: float, expected: bytes) -> None:
    assert http_date(at) == expected


@given(st.integers(0, 253_402_300_799))
def test_round_trip(at: int) -> None:
    assert http_date(at) == formatdate(at, usegmt=True).encode()
    assert parse_http_date(http_date(at), NOW) == at


@given(st.binary(max_size=40), st.floats(allow_nan=False))
def test_never_raises(value: bytes, now: float) -> None:
    parse_http_date(value, now)


@given(
    st.from_regex(rb"\A(Sun|Mon)day, \d\d-(Jan|Feb)-\d\d \d\d:\d\d:\d\d GMT\Z", fullmatch=True),
    st.floats(-1e12, 1e12),
)
def test_rfc850_is_never_over_50_years_ahead(value: bytes, now: float) -> None:
    found = parse_http_date(value, now)
    assert found is None or found <= max(now, 0) + 51 * 366 * 86400
