"""The origin of the cache cases: it does what the case says, and remembers what it was asked and what it said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from tests.support.strict_origin import Line, Received

Definition = dict[str, Any]
"""One request of a case, with what is answered to it."""
Header = tuple[str, str]
_DATES = frozenset({"date", "expires", "last-modified", "if-modified-since", "if-unmodified-since", "if-range"})
_LOCATIONS = frozenset({"location", "content-location"})
_RFC850 = "%A, %d-%b-%y %H:%M:%S GMT"


def resolved(name: str, value: str | int, definition: Definition, *, now: int, base: str) -> str:
    """A value as it is sent: a number of seconds is a date so far from `now` (in ms), a magic location is behind `base`."""
    if isinstance(value, int) and name.lower() in _DATES:
        if name.lower() in map(str.lower, definition.get("rfc850date", [])):
            return time.strftime(_RFC850, time.gmtime(now // 1000 + value))
        return formatdate(now // 1000 + value, usegmt=True)
    if definition.get("magic_locations") and name.lower() in _LOCATIONS:
        return f"{base}/{value}" if value else base
    return str(value)


@dataclass
class Logged:
    """One request as it came to the origin."""

    number: int
    method: str
    headers: Mapping[str, str]
    """What was asked with, several lines joined."""
    said: Mapping[str, str]
    """Response fields that must reach the client unchanged."""


@dataclass
class Play:
    """One run of one case: what is to be answered, and what happened."""

    requests: list[Definition]
    content: str
    seen: int = 0
    numbers: list[int] = field(default_factory=list)
    log: list[Logged] = field(default_factory=list)
    sent: dict[int, dict[str, str]] = field(default_factory=dict)
    """All fields of each response, by the request's number: what a validator is compared with."""


def joined(lines: list[Header]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in lines:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class CacheOrigin:
    """Answers of a `StrictOrigin`, for all plays at once, by the identifier in the path."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.unknown: list[bytes] = []

    async def answer(self, request: Received, line: Line) -> bool:
        target = request.target.decode("latin-1")
        play = self.plays.get(target.partition("?")[0].split("/")[2] if target.startswith("/test/") else "")
        if play is None:
            self.unknown.append(request.raw)
            line.writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        asked = joined([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.fields])
        play.seen += 1
        number = int(asked.get("req-num", play.seen))
        play.numbers.append(number)
        definition = play.requests[number - 1]
        if pause := definition.get("response_pause"):
            await asyncio.sleep(pause)
        for status, *named in definition.get("interim_responses", []):
            lines = "".join(f"{name}: {value}\r\n" for name, value in (named[0] if named else []))
            line.writer.write(f"HTTP/1.1 {status} Interim\r\n{lines}\r\n".encode("latin-1"))

        now = time.time_ns() // 1_000_000
        status, phrase = self._status(play, number, asked)
        headers: list[Header] = [
            ("Server-Base-Url", target),
            ("Server-Request-Count", str(play.seen)),
            ("Client-Request-Count", str(number)),
            ("Server-Now", str(now)),
        ]
        kept: list[Header] = []
        for name, value, *checked in definition.get("response_headers", []):
            headers.append((name, resolved(name, value, definition, now=now, base=target)))
            if not checked or checked[0]:
                kept.append(headers[-1])
        names = {name.lower() for name, _ in headers}
        if "content-type" not in names:
            headers.append(("Content-Type", "text/plain"))
        if "date" not in names:
            headers.append(("Date", formatdate(now // 1000, usegmt=True)))
        headers.append(("Request-Numbers", " ".join(map(str, play.numbers))))
        play.sent[number] = joined(headers)
        play.log.append(Logged(number, request.method.decode("ascii"), asked, joined(kept)))
        if definition.get("disconnect"):
            return False
        content = definition.get("response_body")
        body = (play.content if content is None else content).encode("latin-1")
        return await self._send(line, request.method, status, phrase, headers, body, definition)

    def _status(self, play: Play, number: int, asked: Mapping[str, str]) -> tuple[int, str]:
        definition = play.requests[number - 1]
        if not definition.get("expected_type", "").endswith("validated"):
            status, phrase = definition.get("response_status", (200, "OK"))
            return int(status), str(phrase)
        before = play.sent.get(number - 1)
        if before is None:  # never served: its literal values
            before = joined([(name, str(value)) for name, value, *_ in play.requests[number - 2]["response_headers"]])
        for condition, validator in (("if-modified-since", "last-modified"), ("if-none-match", "etag")):
            if condition in asked and asked[condition] == before.get(validator):
                return 304, "Not Modified"
        return 999, "should have been conditional"

    async def _send(
        self, line: Line, method: bytes, status: int, phrase: str, headers: list[Header], body: bytes, play: Definition
    ) -> bool:
        """As HTTP/1.1 frames it. A length that the case gives holds: the content is cut to it, or filled up."""
        named = joined(headers)
        goes_on = True
        if status in (204, 304):
            body = b""
        elif "transfer-encoding" in named:
            goes_on = False  # RFC 9112 §6.3: nobody knows this coding, so that the content ends with the connection
        elif "content-length" in named:
            body = body[: int(named["content-length"])].ljust(int(named["content-length"]), b".")
        else:
            headers = [*headers, ("Content-Length", str(len(body)))]
        if method == b"HEAD":
            body = b""
        head = f"HTTP/1.1 {status} {phrase}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        data = head.encode("latin-1") + b"\r\n" + body
        if (cut := play.get("response_cut")) is not None:
            data, goes_on = data[: len(data) - int(cut)], False
        line.writer.write(data)
        return goes_on and "close" not in named.get("connection", "").lower().split(",")
