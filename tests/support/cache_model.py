"""A shared cache as the text has it: slow, obvious, and without a line of the edge's own code.

It remembers all that the origin ever said, and tells of each of these responses whether it may answer a request, and
whether it must. § are RFC 9111's where nothing else is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Final

Fields = dict[str, str]

GUESSED: Final = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}
"""RFC 9110 §15.1: cacheable by default."""
_LISTS: Final = {"accept-language", "accept-encoding"}


def directives(text: str | None) -> list[tuple[str, str | None]]:
    """§5.2: names in lower case, arguments without their quotes; commas within quotes separate nothing."""
    found: list[tuple[str, str | None]] = []
    for part in re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+', text or ""):
        name, equals, argument = part.strip().partition("=")
        if name:
            found.append((name.lower(), argument.strip('"') if equals else None))
    return found


def has(text: str | None, *names: str) -> bool:
    """§5.2: a directive without an argument, or with one that means nothing."""
    return any(name in names for name, argument in directives(text) if argument is None or name not in _NAMING)


_NAMING: Final = {"no-cache", "private"}


def named(text: str | None) -> set[str]:
    """§5.2.2.4, §5.2.2.7: fields that no-cache="..." and private="..." name."""
    found: set[str] = set()
    for name, argument in directives(text):
        if name in _NAMING and argument is not None:
            found |= {field.strip().lower() for field in argument.split(",")}
    return found


def seconds(text: str | None, name: str) -> list[int | None]:
    """§1.2.2: of each occurrence; None is no number."""
    return [
        int(argument) if argument is not None and re.fullmatch("[0-9]+", argument) else None
        for key, argument in directives(text)
        if key == name
    ]


def number(text: str | None, name: str) -> int | None:
    """Of one that occurs once, or the same each time."""
    values = set(seconds(text, name))
    return values.pop() if len(values) == 1 else None


def date(value: str | None) -> float | None:
    """RFC 9110 §5.6.7; the model's origin writes one form."""
    if value is None or re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", value) is None:
        return None
    return parsedate_to_datetime(value).timestamp()


