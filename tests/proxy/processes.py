"""A real `python -m proxy` with curl as its client, and an app inside the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.clock import eventually
from tests.support.wire import listener

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reply:
    """What curl saw: `code` is its exit status, 0 for a response that came whole."""

    code: int
    status: int
    fields: dict[str, str]
    body: bytes


class Proxy:
    def __init__(self, process: asyncio.subprocess.Process, port: int, admin_port: int, home: Path) -> None:
        self.process = process
        self.port = port
        self._admin_port = admin_port
        self.home = home
        self.ca = home / "ca.pem"

    async def curl(self, path: str, *flags: str, within: float = 20.0) -> Reply:
        """`--compressed` and the like go to curl; the body comes decoded then."""
        curl = await self.start_curl(path, "--include", "--http1.1", *flags)
        async with asyncio.timeout(within):
            out, _ = await curl.communicate()
        head, _, body = out.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        return Reply(curl.returncode or 0, int(lines[0].split()[1]) if lines[0] else 0, fields, body)

    async def start_curl(self, path: str, *flags: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "curl", "--silent", "--path-as-is", "--cacert", str(self.ca), "--max-time", "20",
            "--resolve", f"shop.test:{self.port}:127.0.0.1", *flags, f"https://shop.test:{self.port}{path}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def admin(self, path: str) -> tuple[int, bytes]:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._admin_port)
        except OSError:
            return 0, b""
        try:
            writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
            answer = await reader.read()
        except OSError:
            return 0, b""
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    async def ready(self) -> bool:
        return (await self.admin("/-/ready"))[0] == 200

    async def not_ready(self) -> bool:
        return (await self.admin("/-/ready"))[0] == 503

    async def stats(self) -> Any:
        return json.loads((await self.admin("/-/stats"))[1])

    def log(self) -> list[dict[str, Any]]:
        """The access log so far."""
        path = self.home / "access.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.asynccontextmanager
async def proxy(
    app_port: int | None, *flags: str, home: Path, ready: bool = True, scheme: str = "http"
) -> AsyncIterator[Proxy]:
    """In front of an app on `app_port`, or of none; with `ready` it waits until the app's health was seen."""
    sockets = [listener(), listener()]
    for sock in sockets:
        sock.listen(128)
    front, admin = sockets
    command = [
        sys.executable, "-m", "proxy", "--name", "proxy-1", "--listen", f"https+fd://{front.fileno()}",
        "--admin", f"http+fd://{admin.fileno()}",
        *(() if app_port is None else ("--upstream", f"app-1={scheme}://127.0.0.1:{app_port}")),
        "--state-dir", str(home), "--server-names", "shop.test", "--health-interval", "100ms",
        "--access-log", str(home / "access.log"), *flags,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, pass_fds=[front.fileno(), admin.fileno()], env={**os.environ, "PYTHONWARNINGS": "default"}
    )
    running = Proxy(process, _port(front), _port(admin), home)
    for sock in sockets:
        sock.close()  # so that nobody listens once the process is gone
    try:

        async def answers() -> bool:
            if process.returncode is not None:
                raise AssertionError(f"the proxy ended with {process.returncode}")
            return await (running.ready() if ready else running.not_ready())

        await eventually(answers, within=20.0)
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


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])
