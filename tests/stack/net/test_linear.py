"""What comes byte by byte costs as much for each byte of a long message as of a short one.

Counted in CPU time of this process, the shortest of some rounds, and with much room: a cost that grows with the square
is sixteen times as dear for four times the bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from stack.http.chunked import Chunked
from stack.http.field_lines import FieldParser
from stack.http.h2 import Connection
from stack.http.h2_wire import PREFACE
from stack.http.message import Peer, Request, Response
from stack.net.h1_server import H1ServerConnection
from stack.telemetry.exchange import Exchange
from tests.stack.net.test_conversations import Pair
from tests.support.memory import Link

SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
ROUNDS = 3
GROWTH = 3.0
"""Of the cost of a byte, from a message to one four times as long."""


class Answers(asyncio.Protocol):
    def data_received(self, data: bytes) -> None: ...


def handle(request: Request, exchange: Exchange) -> Response:
    return Response(200, [], b"")


def head(size: int) -> float:
    """A request's head through a whole connection."""

    async def run() -> float:
        pair = Pair("h1", [], 1)
        context = pair.contexts[0]
        context.service = type("Service", (), {"handle": staticmethod(handle)})()
        link = Link(asyncio.get_running_loop())
        connection = H1ServerConnection(context, Peer("127.0.0.1", 1), b"http", None)
        link.start(Answers(), connection)
        data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Long: " + b"y" * size + b"\r\n\r\n"
        begun = time.process_time()
        for at in range(len(data)):
            connection.data_received(data[at : at + 1])
        took = time.process_time() - begun
        assert link.server.out.startswith(b"HTTP/1.1 200")
        return took

    return asyncio.run(run())


def target(size: int) -> float:
    """A request line that goes on: it is refused in the end, and costs no more until then."""
    from stack.http.request_line import unfinished

    data = b"GET /" + b"a" * size
    begun = time.process_time()
    for at in range(1, len(data)):
        assert unfinished(data[:at], at - 1) is None
    return time.process_time() - begun


def fed(data: bytes) -> float:
    decoder = Chunked(FieldParser())
    begun = time.process_time()
    for at in range(len(data)):
        decoder.feed(data[at : at + 1])
    assert decoder.done
    return time.process_time() - begun


def chunks(size: int) -> float:
    return fed(b"4\r\nabcd\r\n" * (size // 9) + b"0\r\n\r\n")


def one_chunk(size: int) -> float:
    return fed(b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")


def trailers(size: int) -> float:
    return fed(b"0\r\nX-Sum: " + b"x" * size + b"\r\n\r\n")


def extension(size: int) -> float:
    return fed(b"0;" + b"x" * size + b"\r\n\r\n")


def frames(size: int) -> float:
    connection = Connection(is_client=False, streams=10, window=65535, max_head=32768)
    data = PREFACE + SETTINGS + (b"\0\0\x08\x06\1\0\0\0\0" + bytes(8)) * (size // 17)
    begun = time.process_time()
    for at in range(len(data)):
        connection.receive(data[at : at + 1], at / 100)
    assert not connection.failed
    return time.process_time() - begun


@pytest.mark.parametrize(
    ("cost", "size"),
    [
        pytest.param(head, 6_000, id="head"),
        pytest.param(target, 7_000, id="target"),
        pytest.param(chunks, 50_000, id="chunks"),
        pytest.param(one_chunk, 50_000, id="one-chunk"),
        pytest.param(trailers, 3_500, id="trailers"),
        pytest.param(extension, 1_000, id="extension"),
        pytest.param(frames, 50_000, id="frames"),
    ],
)
def test_a_byte_of_a_long_message_costs_as_much_as_of_a_short_one(cost: Callable[[int], float], size: int) -> None:
    for _ in range(3):  # somebody else's minute
        short, long = (min(cost(length) for _ in range(ROUNDS)) for length in (size, 4 * size))
        if long < 4 * GROWTH * short:
            return
    raise AssertionError(f"{size} bytes took {short:.3f} s, four times as many {long:.3f} s")
