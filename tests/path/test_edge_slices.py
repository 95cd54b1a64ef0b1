"""Large objects through a real edge: in slices, never two versions in one response, memory bounded."""

from __future__ import annotations

import asyncio
import random
import subprocess
from pathlib import Path

import aiohttp
import pytest

from stack.clock import SystemClock
from tests.cdn_edge.processes import EdgeProcess, edge, origin
from tests.cdn_edge.ranged import File, counted

SLICE = 16_384
FLAGS = ("--cache-slice", "16K", "--cache-slice-from", "32K")


def of(file: File) -> File:
    file.head = "Cache-Control: max-age=1\nAccept-Ranges: bytes\nContent-Type: application/octet-stream"
    return file


async def test_no_response_mixes_two_versions_of_an_object_that_changes(tmp_path: Path) -> None:
    """What is of one version comes whole, or is visibly cut."""
    length = 12 * SLICE + 100
    versions = {f'"{number}"': counted(length, number) for number in range(20)}
    file = of(File(SystemClock(), versions['"0"'], tag='"0"', chunk=5_000))
    whole: list[str] = []
    cut: list[str] = []
    done = asyncio.Event()

    async def client(front: EdgeProcess, seed: int) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            start = chance.randrange(length)
            stop = min(length, start + chance.choice((10, 3 * SLICE, length)))
            ranged = chance.random() < 0.8
            headers = {"range": f"bytes={start}-{stop - 1}"} if ranged else {}
            if chance.random() < 0.1:
                headers["cache-control"] = "no-cache"
            async with front.client.get(front.url + "/big", headers=headers) as response:
                content = versions[response.headers["etag"]]
                if response.status == 206:
                    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{length}"
                    content = content[start:stop]
                got = b""
                try:
                    async for piece in response.content.iter_any():
                        got += piece
                    assert got == content
                    whole.append(response.headers["etag"])
                except aiohttp.ClientPayloadError:
                    assert content.startswith(got)
                    assert len(got) < len(content)
                    cut.append(response.headers["etag"])

    async def change() -> None:
        for tag, content in versions.items():
            file.content, file.tag, file.matches = content, tag, not file.matches
            await asyncio.sleep(0.15)
        done.set()

    async with origin(file) as behind, edge(behind.url, *FLAGS, "--cache-size", "256K", home=tmp_path) as front:
        await asyncio.wait_for(asyncio.gather(change(), *(client(front, seed) for seed in range(4))), 60)
    assert len(whole) > len(cut)
    assert len(set(whole)) > 3
    assert any(asked.get(b"if-match") for asked in behind.seen)


@pytest.mark.needs("curl")
async def test_a_download_is_taken_up_again_from_what_has_come(tmp_path: Path) -> None:
    file = of(File(SystemClock(), counted(20 * SLICE + 7), chunk=5_000))
    file.head = file.head.replace("max-age=1", "max-age=60")
    part = tmp_path / "part"
    async with origin(file) as behind, edge(behind.url, *FLAGS, home=tmp_path) as front:
        async with front.client.get(front.url + "/big") as response:
            part.write_bytes(await response.content.readexactly(6 * SLICE + 5))
            response.close()  # the client leaves in the middle
        command = ["curl", "-s", "-C", "-", "-o", str(part), front.url + "/big"]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=30)
        assert part.read_bytes() == file.content
        assert file.served[0] == "all 200"
        assert "all 200" not in file.served[1:]
        again = await front.ask("/big")
        assert (again.body, again.is_hit) == (file.content, True)


async def test_many_clients_of_what_is_larger_than_the_memory(tmp_path: Path) -> None:
    """Each slice is fetched for all who wait for it, a slow client holds a slice or two, and the bound holds."""
    size, memory = 24_000_000, 8_000_000
    file = of(File(SystemClock(), counted(size), chunk=65_536))
    file.head = file.head.replace("max-age=1", "max-age=60")
    flags = ("--cache-slice", "256K", "--cache-slice-from", "1M", "--cache-size", str(memory))
    async with origin(file) as behind, edge(behind.url, *flags, home=tmp_path) as front:
        await front.ask("/small")
        before = _memory(front.process.pid)

        async def reads(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(12):
                start = int(chance.random() ** 2 * (size - 600_000))
                reply = await front.ask("/big", headers={"range": f"bytes={start}-{start + 599_999}"})
                assert reply.body == file.content[start : start + 600_000]

        async def slow() -> None:
            async with front.client.get(front.url + "/big") as response:
                got = await response.content.readexactly(300_000)
                await asyncio.sleep(1.5)
                got += await response.read()
                assert got == file.content

        await asyncio.wait_for(asyncio.gather(slow(), *(reads(seed) for seed in range(6))), 60)
        cache = await front.cache()
        assert 0 < cache["bytes"] <= cache["limit"] == memory
        assert cache["pending"] == 0
        grown = _memory(front.process.pid) - before
        assert grown < 2 * memory, f"{grown / 1e6:.1f} MB for a store of {memory / 1e6:.0f} MB"


def _memory(pid: int) -> int:
    """The most that the process has had in memory, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError
