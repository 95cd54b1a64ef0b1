"""Outside cases: what an origin may answer to an intermediary, and what the client may see of it (RFC 9112 §6.3, §8).

After each two plain requests, on a new connection and on the same one, must get their own answers.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import fcntl
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stack.clock import eventually
from tests.support.h1_cases import Case, Seen, raw, responses
from tests.support.h1_clauses import RESPONSES
from tests.support.h1_hops import ENOUGH, INTERMEDIARIES, client, hop
from tests.support.strict_origin import Line, Received, strict_origin

ALL = [*responses(), *RESPONSES]
AT_ONCE = 40
SIOCOUTQ = 0x5411
"""Linux: bytes sent and not yet acknowledged."""


@dataclass
class Outcome:
    first: Seen
    after: list[Seen] = field(default_factory=list)
    """What the two requests behind it got."""


def token(seen: Seen) -> str:
    if seen.odd:
        return seen.odd
    if not seen.final:
        return seen.token
    return seen.token if seen.final[0].complete else f"{seen.token}-cut" if seen.closed else "timeout"


def surplus(case: Case, data: bytes) -> int:
    """Where the last byte of the response stands, if something comes behind it; else where the data ends.

    They come together: nobody can tell what arrives after the next request was sent from its answer.
    """

    def whole(size: int) -> bool:
        seen = Seen(data[:size], methods=[case["method"]])
        seen.read()
        return bool(seen.final) and seen.final[0].complete

    size = bisect.bisect_left(range(len(data)), True, key=whole)
    return size - 1 if size < len(data) else len(data)


async def delivered(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")

    async def acknowledged() -> bool:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0] == 0

    await eventually(acknowledged, within=ENOUGH)


def asks(method: bytes, target: bytes, body: int = 0) -> bytes:
    length = b"Content-Length: %d\r\n" % body if body else b""
    return b"%b %b HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % (method, target, length) + b"x" * body


async def run(kind: str, home: Path) -> dict[tuple[str, bool], Outcome]:
    cases = ALL
    turns = asyncio.Semaphore(AT_ONCE)
    # broken answers take a backend out, and there is no other
    flags = ("--passive-fall", "1000000") if kind == "loadbalancer" else ()

    async def answer(request: Received, line: Line) -> bool:
        writer = line.writer
        if not request.target.startswith(b"/case/"):
            writer.write(
                b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%b"
                % (len(request.target), request.target)
            )
            return True
        number, way = request.target[6:].split(b"/")
        case = cases[int(number)]
        data = raw(case)
        with contextlib.suppress(ConnectionError):
            alone = min(surplus(case, data), 2000) if way == b"bytewise" else 0
            for at in range(alone):
                writer.write(data[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(data[alone:])
            if case["req_body"]:
                await delivered(writer)  # a close while content is still coming would take back what is on its way
            if case["then"] == "rst":
                await writer.drain()
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        return bool(case["then"] == "keep")

    async def head(request: Received, line: Line) -> bool:
        if request.target.startswith(b"/case/") and cases[int(request.target.split(b"/")[2])]["req_body"]:
            await answer(request, line)  # while the content is still coming
            return False
        return True

    async with strict_origin(answer) as origin, hop(kind, home, origin.port, *flags) as running:
        origin.head = head

        async def one(number: int, case: Case, bytewise: bool) -> Outcome:
            way = b"bytewise" if bytewise else b"whole"
            async with turns:
                async with client(running.port, methods=[case["method"]]) as same:
                    target = b"/case/%d/%b" % (number, way)
                    await same.send(asks(case["method"].encode(), target, case["req_body"] or 0))
                    await same.until(1)
                    outcome = Outcome(same.seen)
                    async with client(running.port) as new:
                        await new.send(asks(b"GET", b"/new/%d/%b" % (number, way)))
                        await new.until(1)
                        outcome.after.append(new.seen)
                    if not same.seen.closed and token(same.seen).isdigit() and not _closes(same.seen):
                        behind = Seen(methods=[case["method"], "GET"])
                        await same.send(asks(b"GET", b"/same/%d/%b" % (number, way)))
                        same.seen.methods = behind.methods
                        await same.until(2)
                        outcome.after.append(Seen(closed=same.seen.closed, answers=same.seen.final[1:]))
                return outcome

        jobs = [(number, case, bytewise) for bytewise in (False, True) for number, case in enumerate(cases)]
        async with asyncio.timeout(8 * ENOUGH):
            found = await asyncio.gather(*(one(*job) for job in jobs))
    return {(case["id"], bytewise): outcome for (_, case, bytewise), outcome in zip(jobs, found, strict=True)}


def _closes(seen: Seen) -> bool:
    return seen.final[0].all(b"connection") == [b"close"]


@pytest.fixture(scope="module", params=INTERMEDIARIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Outcome]:
    return asyncio.run(run(request.param, tmp_path_factory.mktemp("h1") / "home"))


def complaints(case: Case, outcome: Outcome, way: str) -> Iterator[str]:
    seen = outcome.first
    if token(seen) not in case["accept"]:
        yield f"got {token(seen)}, wanted {case['accept']}"
    check = case["check"]
    answer = seen.final[0] if seen.final else None
    if answer is not None and answer.status < 500:
        if "body" in check and answer.body != check["body"].encode():
            yield f"content {answer.body[:80]!r}"
        if "absent" in check and check["absent"].encode() in seen.data.lower():
            yield f"{check['absent']} came through"
        if "version" in check and answer.version != check["version"].encode():
            yield f"version {answer.version!r}"
        if "not_header" in check:
            name, part = (text.encode() for text in check["not_header"])
            if any(part in value for value in answer.all(name)):
                yield f"{check['not_header']} came through"
        statuses = [one.status for one in seen.answers if one.status < 200]
        if "interim" in check and statuses != check["interim"]:
            yield f"interim responses {statuses}"
        if "holds" in check and check["holds"].encode() not in seen.data:
            yield f"{check['holds']} did not come through"
        if "lacks" in check and answer.all(check["lacks"].encode()):
            yield f"{check['lacks']} came through"
        if "has" in check:
            name, value = (text.encode() for text in check["has"])
            if (found := answer.all(name)) != [value] and (value or not found):
                yield f"{name!r} is {found}"
    if b"POISON" in seen.data:
        yield "what came behind the response reached the client"
    number = ALL.index(case)
    for after, kind in zip(outcome.after, ("new", "same"), strict=False):
        wanted = f"/{kind}/{number}/{way}".encode()
        got = [(answer.status, answer.body) for answer in after.answers]
        if got != [(200, wanted)]:
            yield f"the request behind it, on the {kind} connection, got {got}"


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", ALL, ids=lambda case: case["id"])
def test_response(made: dict[tuple[str, bool], Outcome], case: Case, bytewise: bool) -> None:
    outcome = made[case["id"], bytewise]
    found = list(complaints(case, outcome, "bytewise" if bytewise else "whole"))
    assert not found, f"{found}\n{case['rule']}: {case['title']}\n{outcome.first.data[:600]!r}"
