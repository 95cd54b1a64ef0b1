"""A fault on what a hop serves, as its client sees it on the wire: HTTP/1.1 by bytes, HTTP/2 by our own client."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame

from stack.clock import eventually
from stack.errors import HopError, ResponseIncomplete
from tests.stack.faults.lab import CONTENT, Lab, lab
from tests.support import h2_peer

GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=["whole", "stream"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with lab(streamed=request.param == "stream") as made:
        yield made


async def raw(served: Lab, data: bytes = GET) -> tuple[bytes, str]:
    """What came, and how it ended: `fin` or `reset`."""

    async def talk() -> tuple[bytes, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.service.port)
        writer.write(data)
        got = bytearray()
        try:
            while piece := await reader.read(65536):
                got += piece
            return bytes(got), "fin"
        except ConnectionResetError:
            return bytes(got), "reset"
        finally:
            writer.close()

    return await served.passing(talk())


def content(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    out = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        if not size or not int(size, 16):
            break
        out, body = out + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return out


def last(served: Lab) -> tuple[tuple[str, ...], str, list[str]]:
    exchange = served.service.exchanges[-1]
    return exchange.faults, exchange.termination, [word for step, word, _ in exchange.marks if step == "fault"]


@pytest.mark.parametrize("on", ["lb-a", "client>lb-a", "lb-*", "*>lb-a"])
async def test_latency(served: Lab, on: str) -> None:
    served.add(f"{on} latency=300ms name=x")
    before = served.clock.now()
    answer, _ = await raw(served)
    assert content(answer) == CONTENT
    assert served.clock.now() - before == pytest.approx(0.3)
    assert b'under-test.fault;dur=300.0;desc="latency"' in answer
    assert last(served) == (("x",), "", ["latency"])


async def test_a_status(served: Lab) -> None:
    served.add("client>lb-a status=502 name=x")
    answer, _ = await raw(served)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b'proxy-status: under-test;error=proxy_internal_response;details="injected: x"' in answer
    assert b'"detail": "injected: x"' in answer
    assert served.service.exchanges[-1].proxy_status == "proxy_internal_response"
    assert not served.asked


@pytest.mark.parametrize("kind", ["refused", "reset=0"])
async def test_a_reset_before_a_byte(served: Lab, kind: str) -> None:
    served.add(f"lb-a {kind} name=x")
    assert await raw(served) == (b"", "reset")
    await eventually(lambda: bool(served.service.exchanges))
    assert last(served) == (("x",), "injected", [kind.partition("=")[0]])
    assert len(served.asked) == (kind != "refused")


async def test_a_reset_within_the_content(served: Lab) -> None:
    served.add("lb-a reset=3000")
    answer, end = await raw(served)
    assert end == "reset"
    assert len(content(answer)) <= 3000  # a reset may also take what was sent
    await eventually(lambda: bool(served.service.exchanges))
    assert last(served)[1:] == ("injected", ["reset"])


async def test_a_visible_early_end(served: Lab) -> None:
    served.add("lb-a truncate=3000")
    answer, end = await raw(served)
    assert end == "fin"
    assert content(answer) == CONTENT[:3000]
    assert b"content-length: %d" % len(CONTENT) in answer or not answer.endswith(b"0\r\n\r\n")


async def test_a_corrupted_byte(served: Lab) -> None:
    served.add("lb-a corrupt=7")
    answer, _ = await raw(served)
    got = content(answer)
    assert got[7] == CONTENT[7] ^ 0xFF
    assert got[:7] + got[8:] == CONTENT[:7] + CONTENT[8:]


async def test_bandwidth_and_a_late_end(served: Lab) -> None:
    served.add("lb-a down=5K slow_close=4s")
    before = served.clock.now()
    answer, _ = await raw(served)
    assert content(answer) == CONTENT
    assert served.clock.now() - before == pytest.approx(4 + len(CONTENT) / 5120, rel=0.01)


async def test_bandwidth_of_the_request(served: Lab) -> None:
    served.add("lb-a up=1K")
    before = served.clock.now()
    body = b"b" * 4096
    head = b"POST /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 4096\r\n\r\n"
    answer, _ = await raw(served, head + body)
    assert content(answer) == body
    assert served.clock.now() - before == pytest.approx(4.0, rel=0.01)


async def test_a_black_hole_swallows_until_it_is_cleared(served: Lab) -> None:
    served.add("lb-a blackhole name=x")
    waiting = asyncio.ensure_future(raw(served))
    await eventually(lambda: served.server.context.in_flight == 1)
    await served.clock.advance(3600)
    assert not waiting.done()
    served.serving.clear()
    assert await waiting == (b"", "reset")


async def test_a_black_hole_ends_with_its_time(served: Lab) -> None:
    """Though nobody else asks, which would have it looked at."""
    served.add("lb-a blackhole for=30s name=x")
    before = served.clock.now()
    assert await raw(served) == (b"", "reset")
    assert served.clock.now() - before == pytest.approx(30)
    assert served.serving.waiting() is None


async def test_a_black_hole_that_is_cleared_before_a_request_reaches_it() -> None:
    async with lab() as served:
        served.add("lb-a latency=5s blackhole name=x")
        reader, writer = await asyncio.open_connection("127.0.0.1", served.service.port)
        writer.write(GET)
        await eventually(lambda: served.serving.waiting() is not None)
        served.serving.clear()
        await served.clock.advance(5)
        with contextlib.closing(writer), pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)


async def test_a_hop_that_is_to_stop_keeps_nothing_in_a_black_hole(served: Lab) -> None:
    served.add("lb-a blackhole name=x")
    served.serving.let_go()
    assert await asyncio.wait_for(raw(served), 10) == (b"", "reset")  # on a connection that was kept


async def test_a_client_that_leaves_a_black_hole_is_forgotten() -> None:
    async with lab() as served:
        served.add("lb-a blackhole")
        _, writer = await asyncio.open_connection("127.0.0.1", served.service.port)
        writer.write(GET)
        await eventually(lambda: served.server.context.in_flight == 1)
        raw_socket = writer.get_extra_info("socket")
        raw_socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: by reset
        writer.close()
        await eventually(lambda: served.server.context.in_flight == 0)
        assert served.service.exchanges[-1].termination == "client-gone"


async def test_a_kept_connection_meets_a_fault_that_is_added_later() -> None:
    async with lab() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.service.port)
        with contextlib.closing(writer):
            for text, status in (("", b"200"), ("lb-a status=500 name=x", b"500"), ("", b"200")):
                served.serving.clear()
                if text:
                    served.add(text)
                writer.write(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.split(b" ")[1] == status
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)


async def test_only_clients_meet_a_fault_of_clients() -> None:
    async with lab() as served:
        served.add("client>lb-a status=500")
        assert (await served.send()).status == 500
    async with lab(trusted=["127.0.0.1"]) as served:
        served.add("client>lb-a status=500")
        assert (await served.send()).status == 200
        served.add("lb-a status=501")
        assert (await served.send()).status == 501


async def test_checks_are_left_alone_unless_they_are_meant() -> None:
    check = GET.replace(b"\r\nConn", b"\r\nUser-Agent: hopstack-check\r\nConn")
    async with lab() as served:
        served.add("lb-a status=500 name=x")
        assert (await raw(served, check))[0].startswith(b"HTTP/1.1 200 ")
        assert (await raw(served))[0].startswith(b"HTTP/1.1 500 ")
        served.add("lb-a status=500 checks=yes name=x")
        assert (await raw(served, check))[0].startswith(b"HTTP/1.1 500 ")
        served.add("lb-a refused name=x")
        assert await raw(served, check) == (b"", "reset")


@pytest.mark.parametrize("kind", ["refused", "reset=0", "reset=3000", "truncate=3000"])
async def test_over_http2_it_is_the_stream_that_is_reset(kind: str) -> None:
    async with lab("h2", streamed=True) as served:
        assert await served.get() == CONTENT
        served.add(f"lb-a {kind} name=x first=1")
        with pytest.raises(HopError) as raised:
            await served.get()
        assert isinstance(raised.value, ResponseIncomplete)
        assert await served.get() == CONTENT
        assert served.pool.statistics().opened == 1  # its neighbours on the connection saw nothing
        assert last(served)[0] == ()
        assert [exchange.termination for exchange in served.service.exchanges] == ["", "injected", ""]


@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_over_http2_so_much_content_goes_out_before_the_reset(kind: str) -> None:
    async with lab("h2", streamed=True) as served:
        served.add(f"lb-a {kind}=3000")
        async with h2_peer.client(served.service.port) as peer:
            peer.send(peer.headers(1, h2_peer.GET))
            assert await peer.reset_of(1) == 2  # INTERNAL_ERROR
            sent = b"".join(frame.data for frame in peer.seen if isinstance(frame, DataFrame))
            assert sent == CONTENT[:3000]
            assert not any(isinstance(frame, DataFrame) and "END_STREAM" in frame.flags for frame in peer.seen)


async def test_status_and_latency_over_http2() -> None:
    async with lab("h2") as served:
        served.add("lb-a status=503 latency=1s")
        before = served.clock.now()
        response = await served.send()
        assert response.status == 503
        assert served.clock.now() - before == pytest.approx(1.0)
