"""Each HTTP hop as a real process, alone, before an origin or with an ASGI app; and a client of raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from stack.clock import eventually
from tests.support.h1_cases import Case, Seen, raw
from tests.support.strict_origin import Received
from tests.support.wire import listener

ROOT = Path(__file__).parents[2]
INTERMEDIARIES = ("cdn_edge", "loadbalancer", "proxy")
ENOUGH = 15.0
"""Seconds for what is sure to come, on a slow machine."""

APP = '''
"""Reads every request to its end, tells a file what it saw, and answers."""
import json, pathlib

SEEN = pathlib.Path(__file__).with_name("seen")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, complete = b"", False
    while not complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message["body"]
        complete = not message["more_body"]
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    with SEEN.open("a") as file:
        line = {
            "client": scope["client"][0],
            "method": scope["method"],
            "target": (scope["raw_path"] + query).decode("latin-1"),
            "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "body": body.decode("latin-1"),
            "complete": complete,
        }
        file.write(json.dumps(line) + "\\n")
    if complete:
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"origin-ok\\n"})
'''


class Hop:
    """A hop that runs. `port` serves HTTP in the clear."""

    def __init__(self, port: int, admin: int, home: Path) -> None:
        self.port, self.admin, self.home = port, admin, home

    async def page(self, path: str) -> tuple[int, bytes]:
        """A page of the admin endpoint; 0 while there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        except OSError:
            return 0, b""
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        except OSError:
            return 0, b""
        finally:
            writer.close()
        return int(head.split()[1]) if head else 0, body

    async def ready(self) -> bool:
        return (await self.page("/-/ready"))[0] == 200

    def app_saw(self) -> list[tuple[str, Received]]:
        """The app server's app: each request with its client's address."""
        path = self.home / "seen"
        found = []
        for line in path.read_text().splitlines() if path.exists() else ():
            said = json.loads(line)
            fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said["fields"]]
            request = Received(
                said["method"].encode(), said["target"].encode("latin-1"), b"HTTP/1.1", fields,
                said["body"].encode("latin-1"), complete=said["complete"],
            )  # fmt: skip
            found.append((said["client"], request))
        return found


@contextlib.asynccontextmanager
async def hop(kind: str, home: Path, origin: int, *flags: str) -> AsyncIterator[Hop]:
    """`python -m KIND` before 127.0.0.1:`origin`; the app server with APP instead."""
    upstream = f"http://127.0.0.1:{origin}"
    ways = {
        "cdn_edge": ("--origin", upstream),
        "loadbalancer": (
            "--backend",
            f"origin={upstream}",
            "--check",
            "none",
            "--retries",
            "0",
            "--passive-fall",
            "1000000",
        ),
        "proxy": ("--upstream", f"origin={upstream}", "--health", ""),
        "appserver": ("--app", "application:app", "--app-dir", str(home)),
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "application.py").write_text(APP)
    sockets = [listener(), listener()]
    for sock in sockets:
        sock.listen(1024)
    front, admin = (f"http+fd://{sock.fileno()}" for sock in sockets)
    log = (home / "stderr").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", kind, "--name", "under-test", "--listen", front, "--admin", admin,
        "--state-dir", str(home / "state"), "--access-log", str(home / "access.log"), *ways[kind], *flags,
        cwd=ROOT, pass_fds=[sock.fileno() for sock in sockets], stderr=log, env={**os.environ},
    )  # fmt: skip
    log.close()
    running = Hop(sockets[0].getsockname()[1], sockets[1].getsockname()[1], home)
    for sock in sockets:
        sock.close()
    try:

        async def answers() -> bool:
            assert process.returncode is None, (home / "stderr").read_text()
            return await running.ready()

        await eventually(answers, within=30.0)
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


def address(number: int) -> str:
    """A loopback address that is one case's own: by it the origin knows whose a request is."""
    return f"127.77.{number // 250}.{number % 250 + 1}"


def host(number: int) -> bytes:
    """As long as the placeholder."""
    return b"h%05d.test" % number


class Client:
    """One connection to a hop. It reads all the time."""

    def __init__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self.reader, self.writer = reader, writer
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(2**18):
                self.seen.data += data
                self._came.set()
        except ConnectionError:
            pass
        self.seen.closed = True
        self._came.set()

    async def send(self, data: bytes) -> None:
        if not self.seen.closed:
            with contextlib.suppress(ConnectionError):
                self.writer.write(data)
                await self.writer.drain()

    def shut(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()

    async def until(self, count: int, *, within: float = ENOUGH, closed: bool = False) -> None:
        """`count` final responses whole (and the connection `closed`), or the end, or something odd."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    self._came.clear()
                    self.seen.read()
                    final = self.seen.final
                    whole = len(final) >= count and all(answer.complete for answer in final)
                    if self.seen.closed or self.seen.odd or (whole and not closed):
                        return
                    await self._came.wait()
        self.seen.read()

    async def close(self) -> None:
        self._task.cancel()
        self.writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._task


@contextlib.asynccontextmanager
async def client(port: int, *, source: str = "127.0.0.1", methods: Sequence[str] = ()) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), limit=2**20)
    made = Client(Seen(methods=methods), reader, writer)
    try:
        yield made
    finally:
        await made.close()


def pieces(case: Case, data: bytes, bytewise: bool) -> list[bytes]:
    """Byte by byte is so at both ends of what is long; its middle comes in larger ones."""
    if bytewise or case["split"] == "each":
        edge = 600
        if len(data) <= 2 * edge:
            return [data[at : at + 1] for at in range(len(data))]
        middle = [data[at : at + 1499] for at in range(edge, len(data) - edge, 1499)]
        middle[-1] = middle[-1][: len(data) - edge - (edge + 1499 * (len(middle) - 1))]
        tail = data[len(data) - edge :]
        return [*(data[at : at + 1] for at in range(edge)), *middle, *(tail[at : at + 1] for at in range(edge))]
    cuts = sorted({at + len(data) if at < 0 else at for at in case["split"]})
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def send_case(port: int, case: Case, number: int, *, bytewise: bool) -> Seen:
    data = raw(case).replace(b"corpus.test", host(number))
    parts = pieces(case, data, bytewise)
    assert b"".join(parts) == data
    async with client(port, source=address(number), methods=case["methods"] or _methods(data)) as one:
        for part in parts:
            await one.send(part)
            await asyncio.sleep(case["pause_ms"] / 1000 if len(parts) < 20 and not bytewise else 0)
        if case["half_close"]:
            one.shut()
        # what may stay silent is not waited for; what must close is
        silent = "timeout" in case["accept"]
        await one.until(
            case["min_final"] or 1, closed=case["close"] in ("must", "should"), within=2.0 if silent else ENOUGH
        )
        if not one.seen.closed and (case["max_final"] or case["close"] == "no"):
            await one.until(10**6, within=0.4)  # is there one response too many, or an end?
        return one.seen


def _methods(data: bytes) -> list[str]:
    return ["HEAD"] if data.startswith(b"HEAD ") else []
