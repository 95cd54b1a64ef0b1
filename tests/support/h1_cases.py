"""HTTP/1.1 cases as data: what a client sends or an origin answers, and what may come of it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.strict_origin import Received

Case = dict[str, Any]
DATA = Path(__file__).parent.parent / "conformance" / "data" / "h1"
CANARY = b"/smuggled"


@cache
def requests() -> list[Case]:
    found = json.loads((DATA / "requests.json").read_text())
    assert found["host_placeholder"] == "corpus.test"
    assert found["canary_target"].encode() == CANARY
    return list(found["cases"])


@cache
def responses() -> list[Case]:
    return list(json.loads((DATA / "responses.json").read_text())["cases"])


def raw(case: Case) -> bytes:
    return base64.b64decode(case["raw_b64"])


@dataclass
class Answer:
    """One response as a client read it. `complete`: its end came."""

    status: int
    version: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


@dataclass
class Seen:
    """All that a client got on one connection. `odd`: what came is no HTTP/1.1 (`h2`, `garbage`)."""

    data: bytes = b""
    closed: bool = False
    methods: Sequence[str] = ()
    answers: list[Answer] = field(default_factory=list)
    odd: str = ""

    @property
    def final(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status >= 200 or answer.status == 101]

    @property
    def token(self) -> str:
        if self.final:
            return str(self.final[0].status)
        return self.odd or ("close" if self.closed else "timeout")

    def read(self) -> None:
        """Take `data` apart anew. A client of RFC 9112 §6.3; what it cannot read is `garbage`."""
        self.answers, self.odd = [], ""
        methods = list(self.methods)
        rest = self.data
        while rest:
            if rest[3:5] == b"\x04\x00" or rest[3:4] == b"\x04":
                self.odd = "h2"
                return
            end = rest.find(b"\r\n\r\n")
            if end < 0:
                if not (b"HTTP/1.1 ".startswith(rest[:9]) or rest.startswith(b"HTTP/1.1 ")):
                    self.odd = "garbage"
                return
            line = re.fullmatch(rb"(HTTP/1\.1) (\d{3}) [\t \x21-\x7e\x80-\xff]*", rest[:end].split(b"\r\n")[0])
            if line is None:
                self.odd = "garbage"
                return
            answer = Answer(int(line[2]), line[1])
            for text in rest[:end].split(b"\r\n")[1:]:
                name, colon, value = text.partition(b":")
                if not colon or re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) is None:
                    self.odd = "garbage"
                    return
                answer.fields.append((name.lower(), value.strip(b" \t")))
            self.answers.append(answer)
            rest = rest[end + 4 :]
            if answer.status < 200 and answer.status != 101:
                answer.complete = True
                continue
            method = methods.pop(0) if methods else "GET"
            try:
                left = self._content(answer, method, rest)
            except ValueError:
                self.odd = "garbage"
                return
            if left is None:
                return
            rest = left

    def _content(self, answer: Answer, method: str, rest: bytes) -> bytes | None:
        """What follows the answer's content; None when it has not ended."""
        lengths, codings = answer.all(b"content-length"), answer.all(b"transfer-encoding")
        if codings and (lengths or answer.status == 204 or codings != [b"chunked"]):
            raise ValueError("framing")
        if answer.status == 101:
            answer.complete = True
            return None
        if method == "HEAD" or answer.status in (204, 304):
            answer.complete = True
            return rest
        if codings:
            return _chunks(answer, rest)
        if lengths:
            size = int(lengths[0])
            if len(lengths) != 1:
                raise ValueError("framing")
            answer.body, left = rest[:size], rest[size:]
            answer.complete = len(answer.body) == size
            return left if answer.complete else None
        answer.body, answer.complete = rest, self.closed
        return None


