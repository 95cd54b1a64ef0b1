"""An app server as real processes, and clients that notice every lost request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stack.clock import eventually

ROOT = Path(__file__).parent.parent.parent

ASGI = """
import asyncio, os, pathlib, time
VERSION = b"@VERSION@"
HERE = pathlib.Path(__file__).parent
if (HERE / "crash").exists():
    os._exit(3)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                with (HERE / "shutdowns").open("a") as file:
                    file.write("x")
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.7)
    if scope["path"] == "/die":
        os._exit(4)
    if scope["path"] == "/hang":
        while True:
            time.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-pid", b"%d" % os.getpid())]})
    await send({"type": "http.response.body", "body": VERSION})
    if scope["path"] == "/later":
        await asyncio.sleep(0.5)
        (HERE / "done").write_text("done")
"""

AIOHTTP = """
import asyncio, os, pathlib
from aiohttp import web
VERSION = b"@VERSION@"
HERE = pathlib.Path(__file__).parent
if (HERE / "crash").exists():
    os._exit(3)

async def answer(request):
    if request.path == "/slow":
        await asyncio.sleep(0.7)
    if request.path == "/die":
        os._exit(4)
    return web.Response(body=VERSION, headers={"X-Pid": str(os.getpid())})

async def cleanup(app):
    yield
    with (HERE / "shutdowns").open("a") as file:
        file.write("x")

def app():
    application = web.Application()
    application.cleanup_ctx.append(cleanup)
    application.router.add_route("*", "/{tail:.*}", answer)
    return application
"""

WSGI = """
import atexit, os, pathlib, time
VERSION = b"@VERSION@"
HERE = pathlib.Path(__file__).parent
if (HERE / "crash").exists():
    os._exit(3)

@atexit.register
def ended():
    with (HERE / "shutdowns").open("a") as file:
        file.write("x")

class Later(list):
    def close(self):
        time.sleep(0.5)
        (HERE / "done").write_text("done")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(0.7)
    if path == "/die":
        os._exit(4)
    while path == "/hang":
        time.sleep(1)
    start_response("200 OK", [("X-Pid", str(os.getpid()))])
    return (Later if path == "/later" else list)([VERSION])
"""

SOURCES = {"asgi": ASGI, "aiohttp": AIOHTTP, "wsgi": WSGI}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class AppProcess:
    """`python -m appserver` with an app of its own in `directory`."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory, self.kind = directory, kind
        self.port, self.admin_port = free_port(), free_port()
        self.errors = directory / "stderr"
        self.process: asyncio.subprocess.Process | None = None

    def write(self, version: str) -> None:
        (self.directory / "application.py").write_text(SOURCES[self.kind].replace("@VERSION@", version))

    async def start(self, *flags: str) -> None:
        with self.errors.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "appserver", "--name", "app-1", "--listen", f"http://127.0.0.1:{self.port}",
                "--admin", f"http://127.0.0.1:{self.admin_port}", "--app", "application:app",
                "--app-dir", str(self.directory), "--access-log", "off", *flags,
                stdin=asyncio.subprocess.DEVNULL, stderr=errors, cwd=ROOT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOPSTACK_HOME": str(self.directory / "state")},
            )  # fmt: skip

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def wait(self, within: float = 20.0) -> int:
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), within)

    async def stats(self) -> dict[str, Any]:
        status, body = await get(self.admin_port, "/-/stats")
        assert status == 200
        return json.loads(body)  # type: ignore[no-any-return]

    async def pids(self) -> list[int]:
        return [worker["pid"] for worker in (await self.stats())["workers"]]

    async def is_ready(self) -> bool:
        try:
            return (await get(self.admin_port, "/-/ready"))[0] == 200
        except OSError:
            return False

    def said(self) -> str:
        return self.errors.read_text()


@asynccontextmanager
async def app_process(directory: Path, kind: str, *flags: str) -> AsyncIterator[AppProcess]:
    app = AppProcess(directory, kind)
    app.write("one")
    await app.start(*flags)
    try:
        await eventually(app.is_ready, within=20)
        yield app
    finally:
        if app.process is not None and app.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                app.process.kill()
            await app.process.wait()


async def get(port: int, path: str = "/") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        return int(head.split()[1]), body
    finally:
        writer.close()


class Load:
    """Clients with kept-alive connections that pause now and then. A request that was sent and not answered is lost.

    Nothing is sent twice: what a careful client would retry counts as lost here.
    """

    def __init__(self, port: int, *, clients: int = 20, requests: int = 500, path: str = "/", seed: int = 1) -> None:
        self.port, self.clients, self.requests, self.path = port, clients, requests, path
        self.sent = 0
        self.lost: list[str] = []
        self.refused = 0
        self.bodies: Counter[bytes] = Counter()
        self.pids: Counter[bytes] = Counter()
        self._random = random.Random(seed)

    @property
    def answered(self) -> int:
        return self.bodies.total()

    async def run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self.clients)))

    async def _client(self) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while self.sent < self.requests:
            if connection is None:
                try:
                    connection = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    self.refused += 1
                    return
            self.sent += 1
            if not await self._request(*connection):
                connection[1].close()
                connection = None
            await asyncio.sleep(self._random.choice((0, 0, 0.001, 0.02, 0.1)))
        if connection is not None:
            connection[1].close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used again."""
        try:
            writer.write(f"GET {self.path} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode())
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(fields["content-length"]))
        except Exception as error:
            self.lost.append(repr(error))
            return False
        if not head.startswith("http/1.1 200"):
            self.lost.append(head.split("\r\n")[0])
        self.bodies[body] += 1
        self.pids[fields["x-pid"].encode()] += 1
        return fields.get("connection") != "close"


async def signalled(app: AppProcess, number: int, done: Any) -> None:
    app.signal(number)
    await eventually(done, within=20)


HUP, TTIN, TTOU, TERM, KILL = signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTERM, signal.SIGKILL
