"""DNS over TCP as RFC 7766 wants it, over a real connection. NSD, Knot and BIND pass them too."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.support.dns_network import edns, question
from tests.support.dns_probes import (
    PATIENCE,
    SERVERS,
    Address,
    connected,
    ended,
    framed,
    message,
    over_tcp,
    probed,
    receive,
)

Ask = Callable[[Address], None]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Address]]:
    with probed(request.param, tmp_path_factory.mktemp("probed")) as address:
        yield request.param, address


def works(address: Address) -> None:
    assert answered(over_tcp(address, message(id=9)), 9)


def answered(wire: bytes, id: int, answers: int = 1) -> bool:
    read = dns.message.from_wire(wire)
    return read.id == id and read.rcode() == dns.rcode.NOERROR and sum(map(len, read.answer)) == answers


def one_query(address: Address) -> None:
    works(address)


def length_and_message_come_together(address: Address) -> None:
    """§8: a server that writes the length first, alone, makes clients wait for the rest."""
    with connected(address) as sock:
        sock.sendall(framed(message()))
        first = sock.recv(65535)
        assert len(first) == 2 + struct.unpack(">H", first[:2])[0]


def a_connection_is_used_again(address: Address) -> None:
    """§6.2.1"""
    with connected(address) as sock:
        for id in range(20):
            sock.sendall(framed(message(id=id)))
            assert answered(receive(sock), id)


def pipelined(address: Address) -> None:
    """§6.2.1.1; the answers may come in any order (§7)."""
    names = [("example.test", "SOA"), ("www.example.test", "A"), ("big.example.test", "TXT"), ("example.test", "NS")]
    sent = [question(*names[id % 4], id=id) for id in range(40)]
    with connected(address) as sock:
        sock.sendall(framed(*sent))
        received = [receive(sock) for _ in sent]
    assert {int.from_bytes(wire[:2], "big") for wire in received} == set(range(40))
    for wire in received:
        id = int.from_bytes(wire[:2], "big")
        assert answered(wire, id)
        read = dns.message.from_wire(wire)
        assert read.question[0].name.to_text() == names[id % 4][0] + "."  # §7: the question tells which it is


def a_length_in_two_pieces(address: Address) -> None:
    with connected(address) as sock:
        sent = framed(message())
        for piece in (sent[:1], sent[1:5], sent[5:]):
            sock.sendall(piece)
        assert answered(receive(sock), 0xBEEF)


def byte_by_byte(address: Address) -> None:
    with connected(address) as sock:
        for id in (1, 2):
            for octet in framed(message(id=id)):
                sock.sendall(bytes((octet,)))
            assert answered(receive(sock), id)


def one_and_a_half(address: Address) -> None:
    """The end of a query comes with the next one's beginning."""
    with connected(address) as sock:
        sent = framed(message(id=1), message(id=2), message(id=3))
        for start in range(0, len(sent), 17):
            sock.sendall(sent[start : start + 17])
        assert {int.from_bytes(receive(sock)[:2], "big") for _ in range(3)} == {1, 2, 3}


def half_closed(address: Address) -> None:
    with connected(address) as sock:
        sock.sendall(framed(message(id=1), message(id=2)))
        sock.shutdown(socket.SHUT_WR)
        assert {int.from_bytes(receive(sock)[:2], "big") for _ in range(2)} == {1, 2}
        with pytest.raises(EOFError):
            receive(sock)


def closed_in_the_middle(address: Address) -> None:
    for cut in (1, 2, 10):
        with connected(address) as sock:
            sock.sendall(framed(message())[:cut])
    with connected(address) as sock:
        sock.sendall(framed(message())[:10])
        sock.shutdown(socket.SHUT_WR)
        assert ended(sock)
    works(address)


def many_at_once(address: Address) -> None:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connected(address)) for _ in range(20)]
        for id, sock in enumerate(socks):
            sock.sendall(framed(message(id=id)))
        for id, sock in reversed(list(enumerate(socks))):
            assert answered(receive(sock), id)


def several_questions_in_one_message(address: Address) -> None:
    """RFC 9619: no answer to it, and the next message is answered or the connection closed."""
    sent = message()
    with connected(address) as sock:
        sock.sendall(framed(sent[:5] + b"\2" + sent[6:] + sent[12:]))
        sock.settimeout(0.4)
        with contextlib.suppress(TimeoutError, EOFError, ConnectionResetError):
            assert dns.message.from_wire(receive(sock), ignore_trailing=True).rcode() == dns.rcode.FORMERR
    works(address)


def a_message_without_octets(address: Address) -> None:
    with connected(address) as sock:
        sock.sendall(b"\0\0")
        assert ended(sock)
    works(address)


def less_than_a_header(address: Address) -> None:
    with connected(address) as sock:
        sock.sendall(framed(message()[:11]))
        assert ended(sock)
    works(address)


def a_response_instead_of_a_query(address: Address) -> None:
    with connected(address) as sock:
        sock.sendall(framed(message(flags=0x8000)))
        assert ended(sock)
    works(address)


def another_protocol(address: Address) -> None:
    with connected(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n")
        assert ended(sock)
    works(address)


def no_limit_of_datagrams(address: Address) -> None:
    """RFC 6891 §6.2.5: what the client takes over UDP says nothing about TCP."""
    for opt in (b"", edns(512)):
        wire = over_tcp(address, message(name="big.example.test", type="TXT", opt=opt))
        assert answered(wire, 0xBEEF)
        assert len(wire) > 4000
        assert not dns.message.from_wire(wire).flags & dns.flags.TC


def a_transfer_that_nobody_allowed(address: Address) -> None:
    wire = over_tcp(address, message(name="foreign.invalid", type="AXFR"))
    assert dns.rcode.to_text(dns.message.from_wire(wire).rcode()) in ("NOTAUTH", "REFUSED", "NOTIMP")
    works(address)


def a_slow_reader(address: Address) -> None:
    """Many long answers that are read only when all have been asked for."""
    count = 300
    with connected(address) as sock:
        sock.settimeout(4 * PATIENCE)
        sock.sendall(framed(*(message(name="big.example.test", type="TXT", id=id) for id in range(count))))
        ids = {int.from_bytes(receive(sock)[:2], "big") for _ in range(count)}
    assert ids == set(range(count))


PROBES: list[Ask] = [
    one_query, length_and_message_come_together, a_connection_is_used_again, pipelined, a_length_in_two_pieces,
    byte_by_byte, one_and_a_half, half_closed, closed_in_the_middle, many_at_once, several_questions_in_one_message,
    a_message_without_octets, less_than_a_header, a_response_instead_of_a_query, another_protocol, no_limit_of_datagrams,
    a_transfer_that_nobody_allowed, a_slow_reader,
]  # fmt: skip


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__.replace("_", "-"))
def test_probe(server: tuple[str, Address], probe: Ask) -> None:
    probe(server[1])
