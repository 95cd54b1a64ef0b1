"""How long a response stays fresh, and how old it was when it came (RFC 9111 §4.2). Seconds throughout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from cdn_edge.rules.directives import Said
from stack.http.cache_control import FOREVER
from stack.http.dates import parse_http_date
from stack.http.message import Fields, combined, get

_NEGATIVE: Final = frozenset({404, 405, 410, 414, 501})
HEURISTIC_STATUS: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 §15.1: cacheable by default, so that a lifetime may be guessed."""
_AGE: Final = re.compile(rb"[0-9]+")


@dataclass(frozen=True, slots=True)
class Heuristic:
    """How a lifetime is guessed where the origin says none (§4.2.2): a share of the time since Last-Modified.

    What was asked for with a cookie is not stored on such a guess: see `storing.NotStored.COOKIE`.
    """

    fraction: float = 0.1
    most: float = 86_400.0
    """0 never guesses."""
    negative: float = 0.0
    """Seconds for a 404, 405, 410, 414 or 501 that has not even Last-Modified; 0 guesses none."""


@dataclass(slots=True)
class Lifetime:
    seconds: float
    source: Literal["s-maxage", "max-age", "expires", "heuristic", "negative", "none"]
    field: bytes = b""
    """The field that says so, or that it is guessed from, in lower case."""

    @property
    def explicit(self) -> bool:
        return self.source in ("s-maxage", "max-age", "expires")

    @property
    def guessed(self) -> bool:
        return self.source in ("heuristic", "negative")


def lifetime(
    status: int, fields: Fields, said: Said, *, received: float, heuristic: Heuristic = Heuristic()
) -> Lifetime:
    """§4.2.1, in its order, as a shared cache. `received` is Unix seconds, for a Date that cannot be read."""
    cc = said.cc
    if cc.s_maxage is not None:
        return Lifetime(cc.s_maxage, "s-maxage", said.field)
    if cc.max_age is not None:
        return Lifetime(cc.max_age, "max-age", said.field)
    date = date_value(fields, received)
    expires = None if said.targeted else combined(fields, b"expires")  # RFC 9213 §2.2
    if expires is not None:
        # §5.3: what is no date, `0` above all, is in the past; so are two lines, which make no date together
        at = parse_date(expires, received)
        return Lifetime(0.0 if at is None else max(0.0, at - date), "expires", b"expires")
    # §4.2.2: never where a lifetime is explicit; else by the status, or where the response says that it is public
    if heuristic.most > 0 and (status in HEURISTIC_STATUS or cc.public):
        modified = get(fields, b"last-modified")
        at = None if modified is None else parse_date(modified, received)
        if at is not None and at < date:
            return Lifetime(min(heuristic.fraction * (date - at), heuristic.most), "heuristic", b"last-modified")
    if heuristic.negative > 0 and status in _NEGATIVE and get(fields, b"last-modified") is None:
        return Lifetime(heuristic.negative, "negative")
    return Lifetime(0.0, "none")


def initial_age(date: float, age: int, *, received: float, delay: float) -> float:
    """corrected_initial_age of §4.2.3.

    `date` and `received`, the time the response came, are Unix seconds; `age` is its Age, `delay` its fetch's time.
    Date has whole seconds, and so is compared by whole seconds: else what is made late in a second, and may be reused
    for one, would be old when it comes. What the way took is in `delay`.
    """
    return max(0.0, float(int(received)) - date, age + delay)


def age_value(fields: Fields) -> int:
    """§5.1: of several the first; what is no number is ignored; more than FOREVER is FOREVER (§1.2.2)."""
    value = get(fields, b"age")
    if value is None:
        return 0
    first = value.partition(b",")[0].strip(b" \t")
    if _AGE.fullmatch(first) is None:
        return 0
    digits = first.lstrip(b"0")
    return FOREVER if len(digits) > 10 else min(int(digits or b"0"), FOREVER)


def date_value(fields: Fields, received: float) -> float:
    value = get(fields, b"date")
    at = None if value is None else parse_date(value, received)
    return received if at is None else at


def parse_date(value: bytes, now: float) -> float | None:
    """§4.2: a cache reads dates without regard to case; a zone other than GMT makes none."""
    at = parse_http_date(value, now)
    if at is None:
        titled = value.title()
        at = parse_http_date(titled[:-3] + b"GMT" if titled.endswith(b" Gmt") else titled, now)
    return at
