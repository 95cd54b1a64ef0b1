"""The cache cases: what a client asks one after the other, what the origin answers, and what the cache between may do.

tests/conformance/data/cache/README.md has the form of the data; `verdict` reads it strictly.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.cache_client import Answer, Client, Header, NetworkFailure
from tests.support.cache_origin import CacheOrigin, Definition, Play, resolved

Case = dict[str, Any]
ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "conformance" / "data" / "cache"
PAUSE = 3.0
PATIENCE = 10.0
"""Seconds for one response."""
LATE = 0.7
"""Seconds by which a case may take longer than its pauses; beyond, a lifetime of 2 s may have passed by itself."""

_SHAPE: tuple[Header, ...] = (
    ("Accept", "*/*"),
    ("Accept-Language", "*"),
    ("Accept-Encoding", "gzip, deflate"),
    ("User-Agent", "cache-cases"),
)


@cache
def cases(name: str = "cases.json") -> list[Case]:
    return list(json.loads((DATA / name).read_text(encoding="utf-8"))["tests"])


class Failure(Exception):
    """A check that did not hold. `setup`: of what the case only stands on."""

    def __init__(self, message: str, *, setup: bool = False) -> None:
        super().__init__(message)
        self.setup = setup


@dataclass
class Outcome:
    """What one case came to by itself; `verdicts` heeds what it depends on."""

    word: str
    """`pass`, or why not: `fail`, `setup`, `retry`, `harness`."""
    message: str = ""
    late: float = 0.0
    """Seconds it took longer than its pauses."""


@dataclass
class Runner:
    client: Client
    origin: CacheOrigin
    pause: float = PAUSE

    async def run(self, wanted: Iterable[Case], *, at_once: int = 110) -> dict[str, Outcome]:
        """Each case once; one whose time was disturbed and that did not pass, a second time."""
        turns = asyncio.Semaphore(at_once)

        async def one(case: Case) -> tuple[str, Outcome]:
            async with turns:
                outcome = await self.play(case)
                if outcome.word != "pass" and outcome.late > LATE:
                    outcome = await self.play(case)
                return case["id"], outcome

        return dict(await asyncio.gather(*map(one, wanted)))

    async def play(self, case: Case) -> Outcome:
        requests = case["requests"]
        name = str(uuid.uuid4())
        play = self.origin.plays[name] = Play(requests, name)
        began = time.monotonic()
        outcome = Outcome("pass")
        try:
            answers: list[Answer] = []
            for number, definition in enumerate(requests, 1):
                try:
                    answer = await self._ask(case, name, number, definition, answers)
                except NetworkFailure:
                    if "response_cut" not in definition:
                        raise
                    answers.append(Answer())
                else:
                    answers.append(answer)
                    check_answer(definition, number, answer, name)
                if definition.get("pause_after"):
                    await asyncio.sleep(self.pause)
            check_log(requests, answers, play)
        except Failure as failure:
            outcome = Outcome("setup" if failure.setup else "fail", str(failure))
            if str(failure) == "retry":
                outcome = Outcome("retry", "the cache asked twice")
        except TimeoutError:
            outcome = Outcome("harness", f"no response in {PATIENCE:.0f} s")
        except NetworkFailure as failure:
            outcome = Outcome("fail", str(failure))
        planned = sum(self.pause * bool(one.get("pause_after")) + one.get("response_pause", 0) for one in requests)
        outcome.late = time.monotonic() - began - planned
        return outcome

    async def _ask(self, case: Case, name: str, number: int, definition: Definition, before: list[Answer]) -> Answer:
        target = f"/test/{name}"
        if filename := definition.get("filename"):
            target += f"/{filename}"
        if query := definition.get("query_arg"):
            target += f"?{query}"
        body = definition.get("request_body")
        return await asyncio.wait_for(
            self.client.ask(
                definition.get("request_method", "GET"),
                target,
                asked_with(case, number, definition, before),
                None if body is None else body.encode("latin-1"),
            ),
            PATIENCE,
        )


def asked_with(case: Case, number: int, definition: Definition, before: list[Answer]) -> list[Header]:
    """The header fields of one request, in their order."""
    headers: dict[str, Header] = {
        "pragma": ("Pragma", "foo"),
        "cache-control": ("Cache-Control", "nothing-to-see-here"),
        **{header[0].lower(): header for header in _SHAPE},
    }
    own: dict[str, Header] = {}
    for name, value in definition.get("request_headers", []):
        if isinstance(value, int) and definition.get("magic_ims") and before:
            value = resolved(name, value, definition, now=int(before[-1].get("server-now") or 0), base="")
        known = own.get(name.lower())
        own[name.lower()] = (name, f"{known[1]}, {value}" if known else str(value))
    for key, (name, value) in own.items():
        if key in ("pragma", "cache-control"):
            value = f"{headers[key][1]}, {value}"
        headers[key] = (name, value)
    named = str(case["name"]).encode("ascii", "replace").decode()
    return [*headers.values(), ("Test-ID", case["id"]), ("Test-Name", named), ("Req-Num", str(number))]


def _counted(answer: Answer) -> int | None:
    value = answer.get("server-request-count")
    return int(value) if value is not None and value.isdigit() else None


def check_answer(definition: Definition, number: int, answer: Answer, content: str) -> None:
    """Raises the first Failure of one response."""

    def require(holds: bool, check: str, message: str, *, setup: bool = False) -> None:
        if not holds:
            flagged = bool(definition.get("setup")) or check in definition.get("setup_tests", ())
            raise Failure(f"response {number}: {message}", setup=setup or flagged)

    numbers = (answer.get("request-numbers") or "").split()
    if len(set(numbers)) != len(numbers):
        raise Failure("retry", setup=True)
    count = _counted(answer)
    kind = definition.get("expected_type")
    if kind == "cached":
        cached = count is not None and count < number
        require(cached or (answer.status == 304 and count is None), "expected_type", "does not come from the cache")
    elif kind == "not_cached":
        require(count == number, "expected_type", "comes from the cache")
    _check_status(definition, answer, require)
    _check_headers(definition, answer, require)
    _check_interim(definition, answer, require)
    _check_content(definition, answer, content, require)


Require = Callable[..., None]


def _check_status(definition: Definition, answer: Answer, require: Require) -> None:
    status = answer.status
    if "expected_status" in definition:
        wanted = definition["expected_status"]
        require(wanted is None or status == wanted, "expected_status", f"status {status}, not {wanted}")
    elif "response_status" in definition:
        wanted = definition["response_status"][0]
        require(status == wanted, "expected_status", f"status {status}, not {wanted}", setup=True)
    elif status == 999:
        require(False, "expected_type", "should have been conditional")
    else:
        require(status == 200, "expected_status", f"status {status}, not 200", setup=True)


def _check_headers(definition: Definition, answer: Answer, require: Require) -> None:
    now, base = int(answer.get("server-now") or 0), answer.get("server-base-url") or ""
    for wanted in definition.get("expected_response_headers", []):
        check = "expected_response_headers"
        if isinstance(wanted, str):
            require(answer.get(wanted) is not None, check, f"has no {wanted}")
            continue
        name, *how = wanted
        got = answer.get(name)
        if len(how) == 1:
            value = resolved(name, how[0], definition, now=now, base=base)
            require(got == value, check, f"{name} is {got!r}, not {value!r}")
        elif how[0] == "=":
            require(got is not None and got == answer.get(how[1]), check, f"{name} differs from {how[1]}: {got!r}")
        else:
            assert how[0] == ">"
            more = got is not None and got.isdigit() and int(got) > int(how[1])
            require(more, check, f"{name} is {got!r}, not above {how[1]}")
    for unwanted in definition.get("expected_response_headers_missing", []):
        check = "expected_response_headers_missing"
        if isinstance(unwanted, str):
            require(answer.get(unwanted) is None, check, f"has {unwanted}")
        else:
            name, text = unwanted
            require(text not in (answer.get(name) or ""), check, f"has {name}: {text}")


def _check_interim(definition: Definition, answer: Answer, require: Require) -> None:
    wanted = definition.get("expected_interim_responses")
    if wanted is None:
        return
    check = "expected_interim_responses"
    require(len(answer.interim) == len(wanted), check, f"{len(answer.interim)} interim responses, not {len(wanted)}")
    for (status, lines), (code, *named) in zip(answer.interim, wanted, strict=True):
        require(status == code, check, f"interim {status}, not {code}")
        for name, value in named[0] if named else []:
            require((name.lower(), value) in lines, check, f"interim {code} without {name}: {value}")


def _check_content(definition: Definition, answer: Answer, content: str, require: Require) -> None:
    if definition.get("check_body") is False:
        return
    got = answer.body.decode("latin-1")
    head = definition.get("request_method") == "HEAD"
    if "expected_response_text" in definition:
        wanted = definition["expected_response_text"]
        require(wanted is None or got == wanted, "expected_response_text", f"content {got!r}, not {wanted!r}")
    elif definition.get("response_body") is not None:
        wanted = "" if head else definition["response_body"]
        require(got == wanted, "expected_response_text", f"content {got!r}, not {wanted!r}", setup=True)
    elif answer.status not in (204, 304) and not head:
        require(got == content, "expected_response_text", f"content {got!r}, not its own", setup=True)


def check_log(requests: list[Definition], answers: list[Answer], play: Play) -> None:
    """Raises the first Failure of what the origin was asked. What the cache answered stands not in its log."""
    at = 0
    for number, (definition, answer) in enumerate(zip(requests, answers, strict=True), 1):
        kind = definition.get("expected_type")
        if kind == "cached":
            continue
        entry = play.log[at] if at < len(play.log) else None
        at += 1

        def require(holds: bool, check: str, message: str, definition: Definition = definition) -> None:
            if not holds:
                setup = bool(definition.get("setup")) or check in definition.get("setup_tests", ())
                raise Failure(f"request {number}: {message}", setup=setup)  # noqa: B023

        asked: Mapping[str, str] = entry.headers if entry is not None else {}
        if kind is not None:
            require(entry is not None, "expected_type", "never came to the origin")
        if kind == "not_cached":
            require(entry is not None and entry.number == number, "expected_type", "another came to the origin")
        elif kind == "etag_validated":
            require("if-none-match" in asked, "expected_type", "came without If-None-Match")
        elif kind == "lm_validated":
            require("if-modified-since" in asked, "expected_type", "came without If-Modified-Since")
        for wanted in definition.get("expected_request_headers", []):
            name, value = (wanted, None) if isinstance(wanted, str) else wanted
            got = asked.get(name.lower())
            holds = got is not None if value is None else got == value
            require(holds, "expected_request_headers", f"came with {name} {got!r}, not {value!r}")
        for unwanted in definition.get("expected_request_headers_missing", []):
            name, value = (unwanted, None) if isinstance(unwanted, str) else unwanted
            got = asked.get(name.lower())
            absent = got is None if value is None else got != value
            require(entry is not None and absent, "expected_request_headers_missing", f"came with {name} {got!r}")
        if entry is not None and answer.status:
            for name, value in entry.said.items():
                if name != "date" and answer.get(name) != value:
                    raise Failure(f"response {number}: {name} is {answer.get(name)!r}, not {value!r}", setup=True)
        if "expected_method" in definition:
            method = None if entry is None else entry.method
            require(method == definition["expected_method"], "expected_method", f"came as {method}")


def verdicts(all_cases: Iterable[Case], outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """By id: pass, fail, optional_fail, yes, no, dependency_fail, retry, setup_fail, harness_fail."""
    by_id = {case["id"]: case for case in all_cases}
    found: dict[str, str] = {}

    def of(name: str) -> str:
        if name not in found:
            case = by_id[name]
            own = outcomes[name].word
            if any(of(other) not in ("pass", "yes") for other in case["depends_on"]):
                found[name] = "dependency_fail"
            elif own == "fail":
                found[name] = {"optimal": "optional_fail", "check": "no"}.get(case["kind"], "fail")
            elif own == "pass":
                found[name] = "yes" if case["kind"] == "check" else "pass"
            else:
                found[name] = {"setup": "setup_fail", "harness": "harness_fail"}.get(own, own)
        return found[name]

    for name in by_id:
        of(name)
    return found


@cache
def decisions() -> dict[str, str]:
    """By id of a `check` case yes or no, as the tables of docs/caching.md have it: `| question | yes | why | ids |`."""
    found: dict[str, str] = {}
    for line in (ROOT / "docs" / "caching.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[1] in ("yes", "no"):
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[3]), cells[1])
    return found
