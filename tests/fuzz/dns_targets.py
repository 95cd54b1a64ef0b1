"""The DNS servers under any bytes: a query to a whole handler, a reply to the resolver, messages on a stream.

What comes out is read by dnspython and dnslib, has the id and QR of a response, fits, and is the same however it was
made: from what is kept, by the shortcut for common questions, or in full.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, cast

import dns.message
import dnslib

from dns_server.book import Book
from dns_server.config import RrlOptions
from dns_server.cookies import Cookies, Given
from dns_server.edns import Edns
from dns_server.handler import Authority, Handler
from dns_server.query_log import QueryLog
from dns_server.rrl import Limiter
from dns_server.rules import types
from dns_server.rules.chaos import Chaos
from dns_server.rules.names import from_text
from dns_server.rules.query import OPCODE, QR, parse
from dns_server.rules.rdata import RdataFault
from dns_server.rules.reply import parse as parse_reply
from dns_server.rules.walk import read_step
from stack.clock import VirtualClock
from stack.net.dns_streams import Stream, Streams
from stack.net.tasks import Tasks
from stack.telemetry.metrics import Metrics
from tests.fuzz.mutator import Target
from tests.support import dns_cases
from tests.support.dns_network import respond, zones

CLIENT: Final = "192.0.2.9"
REMEMBERED: Final = 50_000


class _Server:
    """A server as it is configured by default, one that keeps no responses, one that also limits and wants cookies."""

    def __init__(self) -> None:
        self.zones = zones(dns_cases.load()["zonesets"]["auth"])
        self.plain = self._handler(limiter=None, require=False)
        self.forgetful = self._handler(limiter=None, require=False, responses=0)
        self.strict = self._handler(limiter=Limiter(RrlOptions(rate=5, slip=2, entries=500), lambda: 0.0), require=True)
        self.read: set[bytes] = set()

    def _handler(self, *, limiter: Limiter | None, require: bool, responses: int = 200) -> Handler:
        clock = VirtualClock()
        return Handler(
            Authority(Book(self.zones)), payload=1232, responses=responses, now=clock.now, limiter=limiter,
            log=QueryLog("off", hop="dns", clock=clock, metrics=Metrics()), chaos=Chaos(identity=b"dns", version=b""),
            edns=Edns(nsid=b"dns", cookies=Cookies(Given([b"k" * 16]), time=clock.time), require=require, idle=10.0),
        )  # fmt: skip


@cache
def _server() -> _Server:
    return _Server()


def query(data: bytes) -> None:
    server = _server()
    protocol = ("udp", "tcp", "tls")[data[0] % 3] if data else "udp"
    message = data[1:]
    response = server.plain.answer(message, CLIENT, protocol)
    asked = parse(message)
    if asked is None:
        assert len(message) < 12 or message[2] & 0x80
        assert response is None
        return
    assert isinstance(response, bytes)
    _check(response, message, protocol, server.read)
    assert server.plain.answer(message, CLIENT, protocol) == response
    assert server.forgetful.answer(message, CLIENT, protocol) == response
    if asked.rcode != types.NOTIMP and not asked.options and asked.cls != types.CH:
        assert response == respond(server.zones, message, stream=protocol != "udp")
    strict = server.strict.answer(message, CLIENT, protocol)
    assert strict is None or isinstance(strict, bytes)
    if strict is not None:
        _check(strict, message, protocol, server.read)


def _check(response: bytes, message: bytes, protocol: str, read: set[bytes]) -> None:
    flags = int.from_bytes(response[2:4], "big")
    assert response[:2] == message[:2]
    assert flags & QR
    assert flags & OPCODE == int.from_bytes(message[2:4], "big") & OPCODE
    asked = parse(message)
    assert asked is not None
    assert len(response) <= (min(asked.payload, 1232) if protocol == "udp" else 65535)
    assert response[12 : 12 + len(asked.question)] in (asked.question, b"")
    if response[2:] in read:
        return
    if len(read) > REMEMBERED:
        read.clear()
    read.add(response[2:])
    independent = dns.message.from_wire(response, ignore_trailing=False)
    assert (independent.edns >= 0) <= asked.edns
    if all(byte < 0x80 for byte in asked.name):  # dnslib reads no others
        record = dnslib.DNSRecord.parse(response)
        assert len(record.rr) == sum(len(rrset) for rrset in independent.answer)


def reply(data: bytes) -> None:
    try:
        found = parse_reply(data)
    except RdataFault:
        return
    for rrset in (*found.answer, *found.authority, *found.additional):
        assert rrset.rdatas
        assert 0 <= rrset.ttl < 2**31
        assert 0 < len(rrset.owner) <= 255
    read_step(found, zone=from_text("example.test"), key=found.name.lower(), type=found.type)


class _Transport:
    """Takes all that is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def get_extra_info(self, name: str) -> Any:
        return (CLIENT, 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0


def stream(data: bytes) -> None:
    """The same answers however the octets are split, and none behind what is no query."""
    if len(data) < 2:
        return
    handler, tasks, clock = _server().plain, Tasks(), VirtualClock()
    owner = Streams(handler, clock=clock, tasks=tasks, idle=10.0, connections=10)
    step, end, data = data[0] % 64 + 1, data[1] & 1, data[2:]
    transport = _Transport()
    connection = Stream(owner, "tcp")
    connection.connection_made(cast(Any, transport))
    for at in range(0, len(data), step):
        if transport.closing:
            break
        connection.data_received(data[at : at + step])
    expected, at, nonsense = b"", 0, False
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        message = data[at + 2 : at + 2 + size]
        if len(message) < size:
            break
        at += 2 + size
        response = handler.answer(message, CLIENT, "tcp")
        if response is None:
            nonsense = True
            break
        assert isinstance(response, bytes)
        expected += len(response).to_bytes(2, "big") + response
    assert transport.written == expected
    assert transport.closing == nonsense
    if end and not transport.closing:
        connection.eof_received()
        assert transport.closing
    connection.connection_lost(None)
    assert not len(owner)
    assert not len(tasks)


TARGETS: Final[dict[str, Target]] = {"dns-query": query, "dns-reply": reply, "dns-stream": stream}
