"""Bursts of datagrams over real sockets: each gets its own answer, from the address that it asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from stack.clock import SystemClock
from stack.net import dns_batch
from stack.net.dns_batch import ROOM, SLOTS, peer
from stack.net.dns_listener import DnsListener
from stack.net.tasks import Tasks


class Counted:
    def __init__(self) -> None:
        self.count = 0


class Known:
    def __init__(self, tail: bytes, cell: Counted) -> None:
        self.tail, self.cell = tail, cell


class Answers:
    """Gives finished responses to what was asked before; `later...` waits, `none...` gets none, an opcode makes all
    that is finished void."""

    def __init__(self) -> None:
        self.known: dict[bytes, Known] = {}
        self.version = b"1"
        self.asked = 0
        self.looking = True
        self.clients: set[str] = set()
        self.release = asyncio.Event()
        self.cell = Counted()
        self.seconds = 0.0
        self.hits = 0
        self.told_of: list[str] = []

    def answer(self, message: bytes, client: str, protocol: str) -> bytes | Awaitable[bytes | None] | None:
        self.asked += 1
        self.clients.add(client)
        body = message[3:]
        if len(message) > 2 and message[2] & 0x78:
            self.known.clear()
            self.version = b"2"
            return message
        if body.startswith(b"none") or len(message) < 3:
            return None
        if body.startswith(b"long"):
            return message[:2] + bytes(ROOM)
        if body.startswith(b"later"):
            return self._later(message)
        tail = message[2:] + b"!" + self.version
        self.known[message[2:]] = Known(tail, self.cell)
        return message[:2] + tail

    async def _later(self, message: bytes) -> bytes:
        await self.release.wait()
        return message + b"!"

    def look(self) -> Callable[[bytes], Known | None] | None:
        return dict(self.known).get if self.looking else None

    def wants_clients(self) -> bool:
        return True

    def told(self, found: Sequence[Known], clients: Sequence[str], took: float) -> None:
        assert len(found) == len(clients)
        self.clients.update(clients)
        self.told_of += clients
        self.hits += len(found)
        self.seconds += took


class Served:
    def __init__(self, host: str, family: socket.AddressFamily) -> None:
        self.answers = Answers()
        self.tasks = Tasks()
        self.listener = DnsListener(
            self.answers, clock=SystemClock(), tasks=self.tasks, idle=10.0, connections=10, bursts=self.answers
        )
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.port = self.socket.getsockname()[1]

    async def stop(self) -> None:
        await self.listener.close()
        await self.tasks.close()


@contextlib.asynccontextmanager
async def serving(host: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET) -> AsyncIterator[Served]:
    served = Served(host, family)
    await served.listener.listen(served.socket)
    try:
        yield served
    finally:
        await served.stop()


@pytest.fixture(params=["batches", "single"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "single":
        monkeypatch.setattr(dns_batch, "available", lambda: False)
    elif not dns_batch.available():
        pytest.skip("this system has no recvmmsg")
    return str(request.param)


@contextlib.contextmanager
def client(family: socket.AddressFamily = socket.AF_INET) -> Any:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        yield sock


async def received(sock: socket.socket, count: int) -> list[bytes]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        return [await loop.sock_recv(sock, 65535) for _ in range(count)]


def query(id: int, text: bytes, opcode: int = 0) -> bytes:
    return id.to_bytes(2, "big") + bytes((opcode << 3,)) + text


async def test_a_burst_gets_each_its_own_answer(way: str) -> None:
    count = 3 * SLOTS + 7
    async with serving() as served:
        with client() as sock:
            for again in range(2):
                for id in range(count):
                    sock.sendto(query(id, b"name%d" % (id % 20)), ("127.0.0.1", served.port))
                found = await received(sock, count)
                assert sorted(found) == sorted(query(id, b"name%d!1" % (id % 20)) for id in range(count))
                if way == "batches" and again:
                    assert served.answers.hits == served.answers.cell.count == 2 * count - served.answers.asked
                    assert served.answers.hits >= count
                    assert served.answers.seconds > 0
        assert served.answers.clients == {"127.0.0.1"}
        assert served.listener.statistics()["dropped"] == 0


async def test_what_is_not_answered_leaves_no_gap(way: str) -> None:
    async with serving() as served:
        with client() as sock:
            for id in range(90):
                text = (b"none", b"name", b"later", b"")[id % 4]
                sock.sendto(query(id, text) if text else b"", ("127.0.0.1", served.port))
            found = await received(sock, 23)
            assert sorted(found) == sorted(query(id, b"name!1") for id in range(90) if id % 4 == 1)
            served.answers.release.set()
            later = await received(sock, 22)
            assert sorted(later) == sorted(query(id, b"later!") for id in range(90) if id % 4 == 2)


async def test_after_an_operation_nothing_old_is_given(way: str) -> None:
    async with serving() as served:
        with client() as sock:
            sock.sendto(query(1, b"name"), ("127.0.0.1", served.port))
            assert await received(sock, 1) == [query(1, b"name!1")]
            # in one burst: the loop reads only when this has sent them all
            for message in (query(2, b"name"), query(3, b"update", opcode=5), query(4, b"name")):
                sock.sendto(message, ("127.0.0.1", served.port))
            assert await received(sock, 3) == [
                query(2, b"name!1"),
                query(3, b"update", opcode=5),
                query(4, b"name!2"),
            ]


async def test_without_a_look_every_query_is_answered_for_itself(way: str) -> None:
    async with serving() as served:
        served.answers.looking = False
        with client() as sock:
            for id in range(10):
                sock.sendto(query(id, b"name"), ("127.0.0.1", served.port))
            await received(sock, 10)
        assert (served.answers.asked, served.answers.hits) == (10, 0)


async def test_a_response_longer_than_its_room_is_dropped_and_counted() -> None:
    async with serving() as served:
        with client() as sock:
            sock.sendto(query(1, b"long"), ("127.0.0.1", served.port))
            sock.sendto(query(2, b"name"), ("127.0.0.1", served.port))
            assert await received(sock, 1) == [query(2, b"name!1")]
        assert served.listener.statistics()["dropped"] == 1


async def test_the_answer_comes_from_the_address_that_was_asked() -> None:
    """On a wildcard socket the system would choose another one, and a resolver would not believe it."""
    async with serving("0.0.0.0") as served:
        served.answers.release.set()
        with client() as sock:
            for address in ("127.0.0.5", "127.0.0.6"):
                sock.connect((address, served.port))
                for id, text in enumerate((b"name", b"name", b"later")):
                    sock.send(query(id, text))  # connected: nothing from elsewhere would be received
                assert len(await received(sock, 3)) == 3


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_ipv6(way: str, host: str) -> None:
    try:
        serving_ipv6 = serving(host, socket.AF_INET6)
        async with serving_ipv6 as served:
            with client(socket.AF_INET6) as sock:
                sock.connect(("::1", served.port))
                served.answers.release.set()
                for id, text in enumerate((b"name", b"name", b"later")):
                    sock.send(query(id, text))
                assert len(await received(sock, 3)) == 3
            assert served.answers.clients == {"::1"}
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


def test_a_sockaddr_is_read_as_python_reads_it() -> None:
    assert peer(b"\2\0\x14\xb5\xc0\0\2\1" + bytes(8)) == ("192.0.2.1", 5301)
    six = b"\n\0\x14\xb5" + bytes(4) + socket.inet_pton(socket.AF_INET6, "fe80::1") + (3).to_bytes(4, "little")
    assert peer(six) == ("fe80::1", 5301, 0, 3)


async def test_a_source_that_nothing_can_be_sent_to_is_passed_over() -> None:
    """Port 0, as a forged packet may have: the others of the burst are answered."""
    async with serving() as served:
        [datagrams] = served.listener._datagrams
        batch = datagrams._batch  # type: ignore[attr-defined]
        taken = batch.take

        def forged() -> Any:
            sizes = taken()
            if len(sizes) > 1:
                batch._names[28 * 1 + 2 : 28 * 1 + 4] = b"\0\0"
            return sizes

        batch.take = forged
        with client() as sock:
            for id in range(4):
                sock.sendto(query(id, b"name"), ("127.0.0.1", served.port))
            assert await received(sock, 3) == [query(id, b"name!1") for id in (0, 2, 3)]
        assert served.listener.statistics()["dropped"] == 1


async def test_what_has_come_in_is_answered_before_the_end(way: str) -> None:
    async with serving() as served:
        with client() as sock:
            for id in range(2 * SLOTS):
                sock.sendto(query(id, b"name"), ("127.0.0.1", served.port))
            if way == "batches":
                await served.listener.drain(5.0)  # at once: the loop has not read yet
            assert len(await received(sock, 2 * SLOTS)) == 2 * SLOTS


async def test_a_flood_does_not_keep_the_loop_from_its_other_work() -> None:
    if not dns_batch.available():
        pytest.skip("this system has no recvmmsg")
    async with serving() as served:
        with client() as sock:
            for id in range(5 * SLOTS):
                sock.sendto(query(id, b"name"), ("127.0.0.1", served.port))
            seen = []
            while sum(seen) < 5 * SLOTS and len(seen) < 100:
                before = served.answers.asked + served.answers.hits
                await asyncio.sleep(0)
                seen.append(served.answers.asked + served.answers.hits - before)
            assert sum(seen) == 5 * SLOTS
            assert max(seen) <= SLOTS


async def test_it_is_told_who_got_what_was_finished() -> None:
    """Clients by turns: each finished response is told with the address that it went to."""
    if not dns_batch.available():
        pytest.skip("this system has no recvmmsg")
    async with serving() as served:
        with client() as one, client() as other:
            for sock, host in ((one, "127.0.0.11"), (other, "127.0.0.12")):
                sock.bind((host, 0))
            one.sendto(query(0, b"name"), ("127.0.0.1", served.port))
            await received(one, 1)
            for id in range(40):
                (one if id % 3 else other).sendto(query(id, b"name"), ("127.0.0.1", served.port))
            await received(one, 26)
            await received(other, 14)
        assert served.answers.told_of == ["127.0.0.11" if id % 3 else "127.0.0.12" for id in range(40)]
