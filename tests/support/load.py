"""Requests without end, over kept-alive connections and over new ones; nothing is sent twice, so nothing is covered up."""

from __future__ import annotations

import asyncio
import itertools
import random


class Load:
    """Plain HTTP/1.1. A request that was sent and not answered as wanted is lost; so is a refused connection."""

    def __init__(self, host: str, port: int, name: str, *, kept: int = 4, new: int = 2, seed: int = 1) -> None:
        self._place, self._name = (host, port), name
        self._kept, self._new = kept, new
        self.answered = 0
        self.lost: list[str] = []
        self._random = random.Random(seed)
        self._number = itertools.count()
        self._ending = False
        self._task: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Load:
        clients = [self._client(keep=number < self._kept) for number in range(self._kept + self._new)]
        self._task = asyncio.ensure_future(asyncio.gather(*clients))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        assert self._task is not None
        await self._task

    async def _client(self, *, keep: bool) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._ending:
            method = self._random.choice(("GET", "GET", "GET", "POST"))
            try:
                if connection is None:
                    connection = await asyncio.wait_for(asyncio.open_connection(*self._place), 10)
                if not await self._request(method, *connection, keep=keep):
                    connection[1].close()
                    connection = None
            except Exception as error:
                self.lost.append(f"{method} {'kept' if keep else 'new'} {error!r}")
                if connection is not None:
                    connection[1].close()
                connection = None
            await asyncio.sleep(self._random.choice((0.001, 0.01, 0.03, 0.1)))
        if connection is not None:
            connection[1].close()

    async def _request(
        self, method: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool
    ) -> bool:
        """Whether the connection may be used again."""
        content = "Content-Length: 5\r\n" if method == "POST" else ""
        close = "" if keep else "Connection: close\r\n"
        path = f"/load?{next(self._number)}"
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {self._name}\r\n{content}{close}\r\n{'hello' if content else ''}".encode()
        )
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        await reader.readexactly(int(fields["content-length"]))
        if head.startswith("http/1.1 200"):
            self.answered += 1
        else:
            self.lost.append(f"{method} {head.splitlines()[0]}")
        return keep and fields.get("connection") != "close"
