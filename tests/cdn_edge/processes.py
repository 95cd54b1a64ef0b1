"""An edge as a real process on ports of its own, and an origin for it on the project's own engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from stack.clock import eventually
from stack.http.message import Fields, Request, Response
from stack.net.server import Server
from stack.telemetry.exchange import Exchange
from tests.support.wire import serving

ROOT = Path(__file__).parents[2]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cache_status(self) -> str:
        return self.headers.get("cache-status", "")

    @property
    def is_hit(self) -> bool:
        return "edge; hit" in self.cache_status


class EdgeProcess:
    """`python -m cdn_edge` with a client."""

    def __init__(self, url: str, admin: str, client: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
        self.url, self.admin, self.client, self.process = url, admin, client, process

    async def ask(self, path: str = "/", method: str = "GET", **options: Any) -> Reply:
        options.setdefault("allow_redirects", False)
        async with self.client.request(method, URL(self.url + path, encoded=True), **options) as response:
            headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
            return Reply(response.status, headers, await response.read())

    async def purge(self, url: str) -> int:
        async with self.client.post(self.admin + "/-/purge", json={"url": url}) as response:
            assert response.status == 200
            return int((await response.json())["purged"])

    async def cache(self) -> dict[str, Any]:
        async with self.client.get(self.admin + "/-/stats") as response:
            return dict((await response.json())["cache"])

    async def metrics(self) -> str:
        async with self.client.get(self.admin + "/metrics") as response:
            return await response.text()

    async def is_ready(self) -> bool:
        assert self.process.poll() is None, "the edge has ended"
        with contextlib.suppress(aiohttp.ClientError):
            async with self.client.get(self.admin + "/-/ready") as response:
                return response.status == 200
        return False


def bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


@contextlib.asynccontextmanager
async def edge(
    origin: str,
    *flags: str,
    home: Path,
    scheme: str = "http",
    killed: bool = False,
    prepare: Callable[[], None] | None = None,
    stderr: int | None = None,
) -> AsyncIterator[EdgeProcess]:
    """Started on free ports, ready; stopped with TERM, which must end well.

    `killed`: stopped with SIGKILL, if it is not yet. `prepare` runs in the process before it is one.
    """
    with bound() as sock, bound() as admin:
        port, admin_port = sock.getsockname()[1], admin.getsockname()[1]
        process = subprocess.Popen(
            [
                sys.executable, "-m", "cdn_edge", "--listen", f"{scheme}+fd://{sock.fileno()}",
                "--admin", f"http+fd://{admin.fileno()}", "--origin", origin, "--access-log", "off", *flags,
            ],
            cwd=ROOT, pass_fds=[sock.fileno(), admin.fileno()], env={**os.environ, "HOPSTACK_HOME": str(home)},
            preexec_fn=prepare, stderr=stderr,
        )  # fmt: skip
    try:
        timeout = aiohttp.ClientTimeout(total=20)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as client:
            urls = (f"{scheme}://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}")
            running = EdgeProcess(*urls, client, process)
            await eventually(running.is_ready, within=20.0)
            yield running
        process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
        await asyncio.get_running_loop().run_in_executor(None, process.wait, 15)
        assert process.returncode == (-signal.SIGKILL if killed else 0)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass
class Origin:
    """What was asked of it."""

    port: int = 0
    seen: list[Request] = field(default_factory=list)

    server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def die(self) -> None:
        assert self.server is not None
        await self.server.close()


Answer = Callable[[Request], Response]


@contextlib.asynccontextmanager
async def origin(answer: Answer) -> AsyncIterator[Origin]:
    state = Origin()

    def handle(request: Request, _: Exchange) -> Response:
        state.seen.append(request)
        return answer(request)

    async with serving(handle) as (service, server):
        state.port, state.server = service.port, server
        yield state


def cacheable(body: bytes, *, max_age: int = 60, more: Fields | None = None, status: int = 200) -> Response:
    fields = [(b"cache-control", b"max-age=%d" % max_age), (b"content-type", b"text/plain")]
    return Response(status, [*fields, *(more or [])], body)