def _chunks(answer: Answer, rest: bytes) -> bytes | None:
    while True:
        line, end, after = rest.partition(b"\r\n")
        if not end:
            return None
        if re.fullmatch(rb"[0-9a-f]{1,8}", line) is None:
            raise ValueError("chunk size")
        size = int(line, 16)
        if size == 0:
            while after:
                line, end, after = after.partition(b"\r\n")
                if not end:
                    return None
                if not line:
                    answer.complete = True
                    return after
            return None
        answer.body += after[:size]
        if len(after) < size + 2:
            return None
        if after[size : size + 2] != b"\r\n":
            raise ValueError("chunk end")
        rest = after[size + 2 :]


def matches(token: str, wanted: Sequence[str]) -> bool:
    for one in wanted:
        if one == token:
            return True
        if one == "ok" and token.isdigit() and (200 <= int(token) < 400 or token == "404"):
            return True
        if one.endswith("xx") and token.isdigit() and token[0] == one[0]:
            return True
    return False


def complaints(case: Case, seen: Seen, received: Sequence[Received], *, last: bool = False) -> Iterator[str]:
    """What is wrong with how a request was dealt with. SHOULD counts as MUST, and `tolerate` as a failure.

    `last`: `received` is what an app saw. Nobody stands behind it, so the connection's own fields may be shown to it.
    """
    if not matches(seen.token, case["accept"]):
        yield f"got {seen.token}, wanted {case['accept']}"
    if case["max_final"] and len(seen.final) > case["max_final"]:
        yield f"{len(seen.final)} responses"
    if case["min_final"] and len(seen.final) < case["min_final"]:
        yield f"only {len(seen.final)} of {case['min_final']} responses"
    if seen.odd and seen.odd not in case["accept"]:
        yield f"{seen.odd}: {seen.data[:200]!r}"
    if any(not answer.complete for answer in seen.final):
        yield "a response without its end"
    if seen.final and not seen.closed and case["close"] in ("must", "should") and seen.final[-1].status != 408:
        yield "the connection stays open"
    if seen.closed and case["close"] == "no":
        yield "the connection is closed"
    if case["note"] == "no_100" and any(answer.status == 100 for answer in seen.answers):
        yield "100 for HTTP/1.0"
    if case["note"] == "no_echo" and b"secret=1" in seen.data:
        yield "the request's Cookie comes back"
    for request in received:
        if CANARY in request.target:
            yield "the request inside reached the origin"
        for fault in request.faults:
            yield f"forwarded: {fault}"
    wanted = case["forward"]
    whole = [request for request in received if request.complete]
    refused = not matches(seen.token, ["ok"])
    if refused and whole and seen.token in ("400", "close", "timeout") and (case["min_final"] or 0) < 2:
        yield "refused, and yet the origin got the whole request"
    if "requests" in wanted and len(whole) != wanted["requests"]:
        yield f"{len(whole)} requests reached the origin"
    if wanted.get("complete") == 0 and whole:
        yield "what never came whole was forwarded as whole"
    if whole and "requests" not in wanted:
        if last and wanted.get("header_absent") == "upgrade":
            wanted = {}
        yield from _forwarded(wanted, whole[0])


def _forwarded(wanted: dict[str, Any], request: Received) -> Iterator[str]:
    joined = {name: b", ".join(request.all(name)).decode("latin-1") for name, _ in request.fields}
    for key, value in wanted.items():
        if key == "header_absent":
            holds = value.encode() not in joined
        elif key == "header_present":
            holds = value.encode() in joined
        elif key == "header_equals":
            holds = joined.get(value[0].encode()) == value[1]
        elif key == "header_not_from_trailer":
            holds = request.body == b"hello"
        elif key == "host_not":
            holds = value not in joined.get(b"host", "")
        elif key == "method":
            holds = request.method == value.encode()
        elif key == "trailers":
            holds = [[part.decode() for part in field] for field in request.trailers] == value
        elif key == "target":
            holds = request.target == value.encode()
        elif key == "version":
            holds = request.version == value.encode()
        elif key == "body":
            holds = request.body == base64.b64decode(value)
        elif key == "absent_bytes":
            holds = base64.b64decode(value) not in request.raw
        else:
            assert key in ("requests", "complete"), key
            holds = True
        if not holds:
            yield f"forwarded: {key} {value}: {request}"
