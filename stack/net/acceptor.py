"""Taking connections off one listening socket: not more than there is room for, and on after a lack of descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from stack.clock import Clock
from stack.net.room import Room
from stack.net.tasks import Tasks

log = logging.getLogger("hopstack.server")

BACKLOG: Final = 2048
BATCH: Final = 64
"""Connections taken in one turn of the loop; others that share the socket, and who is served, have theirs."""
PAUSE: Final = 0.5
"""Seconds without accepting after the system had no descriptor or memory for one more."""
MOST: Final = 4096
"""Connections taken at the end; a flood does not hold a hop that stops."""
UNSENT: Final = 128 * 1024
"""Bytes that the kernel takes beyond what is on its way."""
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_AGAIN: Final = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR})
"""The fault of this one connection (accept(2)): the next may be sound."""


def _tune(listener: socket.socket) -> None:
    """What accepted sockets inherit: small writes go at once, and little waits in the kernel before it is sent.

    By itself the kernel takes megabytes for a client that does not read, and what is urgent has to wait behind them.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)) is not None:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, option, UNSENT)


class Seat:
    """The place of a connection from its acceptance until its protocol has taken over."""

    __slots__ = ("_address", "_room")

    def __init__(self, room: Room, address: str) -> None:
        self._room: Room | None = room
        self._address = address
        room.enter(address)

    def release(self) -> None:
        """Once, whoever calls it first: the protocol has a place of its own now, or nothing came of it."""
        room, self._room = self._room, None
        if room is not None:
            room.leave(self._address)


class Acceptor:
    """`make` gives each connection its protocol, which calls `Seat.release` when it counts itself."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[Seat], asyncio.BaseProtocol],
        *,
        room: Room,
        tasks: Tasks,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        handshake: float | None = None,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._make = make
        self._room, self._tasks, self._clock = room, tasks, clock
        self._tls, self._handshake = tls, handshake
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._closed = False
        self._scarce = False
        self.arriving: set[asyncio.Task[None]] = set()
        """Connections whose protocol has not begun: TLS handshakes, mostly."""

    def start(self) -> None:
        if self._listener.family != socket.AF_UNIX:
            _tune(self._listener)
        self._listener.listen(BACKLOG)
        self._resume()

    def _resume(self) -> None:
        if not self._closed and not self._reading:
            self._reading = True
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        room = self._room
        for _ in range(BATCH):
            if room.full:
                # who comes now waits in the kernel's queue
                self._pause()
                room.when_free(self._resume)
                return
            try:
                taken = self._take()
            except OSError as error:
                if error.errno in _SCARCE:
                    self._wait_for_descriptors(error)
                return
            self._scarce &= not taken

    def _take(self) -> bool:
        """Whether a connection came. OSError: there is none (BlockingIOError), or the system gives none."""
        try:
            connection, peer = self._listener.accept()
        except OSError as error:
            if error.errno in _AGAIN:
                return False
            raise
        address = peer[0] if isinstance(peer, tuple) else ""
        if not self._room.admits(address):
            connection.close()
            return True
        connection.setblocking(False)
        seat = Seat(self._room, address)
        task = self._tasks.spawn(self._serve(connection, seat), name="accept")
        self.arriving.add(task)
        task.add_done_callback(partial(self._arrived, connection, seat))
        return True

    def _arrived(self, connection: socket.socket, seat: Seat, task: asyncio.Task[None]) -> None:
        """Also of a task that was cancelled before its first step, which no `finally` of its own sees."""
        self.arriving.discard(task)
        seat.release()
        if task.cancelled():
            connection.close()

    async def _serve(self, connection: socket.socket, seat: Seat) -> None:
        tls = self._tls
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make(seat),
                connection,
                ssl=tls,
                ssl_handshake_timeout=self._handshake if tls is not None else None,
            )
        except OSError:  # the client has gone, or TLS failed: nobody waits for an answer
            connection.close()

    def _wait_for_descriptors(self, error: OSError) -> None:
        if not self._scarce:
            self._scarce = True
            log.error(
                "cannot accept: %s; new connections wait until others close. Raise `ulimit -n`, or lower "
                "limits.connections",
                error.strerror,
            )
        self._pause()
        self._clock.call_later(PAUSE, self._resume)

    def finish(self) -> list[asyncio.Task[None]]:
        """Close for good, and take who had come before: closing would reset them. The tasks of who arrives."""
        if not self._closed:
            with contextlib.suppress(OSError):  # BlockingIOError: the queue is empty
                for _ in range(MOST):
                    self._take()
            self.close()
        return list(self.arriving)

    def close(self) -> None:
        """Close at once: who waits is reset."""
        if not self._closed:
            self._pause()
            self._closed = True
            self._listener.close()

    def abort(self) -> None:
        """Close, and break off who arrives."""
        self.close()
        for task in list(self.arriving):
            task.cancel()
