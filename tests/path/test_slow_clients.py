"""300 clients that send their heads slowly, 300 their content, and 300 that read slowly, at once: slowhttptest's.

The hop drops all of them within its limits, which are set short here, and others are served meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from pathlib import Path

import pytest

from tests.support.chain import Running, hop

COUNT = 300
LONGEST = 40
"""Seconds after which slowhttptest gives up: the hop has not dropped its clients."""
SHORT = (
    "--timeouts-head", "2", "--timeouts-body", "2", "--timeouts-send", "2", "--timeouts-send-rate", "100000",
    "--timeouts-idle", "2",
)  # fmt: skip
MODES = {
    "heads": ("-H", "-i", "1", "-t", "GET"),
    "bodies": ("-B", "-i", "1", "-s", "8192"),
    "readers": ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "1024"),
}
TARGETS = {"heads": "/small", "bodies": "/sink", "readers": "/big/4000000"}


async def attack(mode: str, port: int) -> str:
    """slowhttptest's last word."""
    process = await asyncio.create_subprocess_exec(
        "slowhttptest", *MODES[mode], "-c", str(COUNT), "-r", str(COUNT), "-l", str(LONGEST),
        "-u", f"http://127.0.0.1:{port}{TARGETS[mode]}", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.decode())
    return plain.partition("Exit status:")[2].strip()


async def ask(port: int) -> tuple[bytes, float]:
    """A good client's request: the status line of the answer, and the seconds it took."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
    finally:
        writer.close()
    return answer.partition(b"\r\n")[0], time.monotonic() - began


async def besieged(running: Running) -> None:
    attacks = [asyncio.create_task(attack(mode, running.port)) for mode in MODES]
    answers = []
    while not all(task.done() for task in attacks):
        answers.append(await asyncio.wait_for(ask(running.port), 10))
        await asyncio.sleep(0.05)
    assert [task.result() for task in attacks] == ["No open connections left"] * len(MODES)
    assert {status for status, _ in answers} == {b"HTTP/1.1 200 OK"}
    assert len(answers) > 10
    print(f"{running.kind}: the longest of {len(answers)} took {max(took for _, took in answers):.2f} s")


def logged(path: Path) -> list[tuple[int, str]]:
    found = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return [(line["status"], line.get("termination", "")) for line in found]


@pytest.mark.needs("slowhttptest")
@pytest.mark.parametrize("kind", ["cdn_edge", "loadbalancer", "proxy", "appserver"])
async def test_slow_clients_are_dropped_and_others_served(tmp_path: Path, kind: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        flags = SHORT if kind == "appserver" else ()
        running = app = await stack.enter_async_context(hop("appserver", tmp_path, 0, *flags))
        if kind != "appserver":
            running = await stack.enter_async_context(hop(kind, tmp_path, app.port, *SHORT))
        await besieged(running)
        seen = logged(tmp_path / f"{kind}.log")
    assert seen.count((408, "refused")) >= COUNT * 0.9, "slow heads"
    assert seen.count((408, "")) >= COUNT * 0.9, "slow bodies"
    assert seen.count((200, "timeout")) >= COUNT * 0.9, "slow readers"


AIOHTTP = """
from aiohttp import web


async def small(request):
    return web.Response(text="ok")


async def sink(request):
    return web.Response(text=str(len(await request.read())))


async def big(request):
    return web.Response(body=bytes(4000000))


app = web.Application()
app.add_routes([web.get("/small", small), web.post("/sink", sink), web.get("/big/4000000", big)])
"""


@pytest.mark.needs("slowhttptest")
async def test_an_aiohttp_app_has_the_same_bounds(tmp_path: Path) -> None:
    async with hop("appserver", tmp_path, 0, *SHORT, app=AIOHTTP) as running:
        await besieged(running)
