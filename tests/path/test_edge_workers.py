"""Several processes answer for one edge: what is purged or changed is so in all of them before it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from stack.clock import eventually
from stack.http.message import Request, Response
from tests.cdn_edge.processes import ROOT, EdgeProcess, Origin, cacheable, edge, origin

KEPT = 600


class Shop:
    """An origin whose pages have a version: PUT /a raises it."""

    def __init__(self) -> None:
        self.versions: dict[bytes, int] = {}

    def answer(self, request: Request) -> Response:
        if request.method != b"GET":
            self.versions[request.target] = self.versions.get(request.target, 0) + 1
            return Response(204, [], b"")
        return cacheable(b"%d" % self.versions.get(request.target, 0), max_age=KEPT)


@contextlib.asynccontextmanager
async def running(home: Path, *flags: str) -> AsyncIterator[tuple[Shop, Origin, EdgeProcess]]:
    shop = Shop()
    async with origin(shop.answer) as behind, edge(behind.url, "--workers", "2", *flags, home=home) as front:
        yield shop, behind, front


async def stats(front: EdgeProcess) -> dict[str, Any]:
    async with front.client.get(front.admin + "/-/stats") as response:
        return dict(await response.json())


async def pids(front: EdgeProcess) -> list[int]:
    return [worker["pid"] for worker in (await stats(front))["workers"]]


async def once(front: EdgeProcess, path: str) -> tuple[bool, bytes]:
    """Over a connection of its own: whether the store answered, and with what."""
    async with front.client.get(front.url + path, headers={"connection": "close"}) as response:
        return "edge; hit" in response.headers.get("cache-status", ""), await response.read()


async def in_all(front: EdgeProcess, path: str) -> None:
    """Ask until every worker has it, and what is stored is all there is."""

    async def have() -> bool:
        await asyncio.gather(*(once(front, path) for _ in range(8)))
        return all(worker.get("cache", {}).get("objects") for worker in (await stats(front))["workers"])

    await eventually(have, within=20.0)


async def another(front: EdgeProcess, than: int) -> None:
    async def there() -> bool:
        workers = (await stats(front))["workers"]
        return than not in [one["pid"] for one in workers] and all(one["state"] == "ready" for one in workers)

    await eventually(there, within=20.0)


async def test_both_take_part_and_are_counted_as_one(tmp_path: Path) -> None:
    async with running(tmp_path, "--cache-size", "16M") as (_, behind, front):
        await in_all(front, "/a")
        told = await stats(front)
        each = [worker["cache"] for worker in told["workers"]]
        assert [worker["name"] for worker in told["workers"]] == ["edge/0", "edge/1"]
        assert len(behind.seen) == told["cache"]["misses"] >= 2
        assert [one["limit"] for one in each] == [8 << 20, 8 << 20]
        assert told["cache"]["limit"] == 16 << 20
        for word in ("objects", "hits", "misses", "bytes"):
            assert told["cache"][word] == sum(one[word] for one in each), word
        looked_up = re.search(r'cache_lookups_total\{result="hit"\} (\d+)', await front.metrics())
        assert looked_up is not None
        assert int(looked_up[1]) == (await stats(front))["cache"]["hits"]
        reply = await front.ask("/a")
        assert (reply.is_hit, "edge/" in str(reply.headers)) == (True, False)


async def test_a_purge_is_in_force_in_all_before_it_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as (shop, _, front):
        for version in range(1, 6):
            await in_all(front, "/a")
            shop.versions[b"/a"] = version
            assert await front.purge(front.url + "/a") == 2
            told = await asyncio.gather(*(once(front, "/a") for _ in range(12)))
            assert {content for _, content in told} == {b"%d" % version}


async def test_what_an_unsafe_method_changes_is_in_force_in_all_under_load(tmp_path: Path) -> None:
    async with running(tmp_path) as (shop, _, front):
        done, stale, asked = asyncio.Event(), list[tuple[int, int]](), 0

        async def reading() -> None:
            nonlocal asked
            while not done.is_set():
                known = answered
                _, content = await once(front, "/a")
                asked += 1
                if int(content) < known:
                    stale.append((known, int(content)))

        answered = 0
        readers = [asyncio.ensure_future(reading()) for _ in range(6)]
        for _ in range(60):
            assert (await front.ask("/a", "PUT", headers={"connection": "close"})).status == 204
            answered = shop.versions[b"/a"]
        done.set()
        await asyncio.gather(*readers)
        assert stale == []
        assert asked > 60
        assert all(worker["cache"]["hits"] for worker in (await stats(front))["workers"])


async def test_a_fetch_under_way_in_another_worker_is_not_kept(tmp_path: Path) -> None:
    held: list[asyncio.Future[None]] = []

    async def slow(began: asyncio.Future[None]) -> AsyncIterator[bytes]:
        yield b"old"
        await began

    def answer(request: Request) -> Response:
        if request.get(b"x-slow") is None:
            return cacheable(b"new", max_age=KEPT)
        held.append(asyncio.get_running_loop().create_future())
        response = cacheable(b"", max_age=KEPT)
        response.body = _Stream(slow(held[-1]))
        return response

    async with origin(answer) as behind, edge(behind.url, "--workers", "2", home=tmp_path) as front:

        async def under_way() -> bytes:
            async with front.client.get(front.url + "/a", headers={"x-slow": "1", "connection": "close"}) as response:
                return await response.read()

        fetches = [asyncio.ensure_future(under_way()) for _ in range(8)]
        await eventually(lambda: len(held) == 8)
        assert await front.purge(front.url + "/a") == 0
        for one in held:
            one.set_result(None)
        assert set(await asyncio.gather(*fetches)) == {b"old"}
        told = await asyncio.gather(*(once(front, "/a") for _ in range(12)))
        assert {content for _, content in told} == {b"new"}


class _Stream:
    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Any:
        return self._pieces

    async def aclose(self) -> None:
        await self._pieces.aclose()


async def test_one_that_dies_comes_back_and_the_other_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as (shop, _, front):
        await in_all(front, "/a")
        first, second = await pids(front)
        os.kill(first, signal.SIGKILL)
        shop.versions[b"/a"] = 1
        await front.purge(front.url + "/a")
        await another(front, first)
        assert second in await pids(front)
        told = await asyncio.gather(*(once(front, "/a") for _ in range(12)))
        assert {content for _, content in told} == {b"1"}


async def test_one_that_hangs_holds_up_no_purge(tmp_path: Path) -> None:
    async with running(tmp_path) as (shop, _, front):
        await in_all(front, "/a")
        first, _ = await pids(front)
        os.kill(first, signal.SIGSTOP)
        shop.versions[b"/a"] = 1
        assert await front.purge(front.url + "/a") == 1
        assert not Path(f"/proc/{first}").exists() or "Z" in Path(f"/proc/{first}/stat").read_text().split()[2]
        await another(front, first)
        told = await asyncio.gather(*(once(front, "/a") for _ in range(12)))
        assert {content for _, content in told} == {b"1"}


async def test_what_a_dead_workers_disk_has_is_not_believed(tmp_path: Path) -> None:
    disk = ("--cache-disk", str(tmp_path / "disk"), "--cache-disk-size", "64M")
    async with running(tmp_path, *disk) as (shop, _, front):
        await in_all(front, "/a")

        async def written() -> bool:
            return all(one["cache"]["disk"]["objects"] for one in (await stats(front))["workers"])

        await eventually(written, within=20.0)
        first, second = await pids(front)
        os.kill(second, signal.SIGSTOP)  # nor does the purge find it alive
        os.kill(second, signal.SIGKILL)
        shop.versions[b"/a"] = 1
        assert await front.purge(front.url + "/a") in (1, 2)
        await another(front, second)
        assert first in await pids(front)
        told = await asyncio.gather(*(once(front, "/a") for _ in range(12)))
        assert {content for _, content in told} == {b"1"}
        assert sorted(path.name for path in (tmp_path / "disk" / "edge").iterdir()) == ["0", "1"]


async def test_reload_and_the_end_lose_no_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, front):
        await in_all(front, "/a")
        before, done = await pids(front), asyncio.Event()

        async def asking() -> int:
            count = 0
            while not done.is_set():
                assert (await once(front, "/a"))[1] == b"0"
                count += 1
            return count

        asking_all = [asyncio.ensure_future(asking()) for _ in range(4)]
        for _ in range(5):
            front.process.send_signal(signal.SIGHUP)
            await once(front, "/a")
        await eventually(lambda: _reloaded(front), within=10.0)
        done.set()
        assert min(await asyncio.gather(*asking_all)) > 0
        assert await pids(front) == before
        assert (await once(front, "/a"))[0]  # the stores are as they were

        # what is under way when it is to end is answered
        async with front.client.get(front.url + "/b") as response:
            front.process.send_signal(signal.SIGTERM)
            assert await response.read() == b"0"
        await asyncio.get_running_loop().run_in_executor(None, front.process.wait, 15)
        assert front.process.returncode == 0


async def _reloaded(front: EdgeProcess) -> bool:
    return bool((await stats(front))["reloads"])


async def test_explain_asks_all_and_says_where_they_differ(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, front):
        assert not (await once(front, "/a"))[0]
        async with front.client.get(front.admin + "/-/explain", params={"url": front.url + "/a"}) as response:
            told = await response.json()
        assert sorted(one["lookup"] for one in told["workers"]) == ["hit", "uri-miss"]
        assert (told["lookup"], told["edge"]) == ("hit", "edge")
        command = [sys.executable, "-m", "stack", "explain", front.url + "/a", "--admin", front.admin]
        said = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert "edge: HIT" in said.stdout
        assert re.search(r"  Workers +edge/0: ", said.stdout), said.stdout
        assert re.search(r"edge/\d: HIT, fresh for another ", said.stdout), said.stdout
        assert re.search(r"edge/\d: MISS, uri-miss", said.stdout), said.stdout
        assert "They differ" in said.stdout


async def test_a_fault_is_in_all_and_goes_from_all(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, front):
        fault = json.dumps({"on": "edge", "status": 503, "name": "down"})
        async with front.client.post(front.admin + "/-/faults", data=fault) as response:
            assert response.status == 201, await response.text()
        statuses = {(await front.ask("/a", headers={"connection": "close"})).status for _ in range(12)}
        assert statuses == {503}
        async with front.client.delete(front.admin + "/-/faults/down") as response:
            assert response.status == 200
        statuses = {(await front.ask("/a", headers={"connection": "close"})).status for _ in range(12)}
        assert statuses == {200}


async def test_all_together_keep_to_the_bound(tmp_path: Path) -> None:
    def answer(_: Request) -> Response:
        return cacheable(os.urandom(64 * 1024), max_age=KEPT)

    async with (
        origin(answer) as behind,
        edge(behind.url, "--workers", "2", "--cache-size", "8M", home=tmp_path) as front,
    ):
        for at in range(0, 400, 16):
            await asyncio.gather(*(once(front, f"/{number}") for number in range(at, at + 16)))
        told = await stats(front)
        assert told["cache"]["objects"] < 200
        assert 4 << 20 < told["cache"]["bytes"] <= 8 << 20


async def test_options_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cdn_edge", "--listen", "http://127.0.0.1:0", "--workers", "4"]
    more = ["--origin", "http://127.0.0.1:1", "--cache-disk", str(tmp_path), "--cache-disk-size", "32M"]
    for options, wanted in ((more, "--cache-disk-size: wanted at least 64M"), ([], "give it as --origin")):
        done = await asyncio.to_thread(
            subprocess.run, [*command, *options], capture_output=True, text=True, cwd=ROOT, timeout=60
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert wanted in done.stderr