@dataclass(frozen=True)
class Known:
    """One response of the origin, or an older one with the head that a later one brought."""

    serial: int
    """Of the response whose head it is, in the order they came."""
    target: str
    method: str
    asked: Fields
    status: int
    fields: Fields
    content: bytes
    """The whole representation, even where a part was sent."""
    sent: tuple[int, int]
    """First byte, and one behind the last byte, of what came of it."""
    whole: bool
    """It came to its end."""
    requested: float
    received: float
    first_hand: bool = True
    """Not made of two."""

    @property
    def targeted(self) -> str | None:
        """RFC 9213 §2.1: what can be parsed, and is not empty; the model's origin writes but one that cannot."""
        value = self.fields.get("cdn-cache-control")
        return None if not value or value.endswith("=") else value

    @property
    def control(self) -> str | None:
        """RFC 9213 §2.2: the targeted field alone, where there is one."""
        return self.targeted or self.fields.get("cache-control")

    @property
    def expires(self) -> str | None:
        """§5.3; RFC 9213 §2.2: not beside a targeted field."""
        return None if self.targeted else self.fields.get("expires")

    @property
    def date(self) -> float:
        at = date(self.fields["date"])
        return self.received if at is None else at

    @property
    def is_part(self) -> bool:
        return self.status == 206

    def age(self, now: float) -> float:
        """§4.2.3."""
        value = self.fields.get("age", "").partition(",")[0].strip()  # §5.1: of several the first
        age_value = int(value) if re.fullmatch("[0-9]+", value) else 0
        apparent_age = max(0.0, self.received - self.date)
        response_delay = self.received - self.requested
        corrected_age_value = age_value + response_delay
        corrected_initial_age = max(apparent_age, corrected_age_value)
        resident_time = now - self.received
        return corrected_initial_age + resident_time

    @property
    def rank(self) -> tuple[float, float]:
        """§4.1: of several that match the most recent is used, by Date; of one second, the one made last."""
        return self.date, self.received - self.age(self.received)

    def lifetime(self) -> tuple[float, float]:
        """§4.2.1: seconds that it is surely fresh for, and seconds that it may be called fresh for at most."""
        for name in ("s-maxage", "max-age"):
            values = seconds(self.control, name)
            if values:
                # §4.2.1: of several that differ the first, or stale; §4.2.1: what is invalid is stale
                most = values[0] or 0
                return (most if len(set(values)) == 1 else 0), most
        if self.expires is not None:
            expires = date(self.expires)  # §5.3: what is no date is in the past
            told = 0.0 if expires is None else max(0.0, expires - self.date)
            return told, told
        modified = date(self.fields.get("last-modified"))
        if (self.status in GUESSED or has(self.control, "public")) and modified is not None and modified < self.date:
            guess = min((self.date - modified) / 10, 86400.0)  # §4.2.2, and our tenth of it, a day at most
            return guess, guess
        return 0.0, 0.0

    @property
    def explicit(self) -> bool:
        return bool(seconds(self.control, "s-maxage") or seconds(self.control, "max-age")) or self.expires is not None

    @property
    def shared(self) -> bool:
        """It says that who shares a cache may share it."""
        return has(self.control, "public", "s-maxage") or self.targeted is not None

    def must_not_be_stored(self) -> str:
        """§3: why not, by a shared cache. Empty: it may be."""
        control = self.control
        if self.method not in ("GET", "POST"):
            return "the method"
        if self.method == "POST" and not (
            self.explicit and self.fields.get("content-location") == self.target and self.status == 200
        ):
            return "RFC 9110 §9.3.3: a POST's own URL, and explicit freshness"
        if self.status < 200 or self.status in (304, 412, 416):
            return "it is no answer for the URL"
        if not self.whole:
            return "§3.3: it is incomplete"
        if has(self.asked.get("cache-control"), "no-store"):
            return "§5.2.1.5"
        if has(control, "must-understand"):
            if self.status not in GUESSED | {302, 303, 307, 400, 403, 409, 429, 500, 502, 503, 504}:
                return "§5.2.2.3"
        elif has(control, "no-store"):
            return "§5.2.2.5"
        if has(control, "private"):
            return "§5.2.2.7"
        if "authorization" in self.asked and not has(control, "public", "must-revalidate", "s-maxage"):
            return "§3.5"
        if not (self.explicit or has(control, "public") or self.status in GUESSED):
            return "§3: neither explicit freshness nor a status that is cacheable by default"
        guessed = not self.explicit and not has(control, "public") and self.lifetime()[1] > 0
        if guessed and "cookie" in self.asked and "cookie" not in self.varies:
            return "decision 022: no guess for cookies"
        if "set-cookie" in self.fields and not self.shared and not {"set-cookie"} & named(control):
            return "docs/caching.md: Set-Cookie is shared where sharing is explicit"
        return ""

    @property
    def varies(self) -> list[str]:
        return sorted({name.strip().lower() for name in self.fields.get("vary", "").split(",") if name.strip()})

    def must_be_stored(self) -> bool:
        """By a good cache: nothing about it is in doubt."""
        return (
            self.method == "GET"
            and self.status in (200, 203, 301, 404, 410)
            and not self.must_not_be_stored()
            and not has(self.control, "no-cache", "no-store", "must-understand")
            and self.explicit
            and not {"authorization", "range", "if-match", "if-unmodified-since"} & self.asked.keys()
            and self.lifetime()[0] > self.age(self.received)
            and "*" not in self.varies
        )

    def matches(self, asked: Fields, *, exactly: bool = False) -> bool:
        """§4.1: each field that Vary names is there or not alike, with the same meaning. `exactly`: byte by byte."""
        if "*" in self.varies:
            return False
        return all(
            meaning(name, self.asked.get(name), exactly) == meaning(name, asked.get(name), exactly)
            for name in self.varies
        )

    def may_be_stale(self) -> bool:
        """§4.2.4: no directive forbids it; §5.2.2.10: s-maxage means proxy-revalidate, too."""
        return not has(self.control, "must-revalidate", "proxy-revalidate", "no-cache", "s-maxage")

    def why_not(self, asked: Fields, now: float) -> str:
        """§4: what forbids that it answers without the origin being asked. Empty: nothing."""
        wanted = asked.get("cache-control")
        if why := self.must_not_be_stored():
            return why
        if not self.matches(asked):
            return "§4.1 Vary"
        if has(self.control, "no-cache"):
            return "§5.2.2.4 no-cache"
        if has(wanted, "no-cache") or (wanted is None and has(asked.get("pragma"), "no-cache")):
            return "§5.2.1.4, §5.4: the request's no-cache"
        age, fresh_for = self.age(now), self.lifetime()[1]
        longest, fresher, staler = number(wanted, "max-age"), number(wanted, "min-fresh"), seconds(wanted, "max-stale")
        unchanging = has(self.control, "immutable") and age < fresh_for  # RFC 8246 §2, and docs/caching.md
        if longest is not None and age > longest and not unchanging:
            return "§5.2.1.1: the request's max-age"
        if fresher is not None and fresh_for - age < fresher:
            return "§5.2.1.3: min-fresh"
        if age < fresh_for:
            return ""
        if not self.may_be_stale():
            return "§4.2.4: stale, and forbidden"
        if staler and (staler[0] is None or age - fresh_for <= staler[0]):
            return ""  # §5.2.1.2
        window = number(self.control, "stale-while-revalidate")
        if window is not None and age - fresh_for < window:
            return ""  # RFC 5861 §3
        return "§4.2: stale"

    def why_not_instead_of_failure(self, asked: Fields, now: float, *, answered: bool) -> str:
        """§4.2.4, RFC 5861 §4: what forbids that it answers because the origin failed. `answered`: by an error."""
        wanted = asked.get("cache-control")
        if why := self.must_not_be_stored():
            return why
        if not self.matches(asked):
            return "§4.1 Vary"
        if not self.may_be_stale():
            return "§4.2.4: stale, and forbidden"
        if has(wanted, "no-cache") or (wanted is None and has(asked.get("pragma"), "no-cache")):
            return "§5.2.1.4, §5.4: the request's no-cache"
        stale = self.age(now) - self.lifetime()[1]
        window = number(self.control, "stale-if-error")
        if window is None:
            window = number(wanted, "stale-if-error")
        if window is None:
            window = 0 if answered else 86400  # --cache-stale-if-unreachable
        return "" if stale <= window else "RFC 5861 §4: too stale"

    def updated(self, by: Known) -> Known:
        """§3.2: with the fields of a 304, or of a response to HEAD. Its content stays, and what tells of it."""
        kept = {name: value for name, value in by.fields.items() if name not in _CONTENT}
        # §4.2.3: Age is of the message that brought it
        gone = {"age"} | named(self.control)  # §5.2.2.7: these were never stored
        stays = {name: value for name, value in self.fields.items() if name not in gone}
        return replace(
            self,
            serial=by.serial,
            fields={**stays, **kept},
            asked=by.asked,
            requested=by.requested,
            received=by.received,
            first_hand=False,
        )


