"""Where a DNS query's time goes: the kernel's part, the loop's, and ours by the way that the answer takes.

Bursts of some datagrams through the server as its process builds it: over real sockets for kernel and loop, in memory
that nobody sends for ours. The least of many times 64 queries counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from stack.clock import SystemClock
from stack.config import flags
from stack.faults.net import FaultyNet
from stack.hop import registry
from stack.net.dns_batch import STRIDE, Batch
from stack.net.dns_datagrams import Batched
from stack.telemetry.metrics import Metrics
from tests.bench.dns import APEX, ORIGIN, records
from tests.support.dns_network import edns, question

BURSTS: Final = (1, 16, 64)
"""Datagrams of one burst."""
NAMES: Final = 50_000
CLIENT: Final = b"\2\0\x14\xb5\x7f\0\0\1" + bytes(20)


class Unsent(Batch):
    """A batch that no kernel fills or empties: `put` stands for what has come in."""

    def put(self, messages: Sequence[bytes]) -> None:
        self.sizes = [len(message) for message in messages]
        self.sent: list[int] = []
        for slot, message in enumerate(messages):
            self.memory[slot * STRIDE : slot * STRIDE + len(message)] = message
            self._names[slot * 28 : slot * 28 + 28] = CLIENT

    def take(self) -> list[int]:
        return self.sizes

    def send(self, sizes: list[int]) -> int:
        self.sent = sizes
        return 0


@contextlib.asynccontextmanager
async def built(home: Path, *, log: bool) -> AsyncIterator[tuple[Any, socket.socket]]:
    """A server with a zone of NAMES addresses, and the socket that it reads; every other option as by default."""
    home.mkdir(exist_ok=True)
    zone, lines = home / "zone", str(home / "query.log") if log else "off"
    zone.write_text(APEX + "".join(records(NAMES)) + "many IN MX 10 h1\nmany IN MX 20 h2\n")
    argv = ["--name", "dns", "--state-dir", str(home), "--access-log", lines, "--zone", f"{ORIGIN}={zone}"]
    parts = registry.load("dns_server")
    config = flags.make(parts.config, flags.given("dns_server", parts.config, argv, {}))
    clock = SystemClock()
    net = FaultyNet(clock, Random(1))
    hop: Any = parts.build(config, clock=clock, random=net.random, net=net, metrics=Metrics(), state_dir=home)
    await hop.start([])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        try:
            yield hop, sock
        finally:
            await hop.stop()
            await net.close()


def ways() -> dict[str, Iterator[bytes]]:
    """Questions without an end, by the way that their answers take."""
    repeated = [question(f"h{number}.{ORIGIN}", id=number, opt=edns()) for number in range(200)]
    names = [question(f"{kind}{number}.{ORIGIN}", opt=edns()) for kind in "hx" for number in range(NAMES)]
    Random(1).shuffle(names)
    # what comes back after 100,000 others has left no trace; what announces another size is another question
    whole = (question(f"many.{ORIGIN}", "MX", opt=edns(512 + number % 60_000)) for number in itertools.count())
    return {
        "finished before": itertools.cycle(repeated),
        "by slices, asked for the first time": itertools.cycle(names),
        "the whole way": whole,
    }


def ours(served: Batched, questions: Iterator[bytes], count: int, seconds: float) -> float:
    """Microseconds of a query in bursts of `count`."""
    batch: Any = served._batch

    def burst() -> float:
        batch.put([next(questions) for _ in range(count)])
        began = time.thread_time()
        served._burst()
        took = time.thread_time() - began
        if len(batch.sent) != count or 0 in batch.sent:
            raise RuntimeError("a query was not answered")
        return took

    for _ in range(-(-600 // count)):
        burst()
    until = time.perf_counter() + seconds
    taken: list[float] = []
    while time.perf_counter() < until:
        # of single queries some are cheaper than others
        taken.append(sum(burst() for _ in range(-(-64 // count))) / (-(-64 // count) * count) * 1e6)
    return min(taken)


async def kernel_and_loop(hop: Any, sock: socket.socket, count: int, seconds: float) -> tuple[float, float]:
    """Microseconds of a query that recvmmsg and sendmmsg take, and that the loop takes to call for a burst."""
    served = Batched(hop.listener, sock)
    batch, within = served._batch, [0.0, 0.0, 0.0]

    def timed(call: Callable[..., Any], place: int) -> Callable[..., Any]:
        def inner(*args: Any) -> Any:
            began = time.thread_time()
            found = call(*args)
            within[place] += time.thread_time() - began
            return found

        return inner

    batch.take, batch.send = timed(batch.take, 0), timed(batch.send, 0)  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    loop.add_reader(sock.fileno(), timed(served._burst, 1))
    message = question(f"h1.{ORIGIN}", opt=edns())
    kernel = called = float("inf")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(sock.getsockname())
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                for _ in range(count):
                    client.send(message)
                within[:] = [0.0, 0.0, 0.0]
                began = time.thread_time()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                took = time.thread_time() - began
                if within[1]:  # the loop has called
                    kernel, called = min(kernel, within[0]), min(called, took - within[1])
                for _ in range(count):
                    client.recv(4096)
    finally:
        served.close()
    return kernel / count * 1e6, called / count * 1e6


@contextlib.contextmanager
def collected() -> Iterator[None]:
    """The collector as `stack.hop.process` sets it."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def profile(home: Path, seconds: float) -> list[tuple[str, list[float]]]:
    """Rows of the table: a name, and microseconds a query for each of BURSTS."""
    kernel, loop = [], []
    rows: list[tuple[str, list[float]]] = []
    part = seconds / 10
    for log in (False, True):
        async with built(home / f"log-{log}", log=log) as (hop, sock):
            with collected():
                served = Batched(hop.listener, sock.dup())
                served.pause()
                served._batch = Unsent(sock)
                for name, questions in ways().items():
                    figures = [ours(served, questions, count, part) for count in BURSTS]
                    rows.append((f"ours: {name}{', with its line' if log else ''}", figures))
                served.close()
                if not log:
                    for count in BURSTS:
                        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as real:
                            real.bind(("127.0.0.1", 0))
                            real.setblocking(False)
                            one, other = await kernel_and_loop(hop, real, count, part)
                        kernel.append(one)
                        loop.append(other)
    return [("kernel: recvmmsg, sendmmsg, loopback", kernel), ("loop: one event a burst", loop), *sorted(rows)]


async def show(home: Path, seconds: float) -> None:
    print(f"dns, Python {sys.version.split()[0]}: microseconds a query, the least of many times 64")
    print(f"  {'datagrams of a burst':58}" + "".join(f"{count:8}" for count in BURSTS))
    for name, figures in await profile(home, seconds):
        print(f"  {name:58}" + "".join(f"{figure:8.2f}" for figure in figures))
