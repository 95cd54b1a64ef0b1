"""An edge with a disk tier is killed at any moment: what it answers afterwards is what the origin made, or a miss."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from stack.clock import eventually
from stack.http.message import Request, Response
from tests.cdn_edge.processes import ROOT, EdgeProcess, Reply, cacheable, edge, origin

HOST = {"host": "shop.test"}
SIZES = (0, 1, 700, 5_000, 70_000, 900_000)
KILLS = 6
PATHS = [f"/{size}/{number}" for size in SIZES for number in range(6)]


def content(path: str, turn: int, size: int) -> bytes:
    """Nothing but this path and turn has this content, nor any part of it."""
    seed = hashlib.sha256(f"{path} {turn}".encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


class Turns:
    """An origin whose every response is another one."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def __call__(self, request: Request) -> Response:
        path = request.target.decode()
        self.made[path] += 1
        turn = self.made[path]
        size = int(path.split("/")[1])
        return cacheable(content(path, turn, size), max_age=3600, more=[(b"x-turn", b"%d" % turn)])


def check(path: str, reply: Reply) -> None:
    assert reply.status == 200
    turn, size = int(reply.headers["x-turn"]), int(path.split("/")[1])
    assert reply.body == content(path, turn, size), f"{path}: torn, {reply.cache_status}"


async def use(front: EdgeProcess, until: asyncio.Event, seed: int, seen: Counter[str]) -> None:
    """Ask, ask for newer, invalidate, in any order, until the edge is killed."""
    chosen = random.Random(seed)
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        while not until.is_set():
            path = chosen.choice(PATHS)
            more = {"cache-control": "no-cache"} if chosen.random() < 0.4 else {}
            reply = await front.ask(path, headers={**HOST, **more})
            check(path, reply)
            seen["disk" if "detail=disk" in reply.cache_status else "other"] += 1


async def test_killed_again_and_again_it_serves_nothing_torn(tmp_path: Path) -> None:
    turns, seen, chosen = Turns(), Counter[str](), random.Random(5)
    flags = ("--cache-disk", str(tmp_path / "cache"), "--cache-disk-size", "16M", "--cache-size", "4M")
    async with origin(turns) as behind:
        for number in range(KILLS):
            until = asyncio.Event()
            async with edge(behind.url, *flags, home=tmp_path, killed=True) as front:
                users = [asyncio.ensure_future(use(front, until, number * 10 + each, seen)) for each in range(4)]
                await asyncio.sleep(chosen.uniform(0.02, 0.5))
                front.process.kill()
                until.set()
                await asyncio.gather(*users)
        async with edge(behind.url, *flags, home=tmp_path) as front:
            for path in PATHS:
                check(path, await front.ask(path, headers=HOST))
            cache = await front.cache()
    assert cache["disk"]["reads"].get("torn", 0) == 0, "a kill, unlike a power failure, tears no file"
    assert cache["disk"]["reads"].get("read", 0) > 0
    assert seen["disk"] > 0, "hits from what an earlier process wrote"
    assert cache["disk"]["bytes"] <= 16 * 1024 * 1024


async def test_what_was_purged_or_changed_stays_out_over_a_kill(tmp_path: Path) -> None:
    turns = Turns()
    flags = ("--cache-disk", str(tmp_path / "cache"))
    async with origin(turns) as behind:
        for _ in range(2):
            async with edge(behind.url, *flags, home=tmp_path, killed=True) as front:
                for path in ("/700/purged", "/700/changed", "/700/kept"):
                    await front.ask(path, headers=HOST)
                await eventually(lambda: written(front, 3))
                assert await front.purge("http://shop.test/700/purged") == 1
                assert (await front.ask("/700/changed", "POST", headers=HOST)).status == 200
                front.process.kill()  # the moment it is answered
            async with edge(behind.url, *flags, home=tmp_path) as front:
                assert "detail=disk" in (await front.ask("/700/kept", headers=HOST)).cache_status
                for path in ("/700/purged", "/700/changed"):
                    reply = await front.ask(path, headers=HOST)
                    check(path, reply)
                    assert not reply.is_hit
                    assert int(reply.headers["x-turn"]) == turns.made[path]


async def written(front: EdgeProcess, count: int) -> bool:
    disk = (await front.cache())["disk"]
    return bool(disk["objects"] >= count and not disk["queued"])


async def test_an_orderly_stop_writes_what_waits(tmp_path: Path) -> None:
    turns = Turns()
    flags = ("--cache-disk", str(tmp_path / "cache"))
    async with origin(turns) as behind:
        async with edge(behind.url, *flags, home=tmp_path) as front:
            await asyncio.gather(*(front.ask(path, headers=HOST) for path in PATHS))
        async with edge(behind.url, *flags, home=tmp_path) as front:
            replies = await asyncio.gather(*(front.ask(path, headers=HOST) for path in PATHS))
        for path, reply in zip(PATHS, replies, strict=True):
            check(path, reply)
            assert "hit" in reply.cache_status, path
    assert set(turns.made.values()) == {1}


