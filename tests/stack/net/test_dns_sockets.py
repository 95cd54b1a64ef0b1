"""DNS over real sockets: datagrams, streams of messages (RFC 7766), and asking."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stack.clock import SystemClock, VirtualClock, eventually
from stack.net.dns_client import ask_tcp, ask_udp
from stack.net.dns_datagrams import MAX_WAITING
from stack.net.dns_listener import DnsListener
from stack.net.dns_streams import MAX_PIPELINED, Reply
from stack.net.tasks import Tasks


class Echo:
    """Answers a message with itself and `!`; `later...` when it is released; `none...` not at all."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.seen: list[tuple[bytes, str, str]] = []
        self.made = self.closed = 0

    def answer(self, message: bytes, client: str, protocol: str) -> Reply:
        self.seen.append((message, client, protocol))
        if message.startswith(b"several"):
            return self._several(int(message[7:]))
        if message.startswith(b"none"):
            return None
        return self._later(message) if message.startswith(b"later") else message + b"!"

    async def _several(self, count: int) -> AsyncIterator[bytes]:
        try:
            for number in range(count):
                self.made = number + 1
                yield b"%d" % number + bytes(60_000)
        finally:
            self.closed += 1

    async def _later(self, message: bytes) -> bytes:
        await self.release.wait()
        return message + b"!"


class Served:
    def __init__(self, *, clock: Any = None, connections: int = 10, per_client: int = 0) -> None:
        self.echo = Echo()
        self.tasks = Tasks()
        self.listener = DnsListener(
            self.echo, clock=clock or SystemClock(), tasks=self.tasks, idle=10.0, connections=connections,
            per_client=per_client,
        )  # fmt: skip

    async def start(self) -> Served:
        stream = socket.create_server(("127.0.0.1", 0))
        self.port = stream.getsockname()[1]
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", self.port))
        await self.listener.listen(stream)
        await self.listener.listen(datagrams)
        return self

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def stop(self) -> None:
        await self.listener.close()
        await self.tasks.close()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = await Served().start()
    yield server
    await server.stop()


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(message)) + message for message in messages)


async def receive(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


async def test_udp_and_tcp_on_one_port(served: Served) -> None:
    clock = SystemClock()
    address = ("127.0.0.1", served.port)
    accept = lambda data: data.endswith(b"!")  # noqa: E731
    assert await ask_udp(address, b"hello", accept=accept, clock=clock, timeout=5) == b"hello!"
    assert await ask_tcp(address, b"hello", accept=accept, clock=clock, timeout=5) == b"hello!"
    assert [(client, protocol) for _, client, protocol in served.echo.seen] == [
        ("127.0.0.1", "udp"),
        ("127.0.0.1", "tcp"),
    ]


async def test_pipelined_queries_are_answered_in_one_piece(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"a", b"b", b"c"))
    async with asyncio.timeout(10):
        assert await reader.readexactly(12) == framed(b"a!", b"b!", b"c!")
    writer.close()


async def test_a_slow_answer_does_not_hold_up_the_next(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"later", b"now"))
    assert await receive(reader) == b"now!"
    served.echo.release.set()
    assert await receive(reader) == b"later!"
    writer.close()


async def test_a_query_may_come_byte_by_byte(served: Served) -> None:
    reader, writer = await served.connect()
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in framed(b"slowly"):
        writer.write(bytes((octet,)))
        await writer.drain()
        await asyncio.sleep(0)
    assert await receive(reader) == b"slowly!"
    writer.close()


async def test_what_was_asked_before_half_closing_is_answered(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"a", b"later"))
    writer.write_eof()
    assert await receive(reader) == b"a!"
    served.echo.release.set()
    assert await receive(reader) == b"later!"
    assert await reader.read() == b""
    writer.close()


async def test_one_connection_has_only_so_many_queries_waiting(served: Served) -> None:
    """RFC 7766 §6.2.1.1 lets a client pipeline; what is too much stays where it is, and comes to its turn."""
    messages = [b"later%d" % number for number in range(3 * MAX_PIPELINED)]
    reader, writer = await served.connect()
    writer.write(framed(*messages))
    writer.write_eof()
    await eventually(lambda: len(served.echo.seen) >= MAX_PIPELINED)
    other_reader, other_writer = await served.connect()
    other_writer.write(framed(b"now"))
    assert await receive(other_reader) == b"now!"
    assert len(served.echo.seen) == MAX_PIPELINED + 1
    served.echo.release.set()
    answers = {await receive(reader) for _ in messages}
    assert answers == {message + b"!" for message in messages}
    assert await reader.read() == b""
    writer.close()
    other_writer.close()


