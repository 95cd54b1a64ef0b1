"""Hops as real processes one behind the other in the clear, and an app that is slow, large or patient as it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from stack.clock import eventually
from tests.support.wire import listener

ROOT = Path(__file__).parents[2]

APP = '''
import asyncio, pathlib, time
HERE = pathlib.Path(__file__).parent
PIECE = bytes(65536)


def note(word):
    """Seconds of the machine's monotonic clock, which all its processes share."""
    with (HERE / "notes").open("a") as file:
        file.write(f"{word} {time.monotonic()}\\n")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    size = int(path.rpartition("/")[2]) if path.startswith("/big/") else 2

    async def begin(length=None):
        headers = [(b"content-type", b"application/octet-stream"), (b"cache-control", b"no-store")]
        if path == "/store":
            headers[1] = (b"cache-control", b"max-age=60")
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    if path in ("/wait", "/store"):
        note("asked")
        if path == "/store":
            await begin()
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            note("gone")
        except asyncio.CancelledError:
            note("gone")
            raise
    elif path == "/drip":
        await begin()
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        note("asked")
        while (await receive())["type"] != "http.disconnect":
            pass
        note("gone")
    elif path == "/sink":
        note("asked")
        received, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                note("gone")
                return
            received += len(message["body"])
            more = message["more_body"]
        body = b"%d" % received
        await begin(len(body))
        await send({"type": "http.response.body", "body": body})
    else:
        await begin(size)
        while size:
            piece = PIECE[:size]
            size -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": size > 0})
'''


@dataclass(frozen=True)
class Running:
    kind: str
    port: int
    pid: int
    home: Path

    def resident(self) -> int:
        """Bytes of memory that it has now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most it ever had, or has had since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise LookupError(name)

    def notes(self) -> list[tuple[str, float]]:
        path = self.home / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], float(line.split()[1])) for line in lines]


@contextlib.asynccontextmanager
async def hop(
    kind: str, home: Path, behind: int, *flags: str, app: str = APP, scheme: str = "http", behind_scheme: str = "http"
) -> AsyncIterator[Running]:
    """`python -m KIND` before 127.0.0.1:`behind`; the app server serves `app`, in one process."""
    upstream = f"origin={behind_scheme}://127.0.0.1:{behind}"
    ways = {
        "cdn_edge": ("--origin", upstream.removeprefix("origin=")),
        "loadbalancer": ("--backend", upstream, "--check", "none"),
        "proxy": ("--upstream", upstream, "--health", ""),
        "appserver": ("--app", "patient:app", "--app-dir", str(home), "--workers", "0"),
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "patient.py").write_text(app)
    sock = listener()
    sock.listen(1024)
    log = (home / f"{kind}.stderr").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", kind, "--name", kind.replace("_", "-"), "--listen", f"{scheme}+fd://{sock.fileno()}",
        "--state-dir", str(home / "state"), "--access-log", str(home / f"{kind}.log"), *ways[kind], *flags,
        cwd=ROOT, pass_fds=[sock.fileno()], stderr=log, env={**os.environ},
    )  # fmt: skip
    log.close()
    running = Running(kind, sock.getsockname()[1], process.pid, home)
    sock.close()
    try:

        def ready() -> bool:
            said = (home / f"{kind}.stderr").read_text()
            assert process.returncode is None, said
            return " ready on " in said

        await eventually(ready, within=30.0)
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def chain(home: Path, *flags: str, h2: bool = False) -> AsyncIterator[dict[str, Running]]:
    """edge -> balancer -> proxy -> app. `h2`: also between them."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Running] = {}
        behind = 0
        for kind in ("appserver", "proxy", "loadbalancer", "cdn_edge"):
            inner = h2 and kind in ("loadbalancer", "cdn_edge")
            found[kind] = await stack.enter_async_context(
                hop(kind, home, behind, *flags, behind_scheme="h2c" if inner else "http")
            )
            behind = found[kind].port
        yield found
