"""HTTP dates (RFC 9110 §5.6.7): written as IMF-fixdate, read in all three forms."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBER: Final = {name: number for number, name in enumerate(_MONTHS, 1)}
_LAST: Final = 253_402_300_799
"""The last second of the year 9999: the form has four digits for the year."""

_FIXED: Final = len("Sun, 06 Nov 1994 08:49:37 GMT")

_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_IMF_FIXDATE = re.compile(_DAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" GMT")
_RFC_850 = re.compile(_LONG_DAY + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" GMT")
_ASCTIME = re.compile(_DAY + rb" " + _MONTH + rb" (?P<day>\d\d| \d) " + _TIME + rb" (?P<year>\d{4})")


def http_date(unix: float) -> bytes:
    """Unix seconds as IMF-fixdate, cut to the second; what lies outside 1970 to 9999 is moved to its end."""
    at = _datetime(unix)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[at.weekday()],
        at.day,
        _MONTHS[at.month - 1],
        at.year,
        at.hour,
        at.minute,
        at.second,
    )


def parse_http_date(value: bytes, now: float) -> float | None:
    """Unix seconds, or None for what is no HTTP date. `now` (Unix seconds) settles the century of an RFC 850 date.

    Case and spacing are exact. The day of the week must be one, but need not be the right one: the RFC asks for
    robustness here, and no decision rests on it.
    """
    if len(value) == _FIXED:
        at = _read_fixed(value)
        if at is not None:
            return at
    match = _ASCTIME.fullmatch(value)
    if match is not None:
        return _seconds(match, int(match["year"]))
    match = _RFC_850.fullmatch(value)
    if match is None:
        return None
    # RFC 9110 §5.6.7: the two digits mean the latest such year that is not more than 50 years ahead
    limit = _datetime(now)
    year = limit.year + 50 - (limit.year + 50 - int(match["year"])) % 100
    found = (
        year - 50,
        _MONTH_NUMBER[match["month"]],
        *(int(match[part]) for part in ("day", "hour", "minute", "second")),
    )
    if found > limit.timetuple()[:6]:
        year -= 100
    return _seconds(match, year)


@lru_cache(512)
def _read_fixed(value: bytes) -> float | None:
    """IMF-fixdate. Date is the same for a second, Last-Modified and Expires for many responses."""
    match = _IMF_FIXDATE.fullmatch(value)
    return None if match is None else _seconds(match, int(match["year"]))


def _datetime(unix: float) -> datetime:
    return _EPOCH + timedelta(seconds=int(min(max(unix, 0), _LAST)))


def _seconds(match: re.Match[bytes], year: int) -> float | None:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    # second 60 is a leap second, counted as the first second of what follows
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        day = date(year, _MONTH_NUMBER[match["month"]], int(match["day"]))
    except ValueError:
        return None
    return float((day.toordinal() - _EPOCH_DAY) * 86400 + hour * 3600 + minute * 60 + second)
