"""Datagrams of a DNS server (RFC 1035 §4.2.1): UDP sockets, read and answered many at a time where that is possible."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from stack.net import dns_batch
from stack.net.dns_batch import ROOM, STRIDE, Batch, peer

if TYPE_CHECKING:
    from stack.net.dns_listener import DnsListener

MAX_WAITING: Final = 2000
"""Datagrams that wait for their answers at one time; further ones that would have to wait are dropped, as a full
socket buffer would."""
BUFFER: Final = 4 << 20
"""Octets that a socket may hold in each direction while nobody looks; the kernel caps it at net.core.rmem_max."""
CLIENTS: Final = 4096
"""Addresses of clients whose text is remembered."""
LAST_ROUNDS: Final = 64
"""How often a socket is read when it is given up, for what has come in before."""


class Cell(Protocol):
    count: int
    """Queries answered so."""


class Finished(Protocol):
    """A response that can be given again."""

    @property
    def tail(self) -> bytes:
        """All of it behind the id."""

    @property
    def cell(self) -> Cell: ...


Look = Callable[[bytes], Finished | None]
"""A finished response by everything in the query behind its id."""


class Bursts(Protocol):
    """What an Answerer offers besides: it lets finished responses be given without a call for each."""

    def look(self) -> Look | None:
        """Where to look, for one burst or until an operation (an opcode but QUERY) was answered; None while every
        query has to be answered for itself."""

    def wants_clients(self) -> bool:
        """Whether `told` is to hear who asked."""

    def told(self, found: Sequence[Any], clients: Sequence[str], took: float) -> None:
        """Afterwards: what was given so, to whom if that is wanted, in the same order; and the seconds that each waited
        for it. They were counted."""


class Datagrams(Protocol):
    """One UDP socket that is served."""

    def stop(self) -> None:
        """Answer what has come until now, and read no more: if another process has the socket too, the rest is its.
        What waits for its answer gets it, until `close`."""

    def pause(self) -> None:
        """Leave what comes to another process that reads the socket."""

    def resume(self) -> None: ...

    def close(self) -> None: ...


async def serve(listener: DnsListener, sock: socket.socket) -> Datagrams:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):
            if sock.getsockopt(socket.SOL_SOCKET, option) < BUFFER:
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    if dns_batch.available():
        return Batched(listener, sock)
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Single(listener, sock), sock=sock)
    return protocol


class _Waiting:
    """Counts the datagrams that wait for their answers, and answers them."""

    __slots__ = ("_answer", "_listener")

    def __init__(self, listener: DnsListener) -> None:
        self._listener = listener
        self._answer = listener.answerer.answer

    def _wait(self, response: Awaitable[bytes | None] | AsyncIterator[bytes], send: Callable[[bytes], object]) -> None:
        listener = self._listener
        if isinstance(response, AsyncIterator):
            listener.dropped += 1  # several messages are for a stream
        elif listener.waiting >= MAX_WAITING:
            listener.dropped += 1
            if asyncio.iscoroutine(response):
                response.close()
        else:
            listener.waiting += 1
            listener.tasks.spawn(self._later(response, send), name="dns-udp")

    async def _later(self, response: Awaitable[bytes | None], send: Callable[[bytes], object]) -> None:
        try:
            message = await response
        finally:
            self._listener.waiting -= 1
        if message is not None:
            try:
                send(message)
            except (OSError, ValueError):
                # a source nothing can be sent to, such as port 0: forged
                self._listener.dropped += 1


class Batched(_Waiting):
    """A burst is read with one call, answered in place, and sent with one call. One burst at a time: in between, the
    loop sees to its other sockets."""

    __slots__ = ("_batch", "_bursts", "_clients", "_loop", "_now", "_reading", "_socket", "_stopped")

    def __init__(self, listener: DnsListener, sock: socket.socket) -> None:
        super().__init__(listener)
        self._socket = sock
        self._batch = Batch(sock)
        self._bursts = listener.bursts
        self._now = listener.clock.now
        self._clients: dict[bytes, str] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._burst)
        self._reading = True
        self._stopped = False

    def _burst(self) -> int:
        batch = self._batch
        taken = batch.take()
        if not taken:
            return 0
        bursts = self._bursts
        began = self._now() if bursts is not None else 0.0
        look = bursts.look() if bursts is not None else None
        memory, view = batch.memory, batch.view
        sizes: list[int] = []
        found: list[Finished] = []
        slots: list[int] = []
        at = 0
        for size in taken:
            if look is not None and (known := look(view[at + 2 : at + size].tobytes())) is not None:
                known.cell.count += 1
                found.append(known)
                slots.append(len(sizes))
                tail = known.tail
                size = len(tail) + 2
                memory[at + 2 : at + size] = tail
                sizes.append(size)
            else:
                sizes.append(self._one(len(sizes), view[at : at + size].tobytes()))
                if look is not None and bursts is not None and memory[at + 2] & 0x78:
                    look = bursts.look()
            at += STRIDE
        if lost := batch.send(sizes):
            self._listener.dropped += lost
        if found and bursts is not None:
            clients = self._who(slots) if bursts.wants_clients() else []
            bursts.told(found, clients, self._now() - began)
        return len(taken)

    def _who(self, slots: list[int]) -> list[str]:
        """The clients of these slots."""
        known, batch = self._clients.get, self._batch
        return [
            known(address) or self._text(slot, address)
            for slot, address in zip(slots, batch.addresses(slots), strict=True)
        ]

    def _one(self, slot: int, message: bytes) -> int:
        """Octets of the response that stands in the slot now; 0 for none."""
        batch = self._batch
        address = batch.address(slot)
        client = self._clients.get(address) or self._text(slot, address)
        response = self._answer(message, client, "udp")
        if type(response) is bytes:
            size = len(response)
            if size <= ROOM:
                at = slot * STRIDE
                batch.memory[at : at + size] = response
                return size
            self._listener.dropped += 1
        elif response is not None:
            sock, way, name = self._socket, batch.way_back(slot), batch.name(slot)
            self._wait(response, lambda message: sock.sendmsg([message], way, 0, peer(name)))  # type: ignore[arg-type]
        return 0

    def _text(self, slot: int, address: bytes) -> str:
        if len(self._clients) >= CLIENTS:
            self._clients.clear()
        text: str = peer(self._batch.name(slot))[0]
        self._clients[address] = text
        return text

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self.pause()
        for _ in range(LAST_ROUNDS):  # what has come in
            if self._burst() < dns_batch.SLOTS:
                break
        if not self._listener.waiting:
            self._socket.close()

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket.fileno())

    def resume(self) -> None:
        if not self._reading and not self._stopped and self._socket.fileno() >= 0:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._burst)

    def close(self) -> None:
        self._stopped = True
        self.pause()
        self._socket.close()


class Single(_Waiting, asyncio.DatagramProtocol):
    """One call of the loop for each, where the system has no other way."""

    __slots__ = ("_sendto", "_socket", "_transport")

    def __init__(self, listener: DnsListener, sock: socket.socket) -> None:
        super().__init__(listener)
        self._socket = sock

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._sendto: Callable[[bytes, Any], object] = self._transport.sendto

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        response = self._answer(data, addr[0], "udp")
        if isinstance(response, bytes):
            try:
                self._sendto(response, addr)
            except (OSError, ValueError):
                self._listener.dropped += 1  # as in `_later`
        elif response is not None:
            self._wait(response, lambda message: self._sendto(message, addr))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error for something we sent: the client has gone."""

    def stop(self) -> None:
        self._socket = spare = self._socket.dup()  # the transport closes its own, and so reads no more
        spare.setblocking(False)
        self._transport.close()
        self._sendto = spare.sendto
        with contextlib.suppress(OSError):  # BlockingIOError: there is no more
            for _ in range(LAST_ROUNDS * dns_batch.SLOTS):
                self.datagram_received(*spare.recvfrom(65535))

    def pause(self) -> None:
        raise NotImplementedError("several processes on one address are for systems with batches")

    resume = pause

    def close(self) -> None:
        self._transport.close()
        self._socket.close()
