"""Fills a store in a process of its own, far beyond its bound, and prints what the process took: `KIND MIB TIMES`.

One line of JSON: bytes resident above those of the process when it was empty, at most and at the end, and the store's
own count.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Final

from cdn_edge.answers import Answers
from cdn_edge.memory import ProcessMemory
from cdn_edge.recording import Recording
from cdn_edge.rules.reuse import Terms
from cdn_edge.store import Store
from cdn_edge.stored import Stored, whole
from stack.testing.clock import VirtualClock

MIB: Final = 1024 * 1024
Sizes = Callable[[random.Random, float], int]
"""Of the next content, in bytes; the second is the share of the work that is done."""


def _in_turn(chance: random.Random, done: float) -> int:
    """Many small ones give way to few large ones, and back."""
    return (300, 5000, 777, 60_000, 1024, 60_000)[int(done * 12) % 6] + chance.randint(0, 64)


KINDS: dict[str, Sizes] = {
    "tiny": lambda chance, done: 10,
    "1k": lambda chance, done: 1024,
    "16k": lambda chance, done: 16_384,
    "large": lambda chance, done: chance.randint(MIB, 4 * MIB),
    "odd": lambda chance, done: chance.randint(1, 60_000),
    "web": lambda chance, done: int(chance.lognormvariate(9, 1.6)),
    "turns": _in_turn,
    "variants": lambda chance, done: chance.randint(100, 2000),
}


def fill(kind: str, limit: int, times: float) -> dict[str, float]:
    chance = random.Random(1)
    content = os.urandom(MIB) * 5
    clock = VirtualClock()
    gc.collect()
    gc.freeze()
    memory = ProcessMemory()
    store = Store(limit, max_object=limit, memory=memory)
    answers = Answers("edge", clock, chance, store.renewed)
    put, n, most = 0, 0, 0
    slow: list[Recording] = []
    while put < limit * times:
        size = min(KINDS[kind](chance, put / (limit * times)), store.max_object, len(content))
        at = chance.randint(0, len(content) - size)
        one = _response(kind, n, content[at : at + size], chance)
        recording = store.record(one.key)
        recording.whole(one.body, lambda _, one=one: one)  # type: ignore[misc]
        answers.renew(one, n / 5000)
        if len(slow) < 100:  # clients that read nothing: as much is coming in as may
            slow.append(store.record(b"https://shop.test/slow/%d" % n))
            for _ in range(8):
                slow[-1].feed(bytes(limit // 400))
        put += one.size
        n += 1
        if size > MIB or n % 200 == 0:
            most = max(most, memory.grown() or 0)
    store.invalidate(b"https://shop.test/none")
    counted = store.statistics()
    return {"limit": limit, "most": most, "end": memory.grown() or 0, "counted": counted.bytes, "room": store.room,
            "pending": counted.pending, "objects": counted.objects, "each": (memory.grown() or 0) / counted.objects}  # fmt: skip


def _response(kind: str, n: int, body: bytes, chance: random.Random) -> Stored:
    fields = [
        (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"etag", b'"%x"' % chance.getrandbits(64)),
        (b"cache-control", b"max-age=%d" % chance.randint(1, 5000)),
        (b"server", b"origin"),
        (b"x-more", b"m" * chance.randint(50, 200)),
    ]
    varies = kind == "variants"
    return whole(
        b"https://shop.test/products/%d?page=2" % (n // 7 if varies else n),
        (b"accept-language",) if varies else (),
        (b"de;q=1000,en;q=%d" % chance.randint(0, 1000),) if varies else (),
        status=200,
        fields=fields,
        body=body,
        terms=Terms(float(chance.randint(1, 5000))),
        date=1e9 + n,
        born=n / 5000,
    )


if __name__ == "__main__":
    print(json.dumps(fill(sys.argv[1], int(sys.argv[2]) * MIB, float(sys.argv[3]))))
