"""Raw messages for a name server over real sockets, and what comes back; the servers that are probed."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.dns_network import question
from tests.support.dns_servers import served
from tests.support.dns_worlds import ZoneText

Address = tuple[str, int]
PATIENCE = 5.0
"""Seconds for an answer that is to come."""
SILENCE = 0.4
"""Seconds after which none will."""

TEXT = """$ORIGIN example.test.
$TTL 300
@ IN SOA ns1 hostmaster 7 7200 900 1209600 300
@ IN NS ns1
ns1 IN A 192.0.2.1
www IN A 192.0.2.10
big IN TXT """ + " ".join(['"' + "x" * 250 + '"'] * 16)


@dataclass(frozen=True)
class _Zone(ZoneText):
    def text(self) -> str:
        return TEXT + "\n"


ZONE = _Zone((b"example", b"test"), ())
SERVERS = [
    "hopstack",
    pytest.param("nsd", marks=pytest.mark.needs("nsd")),
    pytest.param("knotd", marks=pytest.mark.needs("knotd")),
    pytest.param("named", marks=pytest.mark.needs("named")),
]
"""The others prove that the probes are right."""


@contextmanager
def probed(kind: str, directory: Path, more: str = "") -> Iterator[Address]:
    with served(kind, (ZONE,), directory / kind, more) as address:
        yield address


def message(
    *, name: str = "example.test", type: str = "SOA", flags: int = 0, opt: bytes = b"", id: int = 0xBEEF
) -> bytes:
    return question(name, type, id=id, flags=flags, opt=opt)


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(each)) + each for each in messages)


def over_udp(address: Address, sent: bytes, *, patience: float = PATIENCE) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        for _ in range(3):  # a datagram may be lost
            sock.settimeout(patience / 3)
            sock.send(sent)
            try:
                return sock.recv(65535)
            except TimeoutError:
                continue
    return None


def over_tcp(address: Address, sent: bytes) -> bytes:
    with connected(address) as sock:
        sock.sendall(framed(sent))
        return receive(sock)


def connected(address: Address) -> socket.socket:
    sock = socket.create_connection(address, PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def receive(sock: socket.socket) -> bytes:
    """One message. EOFError when the connection ends instead."""
    return exactly(sock, struct.unpack(">H", exactly(sock, 2))[0])


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def ended(sock: socket.socket) -> bool:
    """Nothing comes: the server closes, or says nothing for a while."""
    sock.settimeout(SILENCE)
    try:
        return not sock.recv(1)
    except TimeoutError:
        return True
    except ConnectionResetError:
        return True
