"""Random ranges of objects that change at random, in a store that is too small: an answer is of one version, always."""

from __future__ import annotations

import random
import re

import pytest

from cdn_edge.rules.judging import Policy
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab, Reply
from tests.cdn_edge.ranged import File, counted

_SPAN = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PART = re.compile(rb"content-range: bytes (\d+)-(\d+)/(\d+)\r\n\r\n")
_SAID = (
    "max-age=60",
    "max-age=1",
    "no-cache",
    "max-age=0",
    "max-age=1, stale-while-revalidate=9",
    "max-age=1, stale-if-error=9",
)


class _Site:
    """Some objects, each with ways of its own; what was asked for last may be another version by now."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self.lab, self.chance = lab, chance
        self.files = [self._file() for _ in range(6)]
        self.versions: list[list[bytes]] = [[file.content] for file in self.files]

    def _file(self) -> File:
        chance = self.chance
        size = chance.choice((64, 200, 1000, 5000))
        ways = f"Cache-Control: {chance.choice(_SAID)}" + "\nAccept-Ranges: bytes" * chance.choice((0, 1, 1))
        tag = chance.choice(('"0"', '"0"', 'W/"0"', ""))
        chunk = chance.choice((0, 50, 400))
        return File(self.lab.clock, counted(size), tag, ways, chunk=chunk, matches=chance.random() < 0.7)

    def __call__(self, request: Request) -> Response:
        number = int(request.target[1:])
        if self.chance.random() < 0.1:
            self.change(number)
        if self.chance.random() < 0.05:
            return Response(503, [(b"content-length", b"0")], b"")
        return self.files[number](request)

    def change(self, number: int) -> None:
        file, versions = self.files[number], self.versions[number]
        size = len(file.content) if self.chance.random() < 0.6 else self.chance.choice((64, 210, 1000, 4000))
        file.content = counted(size, len(versions) % 26)
        file.tag = re.sub(r"\d+", str(len(versions)), file.tag)
        versions.append(file.content)

    def wanted(self, number: int) -> str:
        size, chance = len(self.files[number].content), self.chance
        specs = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            start = chance.randrange(size)
            specs.append(chance.choice((f"{start}-{start + chance.choice((0, 9, 300))}", f"{start}-", f"-{start}")))
        return "bytes=" + ",".join(specs)

    def fault(self, number: int, reply: Reply) -> str:
        """How the reply is not made of one version; empty: it is."""
        body, cut = reply.body.removesuffix(b"<cut>"), reply.body.endswith(b"<cut>")
        if reply.status == 200:
            spans: list[tuple[int, bytes, int | None]] = [(0, body, None)]
        elif (match := _SPAN.fullmatch(reply.get("content-range") or "")) is not None:
            start, last, size = map(int, match.groups())
            if not cut and len(body) != last + 1 - start:
                return "its length"
            spans = [(start, body, size)]
        else:
            spans = []
            for part in _PART.finditer(body):
                start, last, size = map(int, part.groups())
                piece = body[part.end() : part.end() + last + 1 - start]
                if not cut and len(piece) != last + 1 - start:
                    return "the length of a part"
                spans.append((start, piece, size))
        for serial, content in enumerate(self.versions[number]):
            if not all(
                content[start : start + len(piece)] == piece and size in (None, len(content))
                for start, piece, size in spans
            ):
                continue
            if reply.status == 200 and not cut and len(body) != len(content):
                continue
            tag = (reply.get("etag") or "").removeprefix("W/")
            if tag in ("", f'"{serial}"'):
                return ""
        return "of no one version"


@pytest.mark.parametrize("seed", range(12))
async def test_3_4_an_answer_is_of_one_version(seed: int) -> None:
    chance = random.Random(seed)
    lab = Lab(
        size=chance.choice((9_000, 60_000, 1_000_000)), policy=Policy(slice=chance.choice((0, 64, 512)), slice_from=400)
    )
    site = _Site(lab, chance)
    lab.origin(site)
    answered = hits = 0
    for _ in range(400):
        number = chance.randrange(6)
        fields = [f"Range: {site.wanted(number)}"] if chance.random() < 0.7 else []
        if chance.random() < 0.15 and site.files[number].tag:
            fields.append(f"{chance.choice(('If-Range', 'If-None-Match', 'If-Match'))}: {site.files[number].tag}")
        if chance.random() < 0.1:
            fields.append(f"Cache-Control: {chance.choice(('no-cache', 'no-store', 'max-stale', 'only-if-cached'))}")
        if chance.random() < 0.05:
            site.change(number)
        if chance.random() < 0.02:  # as when the process takes more than is counted
            lab.store._room.batch = chance.randrange(lab.store.room)
        reply = await lab.ask(f"/{number}", "\n".join(fields))
        assert reply.status in (200, 206, 304, 412, 416, 503, 504), (number, fields)
        if reply.status in (200, 206):
            assert not (fault := site.fault(number, reply)), (number, fields, fault, reply.status, reply.fields)
            answered += 1
            hits += reply.is_hit
        lab.pass_time(chance.choice((0, 0, 0.5, 3)))
    assert answered > 200
    assert hits
    for stored in [one for number in range(6) for one in lab.store.variants(b"https://shop.test/%d" % number)]:
        lab.store.drop(stored)
    statistics = lab.store.statistics()
    assert (statistics.objects, statistics.pending) == (0, 0)
