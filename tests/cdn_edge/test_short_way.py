"""The short way of a hit: nobody can tell it from the long one, and what is not the plainest of requests takes that."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stack.http.authorities import Authorities, Names
from stack.http.message import Peer, TlsInfo
from stack.net.h1_server import H1ServerConnection
from tests.bench.inprocess import RESPONSE, Bench, Wire, WiredLoop, built

PLAIN = b"GET /a?token=abc HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\r\n\r\n"


class Client:
    """A connection of its own. `short` counts the answers of the short way."""

    def __init__(self, bench: Bench, *, long: bool = False, trusted: bool = False, tls: TlsInfo | None = None) -> None:
        context = bench.hop.context
        self._loop = bench.loop
        self._response = bench.response
        self.peer = Peer("192.0.2.1", 4000, tls=tls, trusted=trusted)
        self.connection = H1ServerConnection(context, self.peer, b"http" if tls is None else b"https", None)
        self.wire: Any = Wire()
        self.connection.connection_made(self.wire)
        if long:
            self.connection._short = None
        self.answers: list[bytes] = []
        self.wire.write = self.answers.append

    async def ask(self, data: bytes = PLAIN) -> bytes:
        self.answers.clear()
        self.connection.data_received(data)
        for _ in range(20):
            for origin in self._loop.asked:
                origin.protocol.data_received(self._response)
            self._loop.asked.clear()
            await asyncio.sleep(0)
        return b"".join(self.answers)


def run(tmp_path: Path, check: Callable[[Bench, list[Any]], Awaitable[None]], response: bytes = RESPONSE) -> list[Any]:
    """`check` gets the hop, and what took the short way. Returns the lines of the access log."""

    async def checked() -> None:
        async with built("edge", tmp_path, response) as bench:
            short = bench.hop.context.short
            assert short is not None
            brief, taken = short.brief, list[Any]()

            def told(one: Any) -> None:
                taken.append(one)
                brief(one)

            short.brief = told
            await check(bench, taken)
            bench.hop.context.in_flight = 0

    with asyncio.Runner(loop_factory=WiredLoop) as runner:
        runner.run(checked())
    return [json.loads(line) for line in (tmp_path / "access.log").open()]


def changing(answer: bytes) -> bytes:
    """What differs from one answer to the next, made the same."""
    answer = re.sub(rb"x-request-id: [0-9a-f]{32}", b"x-request-id: ID", answer)
    answer = re.sub(rb"age: [0-9]+|ttl=[0-9]+", b"N", answer)
    return re.sub(rb"dur=[0-9.]+", b"dur=0", answer)


@pytest.mark.parametrize("tls", [None, TlsInfo("TLSv1.3", "x", "shop.test", "http/1.1")])
def test_answer_log_and_metrics_are_those_of_the_long_way(tmp_path: Path, tls: TlsInfo | None) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        usual, other = Client(bench, tls=tls), Client(bench, long=True, tls=tls)
        await usual.ask()
        before = bench.hop.metrics.samples()
        short = await usual.ask()
        between = bench.hop.metrics.samples()
        long = await other.ask()
        after = bench.hop.metrics.samples()
        assert len(taken) == 1
        assert changing(short) == changing(long)
        assert short.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"x-cache: HIT" in short
        counted = [name for name in after if "seconds" not in name and name != "hopstack_cache_bytes"]
        assert {name: between[name] - before.get(name, 0) for name in counted} == {
            name: after[name] - between[name] for name in counted
        }
        assert sum(between[name] - before.get(name, 0) for name in counted if "requests_total" in name) == 1

    _, short, long = run(tmp_path, check)
    assert list(short) == list(long)
    for line in (short, long):
        assert re.fullmatch("[0-9a-f]{32}", line["request_id"])
        assert line.pop("request_id") == line.pop("trace_id")
        assert re.fullmatch("[0-9a-f]{16}", line.pop("span_id"))
        assert [mark[:2] for mark in line.pop("marks")] == [["lookup", "hit"]]
        del line["time"], line["ms"]
    assert short == long
    assert short["query"] == "token=***"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"\r\n\r\n", b"\r\nCache-Control: max-age=100\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b'\r\nIf-None-Match: "x"\r\n\r\n'),
        PLAIN.replace(b"\r\n\r\n", b"\r\nRange: bytes=0-1\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nAuthorization: Basic x\r\n\r\n"),
        PLAIN.replace(b"shop.test", b"other.test"),
        PLAIN.replace(b"GET", b"HEAD"),
        PLAIN.replace(b"/1.1", b"/1.0"),
        PLAIN.replace(b"abc", b"a%00c"),
    ],
)
def test_any_other_request_goes_the_long_way(tmp_path: Path, data: bytes) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        await client.ask()
        assert await client.ask(data)
        assert not taken

    run(tmp_path, check)


def test_a_miss_goes_the_long_way(tmp_path: Path) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        assert b"x-cache: MISS" in await client.ask()
        assert b"x-cache: MISS" in await client.ask(PLAIN.replace(b"/a", b"/b"))
        assert not taken

    run(tmp_path, check)


def test_what_varies_is_found_by_the_fields_that_it_names(tmp_path: Path) -> None:
    def asked(language: bytes) -> bytes:
        return PLAIN.replace(b"User-Agent: x", b"Accept-Language: %b" % language)

    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        assert b"x-cache: MISS" in await client.ask(asked(b"en"))
        assert b"x-cache: HIT" in await client.ask(asked(b"en"))
        assert b"x-cache: HIT" in await client.ask(asked(b"EN "))
        assert len(taken) == 2
        for language in (b"fr", b"en, fr"):
            assert b"x-cache: MISS" in await client.ask(asked(language))
        assert b"x-cache: MISS" in await client.ask()
        assert len(taken) == 2
        for language in (b"fr", b"en", b"en,fr"):
            assert b"x-cache: HIT" in await client.ask(asked(language))
        assert len(taken) == 5

    run(tmp_path, check, RESPONSE.replace(b"Accept-Ranges: bytes", b"Vary: Accept-Language"))


def test_what_a_trusted_peer_says_is_heard(tmp_path: Path) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench, trusted=True)
        asked = PLAIN.replace(b"User-Agent: x", b"X-Request-ID: mine")
        for _ in range(3):
            assert b"x-request-id: mine\r\n" in await client.ask(asked)
        assert not taken

    run(tmp_path, check)


def test_requests_behind_each_other_are_answered_in_their_order(tmp_path: Path) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        await client.ask()
        head = PLAIN.replace(b"GET", b"HEAD")
        answers = await client.ask(PLAIN + PLAIN + head + PLAIN[:20])
        assert (answers.count(b"HTTP/1.1 200 OK"), len(taken)) == (3, 2)
        assert b"x-cache: HIT" in await client.ask(PLAIN[20:])
        assert len(taken) == 3

    run(tmp_path, check)


def test_a_host_that_may_not_be_asked_for_here_is_not_found_in_the_cache(tmp_path: Path) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        await Client(bench, tls=TlsInfo("TLSv1.3", "x", "shop.test", "")).ask()
        client = Client(bench, tls=TlsInfo("TLSv1.3", "x", "other.test", ""))
        client.peer.authorities = Authorities("other.test", Names(["other.test"]))
        for _ in range(2):
            assert (await client.ask()).startswith(b"HTTP/1.1 421 ")
        assert not taken

    run(tmp_path, check)


def test_the_last_request_of_a_connection_says_that_it_closes(tmp_path: Path) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        await client.ask()
        await client.ask()
        assert len(taken) == 1
        bench.hop.context.draining = True
        assert b"connection: close" in await client.ask()

    run(tmp_path, check)


@pytest.mark.parametrize(("lines", "status"), [(99, 200), (100, 431), (2, 200)])
def test_limits_of_heads_are_the_same(tmp_path: Path, lines: int, status: int) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        await client.ask()
        data = PLAIN.replace(b"User-Agent: x\r\n", b"a: b\r\n" * lines)
        assert (await client.ask(data)).startswith(b"HTTP/1.1 %d " % status)
        assert len(taken) == (status == 200)

    run(tmp_path, check)


@pytest.mark.parametrize(("size", "status"), [(8 * 1024, 200), (8 * 1024 + 1, 414)])
def test_so_are_those_of_targets(tmp_path: Path, size: int, status: int) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        await client.ask()
        data = PLAIN.replace(b"/a?token=abc", b"/".ljust(size, b"a"))
        assert (await client.ask(data)).startswith(b"HTTP/1.1 %d " % status)
        await client.ask(data)
        assert len(taken) == (status == 200)

    run(tmp_path, check)


def test_whoever_stands_before_the_service_is_not_passed_by(tmp_path: Path) -> None:
    """As a fault does."""

    async def check(bench: Bench, taken: list[Any]) -> None:
        client, context = Client(bench), bench.hop.context
        await client.ask()
        service = context.service
        context.service = type("Before", (), {"handle": staticmethod(service.handle)})()
        await client.ask()
        assert not taken
        context.service = service
        await client.ask()
        assert len(taken) == 1

    run(tmp_path, check)


def test_what_is_not_fresh_any_more_goes_the_long_way(tmp_path: Path) -> None:
    async def check(bench: Bench, taken: list[Any]) -> None:
        client = Client(bench)
        await client.ask()
        assert bench.hop.store.invalidate(b"http://shop.test/a?token=abc") == 1
        assert b"x-cache: MISS" in await client.ask()
        assert not taken

    run(tmp_path, check)
