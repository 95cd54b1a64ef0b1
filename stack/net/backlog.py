"""Connections that the kernel has taken and the program has not: closing their listener would reset them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from stack.clock import settle
from stack.net.tasks import Tasks

MOST: Final = 4096
"""Connections taken at the end; a flood does not hold a hop that stops."""


class Backlog:
    """One listener's queue, held open a moment longer than the listener."""

    def __init__(
        self,
        listener: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
        handshake: float | None = None,
    ) -> None:
        self.socket = listener
        self.tls = tls
        self._factory, self._handshake = factory, handshake
        self._held = False

    def hold(self) -> None:
        """Call it before the listener is closed: uvloop closes a descriptor one turn of the loop later."""
        if not self._held:
            self._held = True
            self.socket = self.socket.dup()

    def release(self) -> None:
        """Close what is held. Who waits is reset."""
        if self._held:
            self.socket.close()

    def rescue(self, tasks: Tasks) -> list[asyncio.Task[None]]:
        """Take what waits, and close for good. A task ends when its connection is served."""
        taken: list[asyncio.Task[None]] = []
        with self.socket, contextlib.suppress(OSError):  # BlockingIOError: the queue is empty
            self.socket.setblocking(False)
            while len(taken) < MOST:
                connection, _ = self.socket.accept()
                connection.setblocking(False)
                taken.append(tasks.spawn(_serve(connection, self._factory, self.tls, self._handshake), name="rescued"))
        return taken


async def close_listeners(
    backlogs: list[Backlog], close: Callable[[], object], tasks: Tasks
) -> list[asyncio.Task[None]]:
    """Close listeners with `close`, and serve who had come before. The tasks of those connections."""
    for backlog in backlogs:
        backlog.hold()
    close()
    await settle(3)
    return [task for backlog in backlogs for task in backlog.rescue(tasks)]


async def _serve(
    connection: socket.socket,
    factory: Callable[[], asyncio.BaseProtocol],
    tls: ssl.SSLContext | None,
    handshake: float | None,
) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(
            factory, connection, ssl=tls, ssl_handshake_timeout=handshake if tls is not None else None
        )
    except OSError:  # the client has gone, or TLS failed: nobody waits for an answer
        connection.close()
