"""Datagrams taken and sent many at a time, with one call each (Linux: recvmmsg, sendmmsg), in memory that stays.

A datagram stands in a slot of its own, and its response is written over it: the kernel has its address there, and with
a wildcard socket the address that it was sent to, both as the response needs them.
"""

from __future__ import annotations

import array
import ctypes
import socket
import sys
from collections.abc import Iterable
from typing import Any, Final

SLOTS: Final = 64
"""Datagrams of one call. More of them share no more of its cost, and make the others wait."""
STRIDE: Final = 4096 + 64
"""Octets from one slot to the next: no multiple of a page, whose beginnings would drive each other out of the cache."""
ROOM: Final = 4096
"""Octets of a slot: the longest datagram that is taken in whole, and the longest response."""

_IP_PKTINFO: Final = 8
"""socket.IP_PKTINFO, which Python names from 3.15 on."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct mmsghdr of a 64-bit system (recvmmsg(2), recvmsg(2))."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_uint64),  # 32 bits; the structure within ends on a multiple of 64
        ("size", ctypes.c_uint32),
    )


_HEADER: Final = ctypes.sizeof(_Header)
_NAME: Final = 28
"""Octets of a sockaddr_in6; a sockaddr_in is shorter."""


def available() -> bool:
    """Whether the system has the calls, in the layout written here."""
    return sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 and hasattr(ctypes.PyDLL(None), "sendmmsg")


class Batch:
    """The slots of one socket. `take` fills them from the first on; then each is answered or passed over; `send` sends
    what was answered. Index and octets count in `memory`: the slot `n` begins at `n * STRIDE`."""

    def __init__(self, sock: socket.socket) -> None:
        """Asks the system to tell where datagrams were sent to, if the socket is bound to a wildcard address."""
        self._fd = sock.fileno()
        self.family = sock.family
        self.memory = bytearray(SLOTS * STRIDE)
        self.view = memoryview(self.memory)
        self._names = bytearray(SLOTS * _NAME)
        self._host, self._host_size = (4, 4) if self.family == socket.AF_INET else (8, 16)
        self._control_size = _told_destination(sock)
        self._controls = bytearray(SLOTS * max(self._control_size, 8))
        self._vectors = (_Vector * SLOTS)()
        self._headers = (_Header * SLOTS)()
        for slot, (vector, header) in enumerate(zip(self._vectors, self._headers, strict=True)):
            vector.base, vector.size = _address(self.memory) + slot * STRIDE, ROOM
            header.name, header.name_size = _address(self._names) + slot * _NAME, _NAME
            header.vectors, header.vector_count = ctypes.addressof(vector), 1
            if self._control_size:
                header.control = _address(self._controls) + slot * self._control_size
                header.control_size = self._control_size
        words: Any = memoryview(self._headers).cast("B")
        self._sizes = words.cast("I")[_Header.size.offset // 4 :: _HEADER // 4]
        self._control_sizes = words.cast("Q")[_Header.control_size.offset // 8 :: _HEADER // 8]
        self._rooms = memoryview(self._vectors).cast("B").cast("Q")[1::2]
        self._interfaces = memoryview(self._controls).cast("I")[4 :: max(self._control_size // 4, 1)]
        self._full = memoryview(array.array("Q", [ROOM] * SLOTS))
        self._control_full = memoryview(array.array("Q", [self._control_size] * SLOTS))
        self._zeros = memoryview(array.array("I", [0] * SLOTS))
        self._at = ctypes.addressof(self._headers)
        # it never waits: letting go of the interpreter's lock would cost more than the call
        libc = ctypes.PyDLL(None)
        self._recvmmsg, self._sendmmsg = libc.recvmmsg, libc.sendmmsg
        self._recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    def take(self) -> list[int]:
        """The octets of each datagram that has come in, at most SLOTS; empty when there is none."""
        count = self._recvmmsg(self._fd, self._at, SLOTS, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        if self._control_size and self.family == socket.AF_INET:
            # the way back is the routing table's to choose: the interface it came in by says nothing
            self._interfaces[:count] = self._zeros[:count]
        sizes: list[int] = self._sizes[:count].tolist()
        return sizes

    def send(self, sizes: list[int]) -> int:
        """Send the responses that stand in the first slots: their octets, 0 where there is none. Afterwards the slots
        are free. Gives how many could not be sent."""
        count, lost = len(sizes), 0
        self._rooms[:count] = memoryview(array.array("Q", sizes))
        if 0 not in sizes:
            lost = self._send(0, count)
        else:
            first = 0
            for slot in [*(slot for slot, size in enumerate(sizes) if not size), count]:
                if slot > first:
                    lost += self._send(first, slot)
                first = slot + 1
        self._rooms[:count] = self._full[:count]
        if self._control_size:
            self._control_sizes[:count] = self._control_full[:count]
        return lost

    def _send(self, first: int, end: int) -> int:
        lost = 0
        while first < end:
            sent = self._sendmmsg(self._fd, self._at + first * _HEADER, end - first, socket.MSG_DONTWAIT)
            if sent > 0:
                first += sent
            else:
                # a source nothing can be sent to, such as port 0: forged; or no room in the socket's buffer
                lost += 1
                first += 1
        return lost

    def address(self, slot: int) -> bytes:
        """The address of who sent it alone, without its port."""
        at = slot * _NAME + self._host
        return bytes(self._names[at : at + self._host_size])

    def addresses(self, slots: Iterable[int]) -> list[bytes]:
        names, host, size = bytes(self._names), self._host, self._host_size
        return [names[(at := slot * _NAME + host) : at + size] for slot in slots]

    def name(self, slot: int) -> bytes:
        """Where the datagram came from, as the system writes it."""
        at = slot * _NAME
        return bytes(self._names[at : at + (16 if self.family == socket.AF_INET else _NAME)])

    def way_back(self, slot: int) -> list[tuple[int, int, bytes]]:
        """Control messages for a response that is sent later: it comes from where the query went."""
        if not self._control_size:
            return []
        if self.family == socket.AF_INET:
            at = slot * self._control_size + 16
            return [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(self._controls[at : at + 12]))]
        at = slot * self._control_size + 16
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, bytes(self._controls[at : at + 20]))]


def _told_destination(sock: socket.socket) -> int:
    """Octets of the control message that tells it; 0 where the socket has one address, which is that."""
    host = sock.getsockname()[0]
    if sock.family == socket.AF_INET:
        if host != "0.0.0.0":
            return 0
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        return socket.CMSG_SPACE(12)
    if host != "::":
        return 0
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return socket.CMSG_SPACE(20)


def _address(memory: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))


def peer(name: bytes) -> tuple[Any, ...]:
    """A sockaddr as Python's sockets take it: host and port, for IPv6 with flow and scope."""
    port = name[2] << 8 | name[3]
    if len(name) == 16:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    flow = int.from_bytes(name[4:8], "big")
    return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, flow, int.from_bytes(name[24:28], sys.byteorder)
