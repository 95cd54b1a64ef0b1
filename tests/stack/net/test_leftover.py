"""An answer that is still in the kernel when a write meets the reset behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from stack.net.leftover import leftover


class Reader(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        raise AssertionError("reading is paused")

    def connection_lost(self, exc: BaseException | None) -> None:
        assert self.transport is not None
        self.lost.set_result(leftover(self.transport))


async def lose() -> bytes:
    """The peer answers and resets, because it has not read; here a write finds out first."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Reader, *listening.getsockname())
        transport.pause_reading()
        transport.write(b"content")
        peer, _ = listening.accept()
        peer.recv(1)
        peer.sendall(b"an answer")
        peer.close()
        for _ in range(1000):
            if protocol.lost.done():
                break
            transport.write(b"more")
            await asyncio.sleep(0.001)
        return await asyncio.wait_for(protocol.lost, 10)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_came_before_the_reset_is_read(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(lose()) == b"an answer"