async def test_a_connection_with_too_many_queries_is_not_read(served: Served) -> None:
    message = b"later" + bytes(60_000)
    count = 4 * MAX_PIPELINED
    reader, writer = await served.connect()
    for _ in range(count):
        writer.write(framed(message))
    await eventually(lambda: len(served.echo.seen) == MAX_PIPELINED)
    await asyncio.sleep(0.2)  # time in which more would be read
    [stream] = served.listener.streams
    assert len(stream._buffer) < 1_000_000
    assert len(served.echo.seen) == MAX_PIPELINED
    assert writer.transport.get_write_buffer_size() > 0
    served.echo.release.set()
    for _ in range(count):
        assert len(await receive(reader)) == len(message) + 1
    writer.close()


async def test_a_client_that_does_not_read_its_answers_is_answered_no_more(served: Served) -> None:
    message = bytes(60_000)
    count = 800
    reader, writer = await served.connect()
    for _ in range(count):
        writer.write(framed(message))
    await eventually(lambda: bool(served.listener.streams))
    [stream] = served.listener.streams
    await eventually(lambda: not stream._writable)
    seen = len(served.echo.seen)
    assert seen < count
    assert stream._transport.get_write_buffer_size() < 1_000_000
    for _ in range(count):
        assert len(await receive(reader)) == len(message) + 1
    writer.close()


async def test_many_small_queries_for_long_answers_in_one_write_are_not_all_answered_at_once(served: Served) -> None:
    answered = 0

    def answer(message: bytes, client: str, protocol: str) -> bytes:
        nonlocal answered
        answered += 1
        return bytes(60_000)

    served.echo.answer = answer  # type: ignore[method-assign]
    reader, writer = await served.connect()
    writer.write(framed(*[b"q"] * 2000))
    writer.write_eof()
    await eventually(lambda: answered > 0)
    [stream] = served.listener.streams
    await eventually(lambda: not stream._writable)
    assert stream._transport.get_write_buffer_size() < 1_000_000
    assert answered < 2000
    for _ in range(2000):
        assert len(await receive(reader)) == 60_000
    assert await reader.read() == b""
    writer.close()


async def test_several_messages_answer_one_query_no_faster_than_they_are_read(served: Served) -> None:
    """RFC 5936 §2.2: and what else is asked is answered between them."""
    reader, writer = await served.connect()
    writer.write(framed(b"several500"))
    await eventually(lambda: bool(served.listener.streams))
    [stream] = served.listener.streams
    await eventually(lambda: not stream._writable)
    await asyncio.sleep(0.1)  # time in which more would be made
    assert served.echo.made < 500
    assert stream._transport.get_write_buffer_size() < 1_000_000
    writer.write(framed(b"now"))
    received = [await receive(reader) for _ in range(501)]
    assert received.index(b"now!") < 500
    received.remove(b"now!")
    assert received == [b"%d" % number + bytes(60_000) for number in range(500)]
    writer.close()


async def test_several_messages_end_with_their_connection(served: Served) -> None:
    _, writer = await served.connect()
    writer.write(framed(b"several500"))
    await eventually(lambda: any(not stream._writable for stream in served.listener.streams))
    writer.transport.abort()
    await eventually(lambda: served.echo.closed == 1)
    assert served.echo.made < 500


async def test_several_messages_are_not_for_datagrams(served: Served) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", served.port))
        client.send(b"several5")
        await eventually(lambda: served.listener.statistics()["dropped"] == 1)


async def test_who_does_not_read_at_all_is_cut_off_and_who_reads_slowly_is_not() -> None:
    clock = VirtualClock()
    served = await Served(clock=clock).start()
    # the system would grow the buffer as it is read, on some machines until all of it lies there
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.connect(("127.0.0.1", served.port))
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(framed(b"several500"))
    await eventually(lambda: any(not stream._writable for stream in served.listener.streams))
    [stream] = served.listener.streams
    for _ in range(10):  # 45 s in which something is read at least every 9 s
        held = stream._transport.get_write_buffer_size(), served.echo.made
        await clock.advance(4.5)
        while (stream._transport.get_write_buffer_size(), served.echo.made) == held:
            await receive(reader)
    assert len(served.listener.streams) == 1
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(400):
        await clock.advance(1)
        if served.echo.closed:
            break
        await asyncio.sleep(0.005)
    assert served.echo.closed == 1
    assert not served.listener.streams
    writer.close()
    await served.stop()