_CONTENT: Final = {"content-length", "content-encoding", "content-range", "content-type"}


def meaning(name: str, value: str | None, exactly: bool) -> object:
    """§4.1: blanks, and the order where it says nothing, may be left out of the comparison."""
    if value is None or exactly:
        return value
    members = [re.sub(r"\s", "", member).lower() for member in value.split(",")]
    return sorted(members) if name in _LISTS else members


def tag_matches(listed: str, tag: str | None, *, weakly: bool) -> bool:
    """RFC 9110 §8.8.3.2, §13.1.1, §13.1.2."""
    if listed.strip() == "*":
        return True
    if tag is None:
        return False
    found = re.findall(r'(?:W/)?"[^"]*"', listed)
    if weakly:
        return tag.removeprefix("W/") in [one.removeprefix("W/") for one in found]
    return tag in found and not tag.startswith("W/")


def condition(asked: Fields, fields: Fields, method: str) -> int | None:
    """RFC 9110 §13.2.2: 304 or 412 instead of a 2xx, else None."""
    etag, modified = fields.get("etag"), date(fields.get("last-modified"))
    if "if-match" in asked:
        if not tag_matches(asked["if-match"], etag, weakly=False):
            return 412
    elif (since := date(asked.get("if-unmodified-since"))) is not None and modified is not None and modified > since:
        return 412
    if "if-none-match" in asked:
        if tag_matches(asked["if-none-match"], etag, weakly=True):
            return 304 if method in ("GET", "HEAD") else 412
    elif (since := date(asked.get("if-modified-since"))) is not None:
        return 304 if modified is not None and modified <= since and method in ("GET", "HEAD") else None
    return None


def part(asked: Fields, known_etag: str | None, size: int) -> tuple[int, int] | str | None:
    """RFC 9110 §14.1.2 for one range: first and one behind the last byte; None: all is sent; "416"."""
    match = re.fullmatch(r"bytes=(?:(\d+)-(\d*)|-(\d+))", asked.get("range", ""))
    if match is None:
        return None
    if "if-range" in asked and not tag_matches(asked["if-range"], known_etag, weakly=False):
        return None
    first, last, suffix = match.groups()
    start, stop = (max(0, size - int(suffix)), size) if suffix else (int(first), min(size, int(last or size) + 1))
    return (start, stop) if start < stop else "416"