async def test_a_second_edge_goes_without_and_takes_over(tmp_path: Path) -> None:
    flags = ("--cache-disk", str(tmp_path / "cache"))
    async with origin(lambda request: cacheable(request.target)) as behind:
        async with edge(behind.url, *flags, home=tmp_path, killed=True) as first:
            await first.ask("/a", headers=HOST)
            await eventually(lambda: written(first, 1))
            async with edge(behind.url, *flags, home=tmp_path) as second:
                disk = (await second.cache())["disk"]
                assert disk["state"] == "waiting"
                assert f"in use by process {first.process.pid}" in disk["why"]
                assert not (await second.ask("/b", headers=HOST)).is_hit
                first.process.kill()

                async def took_over() -> bool:
                    return bool((await second.cache())["disk"]["state"] == "open")

                await eventually(took_over)
                assert (await second.ask("/a", headers=HOST)).is_hit


async def test_no_room_is_a_line_and_no_error(tmp_path: Path) -> None:
    """A file may have 100 KB here: larger contents cannot be written, and soon the index cannot either."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    log = tmp_path / "log"
    flags = ("--cache-disk", str(tmp_path / "cache"))
    turns = Turns()
    with log.open("wb") as out:
        async with origin(turns) as behind:
            async with edge(
                behind.url, *flags, home=tmp_path, prepare=prepare, killed=True, stderr=out.fileno()
            ) as front:
                for number in range(3):
                    for path in PATHS:
                        reply = await front.ask(path, headers=HOST)
                        check(path, reply)
                        assert reply.is_hit == (number > 0), "the memory goes on"
                await eventually(lambda: "no room on the disk" in log.read_text())
                disk = (await front.cache())["disk"]
                assert disk["writes"].get("full", 0) > 0
                assert disk["state"] == "open"
                assert await front.purge("http://shop.test/700/0") == 1
            async with edge(behind.url, *flags, home=tmp_path) as front:  # with room again
                assert not (await front.ask("/700/0", headers=HOST)).is_hit
                for path in PATHS:
                    check(path, await front.ask(path, headers=HOST))
                assert (await front.cache())["disk"]["state"] == "open"
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_text("a file"), "Not a directory"),
        (lambda path: path.mkdir(mode=0o500), "Permission denied"),
    ],
)
def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path, make: object, said: str) -> None:
    place = tmp_path / "cache"
    make(place)  # type: ignore[operator]
    if said == "Permission denied" and os.access(place, os.W_OK):
        shutil.rmtree(place)
        place, said = Path("/proc/self/cache"), "No such file or directory"  # to root only this is denied
    command = [sys.executable, "-m", "cdn_edge", "--listen", "http://127.0.0.1:0", "--origin", "http://127.0.0.1:9"]
    ended = subprocess.run(
        [*command, "--cache-disk", str(place)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"hopstack: cdn_edge: --cache-disk: {place}/edge cannot be used: {said}")


async def test_a_hundred_thousand_objects_are_warm_at_once(tmp_path: Path) -> None:
    from tests.support.disk import fill

    directory = tmp_path / "cache" / "edge"
    fill(directory, 100_000, host="shop.test")
    flags = ("--cache-disk", str(tmp_path / "cache"), "--cache-size", "256M")
    asked: list[Request] = []
    async with origin(lambda request: asked.append(request) or cacheable(b"")) as behind:  # type: ignore[func-returns-value]
        began = time.monotonic()
        async with edge(behind.url, *flags, home=tmp_path) as front:
            replies = [await front.ask(f"/{number}", headers=HOST) for number in range(0, 100_000, 5_000)]
            took = time.monotonic() - began
            assert all("detail=disk" in reply.cache_status for reply in replies)
            assert [reply.body for reply in replies] == [b"%d" % number for number in range(0, 100_000, 5_000)]

            async def loaded() -> bool:
                disk = (await front.cache())["disk"]
                return bool(disk["state"] == "open" and disk["keys"] == 100_000)

            await eventually(loaded)
            known, used = time.monotonic() - began, cpu(front.process.pid)
    assert asked == []
    print(f"twenty hits after {took:.2f} s, all keys known after {known:.2f} s, {used:.2f} s of CPU in all")
    assert used < 2.0, "CPU, which other load does not change much"


def cpu(pid: int) -> float:
    """Seconds that a process has used, its start and all its threads with them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
