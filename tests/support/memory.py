"""Two protocols back to back without sockets: every byte moves when a test says so, in pieces of the sizes that it says.

A `Link` has two ends, each an `asyncio.Transport`. What one end writes waits until `move` brings some of it over. So a
test, or hypothesis, chooses how the stream is split, who is slow, and in which moment a side closes or resets.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import Any, Final, cast

HIGH: Final = 64 * 1024
"""Bytes unsent above which an end tells its protocol to pause."""


class End(asyncio.Transport):
    """One end of a link, as its protocol sees it."""

    def __init__(self, link: Link, name: str) -> None:
        super().__init__()
        self.link, self.name = link, name
        self.protocol: asyncio.Protocol
        self.other: End
        self.out = bytearray()
        """Written, and not yet brought over."""
        self.eof_due = False
        """Our FIN follows `out`."""
        self.reading = True
        self.full = False
        self.closing = False
        self.lost = False

    # asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_due or self.closing, "written after write_eof"
        if self.closing or self.lost:
            return
        self.out += data
        if len(self.out) > HIGH and not self.full:
            self.full = True
            self.protocol.pause_writing()

    def writelines(self, data: Any) -> None:
        self.write(b"".join(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_due = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.eof_due = True
            if not self.out:
                self.link.loop.call_soon(self.lose, None)

    def abort(self) -> None:
        if not self.lost:
            self.closing = True
            self.out.clear()
            self.eof_due = False
            self.link.loop.call_soon(self.lose, None)
            self.link.loop.call_soon(self.other.lose, ConnectionResetError("reset"))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def get_write_buffer_size(self) -> int:
        return len(self.out)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 80)}.get(name, default)

    # What the link does.

    def lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = self.closing = True
        self.out.clear()
        self.protocol.connection_lost(error)
        self.link.ended(self)

    def fail(self, error: Exception) -> None:
        """Reading met an error, as RST is met: the transport closes now, its protocol hears of it in the next turn."""
        if not self.closing:
            self.closing = True
            self.link.loop.call_soon(self.lose, error)

    def receive(self, data: bytes) -> None:
        if not self.closing:
            self.protocol.data_received(data)

    def receive_eof(self) -> None:
        if not self.closing and not self.protocol.eof_received():
            self.close()

    def drained(self, count: int) -> None:
        del self.out[:count]
        if self.full and len(self.out) <= HIGH // 4:
            self.full = False
            self.protocol.resume_writing()


class Link:
    """A connection. `ends` are (who connected, who accepted)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.client, self.server = End(self, "client"), End(self, "server")
        self.client.other, self.server.other = self.server, self.client
        self.finished: dict[str, bool] = {"client": False, "server": False}
        """Whose FIN has been brought over."""

    def start(self, client: asyncio.Protocol, server: asyncio.Protocol) -> None:
        self.client.set_protocol(client)
        self.server.set_protocol(server)
        server.connection_made(self.server)
        client.connection_made(self.client)

    def ended(self, end: End) -> None:
        if not self.finished[end.name] and not end.other.lost:
            self.finished[end.name] = True
            self.loop.call_soon(end.other.receive_eof)

    @property
    def alive(self) -> bool:
        return not (self.client.lost and self.server.lost)

    def waiting(self, source: End) -> int:
        """Bytes that could be brought over from `source` now."""
        return len(source.out) if source.other.reading else 0

    def move(self, source: End, count: int) -> bool:
        """Bring at most `count` bytes over, and the end of the stream when all came. Whether anything happened."""
        target = source.other
        if source.lost or not target.reading:
            return False
        if target.lost:
            if source.out:  # a segment for a socket that is closed is answered by RST
                self.loop.call_soon(source.lose, ConnectionResetError("reset"))
                return True
            return False
        data = bytes(source.out[:count])
        if data:
            source.drained(len(data))
            target.receive(data)
        if not source.out and source.eof_due and not self.finished[source.name]:
            self.finished[source.name] = True
            target.receive_eof()
            if source.closing:
                self.loop.call_soon(source.lose, None)
            return True
        return bool(data)


class Network:
    """Stands in for `loop.create_connection`: a new link to a server's protocol, or an error, when the test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Callable[[], asyncio.Protocol]) -> None:
        self._loop, self._server = loop, server
        self.links: list[Link] = []
        self.arriving: collections.deque[tuple[asyncio.Future[None], Callable[[], asyncio.Protocol]]] = (
            collections.deque()
        )
        self.instant = True
        """Connections are made at once; otherwise by `connect`."""
        loop.create_connection = self._create  # type: ignore[method-assign,assignment]

    async def _create(self, factory: Callable[[], asyncio.Protocol], *_: object, **__: object) -> tuple[End, Any]:
        if not self.instant:
            turn: asyncio.Future[None] = self._loop.create_future()
            entry = (turn, factory)
            self.arriving.append(entry)
            try:
                await turn
            finally:
                if entry in self.arriving:
                    self.arriving.remove(entry)
        link = Link(self._loop)
        link.start(factory(), self._server())
        self.links.append(link)
        return link.client, link.client.protocol

    def connect(self, error: OSError | None = None) -> None:
        """The connection that has waited longest is made, or fails."""
        while self.arriving:
            turn, _ = self.arriving.popleft()
            if not turn.done():
                turn.set_result(None) if error is None else turn.set_exception(error)
                return

    @property
    def alive(self) -> list[Link]:
        return [link for link in self.links if link.alive]
