"""WebSocket through every hop: by Upgrade, by extended CONNECT, from a browser, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import websockets

from stack.clock import SystemClock, eventually
from stack.config.base import PoolLimits, UpstreamTimeouts
from stack.http.message import Request
from stack.net.pool import Pool, Upstream
from stack.net.tasks import Tasks
from stack.telemetry.exchange import Exchange
from tests.support.site import EDGE, Site
from tests.support.tunnels import Far, Pipe
from tests.support.websocket import TEXT, close, frame

HOPS = ("edge-fra", "lb-a", "proxy-1", "app-1")


@pytest.fixture
def running(sockets: Site) -> Site:
    return sockets


async def logged(running: Site, hop: str, query: str) -> dict[str, object]:
    def lines() -> list[dict[str, object]]:
        return [line for line in running.stack.log(hop) if line.get("query") == query]

    await eventually(lambda: len(lines()) == 1, within=10)
    return lines()[0]


async def test_messages_of_every_size_come_back(running: Site) -> None:
    random = os.urandom(10_000_000)
    async with running.socket("/echo?sizes", subprotocols=["chat"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "chat"
        for message in ("hello", b"", b"\0\1\2", "ü" * 50_000, random):
            await client.send(message)
            assert await client.recv() == message
        for number in range(1000):
            await client.send(f"many {number}")
        for number in range(1000):
            assert await client.recv() == f"many {number}"
        await client.close(4001, "done")
    await eventually(lambda: any(end["path"] == "sizes" for end in running.seen()["disconnects"]))
    [end] = [end for end in running.seen()["disconnects"] if end["path"] == "sizes"]
    assert end["code"] == 4001
    for hop in HOPS:
        line = await logged(running, hop, "sizes")
        assert line["status"] == 101
        assert line["upgrade"] == "websocket"
        assert line["bytes"] > 10_000_000  # type: ignore[operator]
        assert line["bytes_in"] > 10_000_000  # type: ignore[operator]
        assert "termination" not in line


async def test_by_extended_connect_over_http_2(running: Site) -> None:
    """RFC 8441: the same tunnel on a stream of the connection that pages come over."""
    context = ssl.create_default_context(cafile=str(running.stack.ca))
    context.set_alpn_protocols(["h2"])
    tasks = Tasks()
    pool = Pool(
        Upstream("edge", EDGE, running.stack.https, tls=context, server_name="site.test", protocol="h2"),
        limits=PoolLimits(),
        timeouts=UpstreamTimeouts(),
        clock=SystemClock(),
        tasks=tasks,
    )
    try:
        pipe = Pipe()
        request = Request(
            b"GET",
            b"/echo?h2",
            [(b"sec-websocket-version", b"13")],
            authority=b"site.test:%d" % running.stack.https,
            body=pipe,
            upgrade=b"websocket",
        )
        response = await pool.send(request, Exchange("client", SystemClock.now, request))
        assert response.status == 101
        tunnel = Far(response, pipe)
        pipe.write(frame(TEXT, b"over h2"))
        assert await tunnel.exactly(9) == b"\x81\x07over h2"
        pipe.write(close(1000))
        assert await tunnel.exactly(4) == b"\x88\x02\x03\xe8"
        pipe.end()
        assert await tunnel.rest() == b""
    finally:
        await pool.close()
        await tasks.close()
    line = await logged(running, "edge-fra", "h2")
    assert (line["proto"], line["status"], line["upgrade"]) == ("2", 101, "websocket")
    assert (await logged(running, "lb-a", "h2"))["proto"] == "1.1"


@pytest.mark.needs("chromium")
async def test_a_browser(running: Site, tmp_path: Path) -> None:
    """Chromium speaks WebSocket over HTTP/2 where the server takes it."""
    before = len(running.seen()["reports"])
    browser = subprocess.Popen(
        [
            "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--ignore-certificate-errors", f"--user-data-dir={tmp_path}", "--no-proxy-server",
            f"--host-resolver-rules=MAP site.test {EDGE}", "--remote-debugging-port=0",
            f"https://site.test:{running.stack.https}/page",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        await eventually(lambda: len(running.seen()["reports"]) > before, within=60)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
    report = running.seen()["reports"][before]
    assert report == {"said": ["hello", 3, "xxxxx"], "code": 4000, "clean": True, "protocol": "chat"}
    lines: list[dict[str, Any]] = []

    def logged() -> bool:
        seen = running.stack.log("edge-fra")
        lines[:] = [line for line in seen if line.get("path") == "/echo" and "query" not in line]
        return bool(lines)

    await eventually(logged, within=10)
    assert [(line["proto"], line["status"]) for line in lines] == [("2", 101)]


async def test_a_refusal_is_a_response(running: Site) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with running.socket("/refuse"):
            pass
    assert refused.value.response.status_code == 403
    assert "edge-fra" in refused.value.response.headers["via"]


async def test_the_app_closes_and_a_slow_reader_costs_no_memory(running: Site) -> None:
    """100 MB for a client that takes none of it at first: every hop holds what fits in its buffers."""
    async with running.socket("/pour", max_queue=1, compression=None) as client:
        await asyncio.sleep(1.0)
        before, held = running.rss(), running.seen()["poured"]
        await asyncio.sleep(1.0)
        assert running.seen()["poured"] == held < 10_000
        received = 0
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                received += len(await client.recv())
        after = running.rss()
    assert received == 100_000_000
    assert (client.close_code, client.close_reason) == (4444, "all poured")
    assert {hop: grown for hop in HOPS if (grown := after[hop] - before[hop]) > 30_000_000} == {}


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_vanishes_is_gone_at_the_app_at_once(running: Site, how: str) -> None:
    async with running.socket(f"/echo?{how}") as client:
        await client.send("here")
        await client.recv()
        if how == "reset":
            sock = client.transport.get_extra_info("socket")
            sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: RST
        gone = time.time()
        client.transport.abort()
        await eventually(lambda: any(end["path"] == how for end in running.seen()["disconnects"]), within=10)
    [end] = [end for end in running.seen()["disconnects"] if end["path"] == how]
    assert end["code"] == 1006
    assert end["at"] - gone < 1.0  # 100 ms on a machine of its own


async def test_an_app_that_is_restarted_says_so(running: Site) -> None:
    """1001: the client comes back, to the new process."""
    async with running.socket("/echo?restarted") as client:
        await client.send("here")
        await client.recv()
        restart = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stack", "restart", "app-1"),
            env=running.stack.env,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        with pytest.raises(websockets.ConnectionClosedOK):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1001, "the server is stopping")
        async with running.socket("/echo?again") as again:
            await again.send("back")
            assert await again.recv() == "back"
        assert await restart.wait() == 0


@pytest.mark.parametrize(("flags", "protocol"), [((), "HTTP/1.1"), (("--http2",), "HTTP/2")])
def test_a_handshake_is_traced(running: Site, flags: tuple[str, ...], protocol: str) -> None:
    stack = running.stack
    done = stack.hopstack("trace", f"wss://site.test:{stack.https}/echo", "--json", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = json.loads(done.stdout)["requests"]
    assert found["status"] == 101
    assert found["protocol"] == protocol
    assert {"edge-fra", "lb-a", "proxy-1", "app-1"} <= {span["name"] for span in found["spans"]}
    refused = stack.hopstack("trace", f"wss://site.test:{stack.https}/refuse", "--json", *flags)
    assert json.loads(refused.stdout)["requests"][0]["status"] == 403


async def test_tunnels_are_counted(running: Site) -> None:
    async with running.socket("/echo?counted") as client:
        await client.send("here")
        await client.recv()
        for hop in HOPS:
            admin = running.stack.hop(hop)["admin"]
            gauge = f'hopstack_tunnels{{hop="{hop}"}} 1'
            assert gauge in asked(f"{admin}/metrics") or hop == "app-1", hop
        lb = running.stack.hop("lb-a")["admin"]
        [backend] = json.loads(asked(f"{lb}/-/backends"))["backends"]
        assert backend["in_flight"] == 1
        app = running.stack.hop("app-1")["admin"]
        assert "websockets" in asked(f"{app}/-/stats")
    await eventually(lambda: json.loads(asked(f"{lb}/-/backends"))["backends"][0]["in_flight"] == 0)


def asked(url: str) -> str:
    return subprocess.run(["curl", "-sS", url], capture_output=True, text=True, check=True).stdout
