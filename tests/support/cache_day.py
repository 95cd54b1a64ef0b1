"""A day of traffic before one edge, on a virtual clock, in a process of its own: `MIB REQUESTS` prints a line of JSON.

What is asked for is drawn by Zipf, twice as much at noon as at midnight; the origin has a mind of its own: lifetimes from
a minute to a day, variants, validators, pages for one user, errors, outages, content of all sizes, some of it in slices.
In between come crawlers that ask for everything once, changes by POST, purges, ranges, and clients that leave.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math
import os
import random
import sys
from bisect import bisect
from typing import Final

from cdn_edge.handler import Edge
from cdn_edge.memory import ProcessMemory
from cdn_edge.rules.judging import Policy
from cdn_edge.store import Store, largest
from stack.clock import VirtualClock, settle
from stack.errors import HopError, Side
from stack.http.dates import http_date
from stack.http.message import Fields, Peer, Request, Response, get
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from stack.telemetry.metrics import Metrics
from tests.cdn_edge.lab import Stream

MIB: Final = 1024 * 1024
DAY: Final = 86_400.0
PAGES: Final = 6_000


class Unreachable(HopError):
    side = Side.UPSTREAM


class Origin:
    """Answers any URL; what a page is like hangs on its number alone."""

    def __init__(self, clock: VirtualClock, chance: random.Random) -> None:
        self._clock = clock
        self._chance = chance
        self._content = os.urandom(2 * MIB)
        self.version = 0

    async def send(self, request: Request, exchange: Exchange) -> Response:
        number = int(request.target.rpartition(b"/")[2] or b"0")
        if self._chance.random() < 0.002:
            raise Unreachable("the origin is away")
        if request.method == b"POST":
            return Response(204, [])
        kind = number % 20
        if kind == 0:
            return Response(200, [(b"cache-control", b"private")], b"one user's own %d" % number)
        if kind == 1:
            return Response(404, [(b"cache-control", b"max-age=30")], b"no such page")
        tag = b'"%d-%d"' % (number, self.version)
        fields: Fields = [
            (b"date", http_date(self._clock.time())),
            (b"content-type", b"text/html; charset=utf-8"),
            (b"cache-control", b"max-age=%d, stale-while-revalidate=30" % (60 * 4 ** (number % 6))),
            (b"etag", tag),
            (b"accept-ranges", b"bytes"),
        ]
        if kind in (2, 3):
            fields.append((b"vary", b"accept-language" if kind == 2 else b"accept-encoding"))
        if get(request.fields, b"if-none-match") == tag:
            return Response(304, fields)
        sizes = random.Random(number)
        body = self._content[: min(len(self._content), int(sizes.lognormvariate(9, 1.4)))]
        fields.append((b"content-length", b"%d" % len(body)))
        return Response(200, fields, Stream(*(body[at : at + 65_536] for at in range(0, len(body), 65_536))))


class Traffic:
    def __init__(self, limit: int) -> None:
        self.chance = random.Random(11)
        self.clock = VirtualClock()
        self.tasks = Tasks()
        self.memory = ProcessMemory()
        policy = Policy(max_object=largest(limit), slice=64 * 1024, slice_from=256 * 1024)
        self.store = Store(limit, max_object=policy.max_object, select=policy.select, memory=self.memory)
        self.origin = Origin(self.clock, self.chance)
        self.hits = 0
        self.edge = Edge(
            fetch=self.origin.send,
            store=self.store,
            clock=self.clock,
            tasks=self.tasks,
            random=self.chance,
            metrics=Metrics(),
            policy=policy,
        )
        self._popular = list(itertools.accumulate(1 / rank for rank in range(1, PAGES + 1)))
        self._crawled = PAGES

    async def one(self) -> None:
        what = self.chance.random()
        method, fields = b"GET", self._fields()
        number = bisect(self._popular, self.chance.random() * self._popular[-1])
        if what < 0.15:  # a crawler, which nobody comes back after
            self._crawled += 1
            number = self._crawled
        elif what < 0.152:
            method = b"POST"
        elif what < 0.154:
            self.store.invalidate(b"https://shop.test/%d" % number)
        elif what < 0.155:
            self.origin.version += 1
        elif what < 0.2:
            fields.append((b"range", b"bytes=%d-%d" % (at := self.chance.randrange(30_000), at + 5_000)))
        await self._ask(method, number, fields, leaves=self.chance.random() < 0.02)

    def _fields(self) -> Fields:
        languages = (b"de", b"en", b"en, de;q=0.%d" % self.chance.randrange(9), b"fr")
        codings = (b"gzip, br", b"gzip", b"br;q=0.9, gzip")
        return [
            (b"accept-language", self.chance.choice(languages)),
            (b"accept-encoding", self.chance.choice(codings)),
            (b"user-agent", b"browser/%d" % self.chance.randrange(1000)),
        ]

    async def _ask(self, method: bytes, number: int, fields: Fields, *, leaves: bool) -> None:
        request = Request(
            method, b"/%d" % number, fields, authority=b"shop.test", scheme=b"https", peer=Peer("192.0.2.1", 1234)
        )
        exchange = Exchange("edge", self.clock.now, request)
        exchange.request_id, exchange.client = b"id", "192.0.2.1"
        answer = self.edge.handle(request, exchange)
        if isinstance(answer, Response):
            self.hits += 1
        else:
            answer = await answer
        if not isinstance(answer.body, bytes):
            try:
                async for _ in answer.body:
                    if leaves:
                        break
            finally:
                await answer.body.aclose()

    def bookkeeping(self) -> dict[str, int]:
        """Of what is only there while something is on its way: nothing."""
        return {"recordings": len(self.store._recordings), "pending": self.store.statistics().pending}


async def day(limit: int, requests: int) -> dict[str, object]:
    gc.collect()
    gc.freeze()
    traffic = Traffic(limit)
    hours: list[int] = []
    most = 0
    for n in range(requests):
        await traffic.one()
        share = n / requests
        traffic.clock._now += DAY / requests * (1 + 0.5 * math.cos(2 * math.pi * share))
        if n % 50 == 0:
            await settle()
            most = max(most, traffic.memory.grown() or 0)
        if n % (requests // 24) == requests // 24 - 1:
            hours.append(traffic.memory.grown() or 0)
    await settle()
    counted = traffic.store.statistics()
    return {
        "limit": limit,
        "most": most,
        "hours": hours,
        "counted": counted.bytes,
        "evicted": counted.evicted,
        "objects": counted.objects,
        "hits": traffic.hits / requests,
        "seconds": traffic.clock.now(),
        **traffic.bookkeeping(),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(day(int(sys.argv[1]) * MIB, int(sys.argv[2])))))
