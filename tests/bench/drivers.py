"""What drives a server: wrk for HTTP/1.1, h2load for HTTP/2, openssl for handshakes, dnsperf; and what they said."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.bench.warm import HOST

LUA = Path(__file__).with_name("varied.lua")
_RUN = 10_000_000
"""More requests than one run makes."""
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"


@dataclass(frozen=True, slots=True)
class Driven:
    """One run: answers counted, and what was wrong, empty where nothing was."""

    requests: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Wrk:
    """Keep-alive connections, or with `close` a new one for each request, which over TLS resumes a session.

    `order`: one page after the other, the popular ones most (Zipf), or `new`: in no run one that was asked for before.
    """

    connections: int = 64
    pages: int = 100
    close: bool = False
    order: Literal["turn", "zipf", "uniform", "new"] = "turn"
    _first: Iterator[int] = field(default_factory=lambda: itertools.count(_RUN, _RUN), repr=False, compare=False)

    def drive(self, url: str, seconds: int) -> Driven:
        header = ["-H", "Connection: close"] if self.close else []
        argv = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "5s", *header]
        environ = {"PAGES": str(self.pages), "ORDER": self.order, "FIRST": str(next(self._first))}
        return wrk_said(_run([*argv, "-s", str(LUA), url], seconds, environ))


@dataclass(frozen=True, slots=True)
class EachItsOwn:
    """`Wrk` for as many pages as each URL says: `/page-of-10000-`."""

    order: Literal["zipf", "uniform"]

    def drive(self, url: str, seconds: int) -> Driven:
        return Wrk(pages=int(url.split("-")[-2]), order=self.order).drive(url, seconds)


@dataclass(frozen=True, slots=True)
class H2load:
    """Connections with `streams` requests in flight on each, over TLS with ALPN h2. The popular pages most (Zipf)."""

    connections: int = 16
    streams: int = 8
    pages: int = 100

    def drive(self, url: str, seconds: int) -> Driven:
        fields = (
            f":authority: {HOST}",
            f"user-agent: {_AGENT}",
            "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "accept-language: en-GB,en;q=0.7",
            "accept-encoding: gzip, br",
        )
        argv = ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{seconds}", "--warm-up-time=0"]
        argv += [word for field in fields for word in ("-H", field)]
        with tempfile.NamedTemporaryFile("w", suffix=".urls") as urls:
            urls.writelines(f"{url}{page}\n" for page in zipf(self.pages))
            urls.flush()
            return h2load_said(_run([*argv, "-i", urls.name], seconds))


@dataclass(frozen=True, slots=True)
class Handshakes:
    """One full TLS handshake after the other, and no request."""

    def drive(self, url: str, seconds: int) -> Driven:
        where = urlsplit(url).netloc
        return openssl_said(_run(["openssl", "s_time", "-new", "-time", str(seconds), "-connect", where], seconds))


@dataclass(frozen=True, slots=True)
class Dnsperf:
    """Questions of the file that the URL's path names, one after the other, at most `asked` without their answers."""

    clients: int = 8
    asked: int = 100
    tcp: bool = False

    def drive(self, url: str, seconds: int) -> Driven:
        place = urlsplit(url)
        argv = ["dnsperf", "-s", str(place.hostname), "-p", str(place.port), "-d", place.path, "-l", str(seconds)]
        argv += [
            "-T",
            "1",
            "-c",
            str(self.clients),
            "-q",
            str(self.asked),
            "-t",
            "2",
            *(("-m", "tcp") if self.tcp else ()),
        ]
        return dnsperf_said(_run(argv, seconds))


def zipf(pages: int, draws: int = 20_000) -> list[int]:
    """Numbers of pages: page r - 1 comes 1/r as often as page 0. The same ones every time."""
    return random.Random(1).choices(range(pages), [1 / rank for rank in range(1, pages + 1)], k=draws)


def wrk_said(text: str) -> Driven:
    """`36912 requests in 3.10s`; complaints are on lines of their own."""
    found = re.search(r"(\d+) requests in", text)
    if found is None:
        return Driven(0, f"wrk said: {_first_line(text)}")
    complaint = re.search(r"(Non-2xx.*|Socket errors.*)", text)
    return Driven(int(found[1]), complaint[1].strip() if complaint else "")


def h2load_said(text: str) -> Driven:
    """`requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, ...` and the count of each class of status."""
    found = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if found is None:
        return Driven(0, f"h2load said: {_first_line(text)}")
    if "Application protocol: h2" not in text:
        return Driven(0, "h2 was not negotiated")
    wrong = sum(map(int, found.groups()[1:]))
    statuses = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    wrong += sum(map(int, statuses.groups())) if statuses else 0
    return Driven(int(found[1]), f"{wrong} requests failed" if wrong else "")


def openssl_said(text: str) -> Driven:
    """`913 connections in 3 real seconds`; what failed is a line with `error`."""
    found = re.search(r"(\d+) connections in \d+ real seconds", text)
    complaint = re.search(r".*(?:error|ERROR).*", text)
    if found is None:
        return Driven(0, f"openssl said: {complaint[0] if complaint else _first_line(text)}")
    return Driven(int(found[1]), complaint[0] if complaint else "")


def dnsperf_said(text: str) -> Driven:
    """`Queries completed:    912 (100.00%)`, as many lost, and how many had each rcode."""
    found = re.search(r"Queries completed: +(\d+)", text)
    if found is None:
        return Driven(0, f"dnsperf said: {_first_line(text)}")
    lost = re.search(r"Queries lost: +([1-9]\d*)", text)
    codes = re.search(r"Response codes: +(.*)", text)
    wrong = [code for code in re.findall(r"[A-Z]+", codes[1] if codes else "") if code not in ("NOERROR", "NXDOMAIN")]
    faults = [f"{lost[1]} queries lost" if lost else "", f"answered {', '.join(wrong)}" if wrong else ""]
    return Driven(int(found[1]), "; ".join(filter(None, faults)))


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].strip() if lines else "nothing"


def _run(argv: list[str], seconds: int, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds + 60,
        env={**os.environ, **(environ or {})},
    )
    return done.stdout