async def test_only_so_many_datagrams_wait(served: Served) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", served.port))
        for number in range(MAX_WAITING + 10):
            client.send(b"later")
            if number % 50 == 0:
                await eventually(lambda sent=number + 1: len(served.echo.seen) == sent)  # type: ignore[misc]
        await eventually(lambda: len(served.echo.seen) == MAX_WAITING + 10)
        statistics = served.listener.statistics()
        assert (statistics["waiting"], statistics["dropped"]) == (MAX_WAITING, 10)
        client.send(b"now")  # what need not wait is answered still
        async with asyncio.timeout(10):
            assert await loop.sock_recv(client, 100) == b"now!"
        served.echo.release.set()
        await eventually(lambda: served.listener.waiting == 0)


async def test_nonsense_closes_the_connection(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"a", b"none", b"b"))
    assert await receive(reader) == b"a!"
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_a_datagram_without_answer_gets_none(served: Served) -> None:
    with pytest.raises(TimeoutError):
        await ask_udp(("127.0.0.1", served.port), b"none", accept=lambda _: True, clock=SystemClock(), timeout=0.2)


async def test_the_connection_idle_longest_gives_way() -> None:
    served = await Served(connections=2).start()
    first, second = await served.connect(), await served.connect()
    second[1].write(framed(b"x"))
    await receive(second[0])
    first[1].write(framed(b"x"))
    await receive(first[0])
    third = await served.connect()
    async with asyncio.timeout(10):
        assert await second[0].read() == b""
    third[1].write(framed(b"y"))
    assert await receive(third[0]) == b"y!"
    assert served.listener.statistics()["connections"] == 2
    for _, writer in (first, second, third):
        writer.close()
    await served.stop()


async def test_one_address_has_only_so_many_connections() -> None:
    served = await Served(per_client=2).start()
    other = socket.create_connection(("127.0.0.1", served.port), source_address=("127.0.0.2", 0))
    opened = [await served.connect() for _ in range(3)]
    async with asyncio.timeout(10):
        assert await opened[0][0].read() == b""
    statistics = served.listener.statistics()
    assert (statistics["connections"], statistics["connections_displaced"]) == (3, 1)
    other.close()
    for _, writer in opened:
        writer.close()
    await served.stop()


async def test_who_opens_many_connections_closes_nobodys_but_its_own() -> None:
    served = await Served(connections=5).start()
    with socket.create_connection(("127.0.0.1", served.port), source_address=("127.0.0.2", 0)) as other:
        await eventually(lambda: len(served.listener.streams) == 1)
        opened = [await served.connect() for _ in range(12)]
        await eventually(lambda: served.listener.statistics()["connections_accepted"] == 13)
        assert [stream.client for stream in served.listener.streams].count("127.0.0.2") == 1
        assert len(served.listener.streams) == 5
        other.sendall(framed(b"x"))
        other.setblocking(False)
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(other, 10) == framed(b"x!")
    for _, writer in opened:
        writer.close()
    await served.stop()


async def test_an_idle_connection_is_closed_in_time() -> None:
    clock = VirtualClock()
    served = await Served(clock=clock).start()
    reader, writer = await served.connect()
    writer.write(framed(b"x"))
    await receive(reader)
    await clock.advance(9)
    writer.write(framed(b"x"))
    await receive(reader)
    await clock.advance(9)
    assert served.listener.statistics()["connections"] == 1
    writer.write(b"\0")  # no whole query: it does not keep the connection open
    await clock.advance(1.5)
    async with asyncio.timeout(10):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)
    writer.close()
    await served.stop()


async def test_draining_answers_what_was_asked(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(framed(b"later"))
    idle_reader, idle_writer = await served.connect()
    await eventually(lambda: len(served.echo.seen) == 1 and served.listener.statistics()["connections"] == 2)
    drain = served.tasks.spawn(served.listener.drain(5.0), name="drain")
    async with asyncio.timeout(10):
        assert await idle_reader.read() == b""
    served.echo.release.set()
    assert await receive(reader) == b"later!"
    await drain
    with pytest.raises(OSError):
        await served.connect()
    writer.close()
    idle_writer.close()


async def test_only_the_right_response_is_taken() -> None:
    """RFC 5452 §9.1: what does not match the question is passed over, what another address sends never arrives."""
    loop = asyncio.get_running_loop()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.setblocking(False)
    asking = loop.create_task(
        ask_udp(server.getsockname(), b"q", accept=lambda data: data == b"right", clock=SystemClock(), timeout=10)
    )
    _, client = await loop.sock_recvfrom(server, 100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"right", client)
    server.sendto(b"wrong", client)
    await asyncio.sleep(0.05)
    assert not asking.done()
    server.sendto(b"right", client)
    assert await asking == b"right"
    server.close()


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with pytest.raises(OSError):
        await ask_udp(address, b"q", accept=lambda _: True, clock=SystemClock(), timeout=10)
    with pytest.raises(OSError):
        await ask_tcp(address, b"q", accept=lambda _: True, clock=SystemClock(), timeout=10)
