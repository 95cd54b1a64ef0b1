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

from stack.clock import SystemClock, eventually
from stack.http.message import Request, Response
from tests.cdn_edge.processes import ROOT, EdgeProcess, Reply, cacheable, edge, origin
from tests.cdn_edge.ranged import File

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


PART = 65_536
LARGE_FLAGS = ("--cache-slice", "64K", "--cache-slice-from", "128K")


class LargeTurns:
    """Each 200 is another version, with another tag; ranges are of the version that was sent last."""

    def __init__(self, size: int, *, tags: bool = True) -> None:
        self.size, self.tags, self.made = size, tags, Counter[str]()
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Response:
        path = request.target.decode()
        if request.method == b"GET" and request.get(b"range") is None:
            self.made[path] += 1
        turn = self.made[path]
        file = File(
            SystemClock(), content(path, turn, self.size), tag=f'"{turn}"' if self.tags else '"same"', chunk=50_000
        )
        file.head = f"Cache-Control: max-age=3600\nAccept-Ranges: bytes\nX-Turn: {turn}"
        self.asked.append(request.method.decode() + " " + (request.get(b"range") or b"all").decode())
        return file(request)


async def test_large_content_is_of_one_version_over_kills(tmp_path: Path) -> None:
    """What comes whole is of the version that its head names, byte by byte."""
    size = 12 * PART + 77
    turns, chosen, seen = LargeTurns(size), random.Random(3), Counter[str]()
    paths = [f"/{size}/{number}" for number in range(4)]
    flags = ("--cache-disk", str(tmp_path / "cache"), "--cache-disk-size", "16M", "--cache-size", "1M", *LARGE_FLAGS)

    async def one(front: EdgeProcess, path: str, headers: dict[str, str]) -> None:
        async with front.client.get(front.url + path, headers=headers) as response:
            assert response.status in (200, 206), await response.text()
            whole = content(path, int(response.headers["x-turn"]), size)
            first = 0
            if response.status == 206:
                first = int(response.headers["content-range"].split()[1].partition("-")[0])
            got = b""
            try:
                async for piece in response.content.iter_any():
                    got += piece
                seen["whole"] += 1
            except (aiohttp.ClientError, ConnectionError):
                seen["cut"] += 1
            assert whole[first : first + len(got)] == got, f"{path}: mixed"
            seen["disk"] += "detail=disk" in response.headers["cache-status"]

    async def use_large(front: EdgeProcess, until: asyncio.Event, seed: int) -> None:
        own = random.Random(seed)
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while not until.is_set():
                headers = dict(HOST)
                if own.random() < 0.2:
                    headers["cache-control"] = "no-cache"
                elif own.random() < 0.5:
                    start = own.randrange(size)
                    headers["range"] = f"bytes={start}-{min(size, start + 3 * PART) - 1}"
                await one(front, own.choice(paths), headers)

    async with origin(turns) as behind:
        for number in range(4):
            until = asyncio.Event()
            async with edge(behind.url, *flags, home=tmp_path, killed=True) as front:
                users = [asyncio.ensure_future(use_large(front, until, number * 10 + each)) for each in range(4)]
                await asyncio.sleep(chosen.uniform(0.1, 0.5))
                front.process.kill()
                until.set()
                await asyncio.gather(*users)
        async with edge(behind.url, *flags, home=tmp_path) as front:
            for path in paths * 2:
                await one(front, path, HOST)
            cache = await front.cache()
    assert cache["disk"]["reads"].get("torn", 0) == 0
    assert cache["disk"]["reads"].get("read", 0) > 0
    assert cache["disk"]["bytes"] <= 16 * 1024 * 1024
    assert seen["disk"] > 0
    assert seen["whole"] > seen["cut"]


async def test_purged_large_content_stays_out_though_its_tag_stays(tmp_path: Path) -> None:
    """The origin says that nothing has changed, and yet no byte of what was purged comes back."""
    size = 6 * PART + 5
    path = f"/{size}/film"
    turns = LargeTurns(size, tags=False)
    flags = ("--cache-disk", str(tmp_path / "cache"), *LARGE_FLAGS)
    async with origin(turns) as behind:
        for _ in range(2):
            async with edge(behind.url, *flags, home=tmp_path, killed=True) as front:
                await front.ask(path, headers=HOST)
                await eventually(lambda: written(front, 8))
                assert await front.purge(f"http://shop.test{path}") == 1
                front.process.kill()  # the moment it is answered
            async with edge(behind.url, *flags, home=tmp_path) as front:
                reply = await front.ask(path, headers=HOST)
                assert not reply.is_hit
                assert reply.body == content(path, turns.made[path], size)
                await front.purge(f"http://shop.test{path}")


async def test_a_film_is_served_from_disk_after_a_kill_without_being_held(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    path = f"/{size}/film"
    turns = LargeTurns(size)
    flags = ("--cache-disk", str(tmp_path / "cache"), "--cache-size", "16M")
    async with origin(turns) as behind:
        async with edge(behind.url, *flags, home=tmp_path, killed=True) as front:
            assert (await front.ask(path, headers=HOST)).body == content(path, 1, size)
            await eventually(lambda: written(front, 65), within=20.0)
            front.process.kill()
        async with edge(behind.url, *flags, home=tmp_path) as front:
            before = resident(front.process.pid)
            reply = await front.ask(path, headers=HOST)
            assert reply.is_hit
            assert reply.body == content(path, 1, size)
            grown = resident(front.process.pid) - before
            part = await front.ask(path, headers={**HOST, "range": "bytes=50000000-50000009"})
            assert part.body == content(path, 1, size)[50_000_000:50_000_010]
            disk = (await front.cache())["disk"]
    print(f"grown by {grown / 1024 / 1024:.0f} MB; {disk['reads']}")
    assert turns.asked == ["GET all"]
    assert grown < 32 * 1024 * 1024, "the memory of the cache, and what is on its way"


def resident(pid: int) -> int:
    """Bytes at most so far."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


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
