"""A load balancer, and backends for it, as real processes on ports of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from stack.clock import eventually

ROOT = Path(__file__).parents[2]


def bound(port: int = 0) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class BackendProcess:
    """A backend that can be killed, and started again on its port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with bound(self.port) as sock:
            self.port = sock.getsockname()[1]
            script = str(Path(__file__).with_name("backend_process.py"))
            self._process = subprocess.Popen(
                [sys.executable, script, str(sock.fileno()), self.name], pass_fds=[sock.fileno()]
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def flag(self) -> str:
        return f"--backend={self.name}=http://127.0.0.1:{self.port}"


class Balancer:
    """`python -m loadbalancer` with a client."""

    def __init__(self, url: str, admin: str, client: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
        self.url, self.admin, self.client, self.process = url, admin, client, process

    async def get(self, path: str = "/", **options: Any) -> tuple[int, str]:
        async with self.client.get(self.url + path, **options) as response:
            return response.status, await response.text()

    async def post(self, path: str = "/", **options: Any) -> tuple[int, str]:
        async with self.client.post(self.url + path, **options) as response:
            return response.status, await response.text()

    async def states(self) -> dict[str, str]:
        return {name: state["state"] for name, state in (await self.backends()).items()}

    async def backends(self) -> dict[str, dict[str, Any]]:
        async with self.client.get(self.admin + "/-/backends") as response:
            return {state["name"]: state for state in (await response.json())["backends"]}

    async def operate(self, name: str, wish: str) -> dict[str, Any]:
        async with self.client.post(f"{self.admin}/-/backends/{name}/{wish}") as response:
            assert response.status == 200
            return dict(await response.json())

    async def ready(self) -> tuple[bool, str]:
        async with self.client.get(self.admin + "/-/ready") as response:
            return response.status == 200, await response.text()

    async def metrics(self) -> str:
        async with self.client.get(self.admin + "/metrics") as response:
            return await response.text()

    async def becomes(self, wanted: dict[str, str], *, within: float = 10.0) -> None:
        async def so() -> bool:
            states = await self.states()
            return all(states[name] == state for name, state in wanted.items())

        await eventually(so, within=within)


@contextlib.asynccontextmanager
async def balancer(*flags: str, home: Path, wait: bool = True) -> AsyncIterator[Balancer]:
    """Started on free ports; ready unless told not to wait. Stopped with TERM, which must end well."""
    with bound() as sock, bound() as admin:
        urls = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in (sock, admin)]
        process = subprocess.Popen(
            [
                sys.executable, "-m", "loadbalancer", "--listen", f"http+fd://{sock.fileno()}",
                "--admin", f"http+fd://{admin.fileno()}", "--name", "lb-a", "--access-log", "off", *flags,
            ],
            cwd=ROOT, pass_fds=[sock.fileno(), admin.fileno()], env={**os.environ, "HOPSTACK_HOME": str(home)},
        )  # fmt: skip
    try:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as client:
            running = Balancer(urls[0], urls[1], client, process)

            async def answers() -> bool:
                assert process.poll() is None, "the load balancer has ended"
                with contextlib.suppress(aiohttp.ClientError):
                    return (await running.ready())[0] or not wait
                return False

            await eventually(answers, within=20.0)
            yield running
        process.send_signal(signal.SIGTERM)
        await asyncio.get_running_loop().run_in_executor(None, process.wait, 15)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
