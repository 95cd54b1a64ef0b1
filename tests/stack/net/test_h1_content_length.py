"""What a service says of its content's length is held against the content (RFC 9110 §8.6): never a response too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from stack.errors import ResponseIncomplete
from stack.http.message import FieldBlock, Request, Response
from stack.telemetry.exchange import Exchange
from tests.support.h1_cases import Seen
from tests.support.h2_peer import GET, client
from tests.support.wire import serving, talk

TWO = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEADS = b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def answers(request: bytes, make: Response, *methods: str) -> Seen:
    def handle(request: Request, exchange: Exchange) -> Response:
        return make if request.target == b"/1" else Response(200, [], b"two")

    async with serving(handle) as (service, _):
        seen = Seen(await talk(service.port, request, half_close=False), True, methods)
        seen.read()
        return seen


async def talk_two(make: Response) -> Seen:
    return await answers(TWO, make)


@pytest.mark.parametrize("length", [b"4", b"6", b"0", b"-5", b"+5", b"0x5", b"5, 5", b"", b"abc", b"5 ", b"9" * 5000])
@pytest.mark.parametrize("stored", [False, True], ids=["fields", "block"])
async def test_a_wrong_length_is_an_error_and_shifts_nothing(length: bytes, stored: bool) -> None:
    fields = [(b"content-length", length)]
    wrong = Response(200, [], b"hello", block=FieldBlock(fields)) if stored else Response(200, fields, b"hello")
    seen = await talk_two(wrong)
    assert [answer.status for answer in seen.final] == [500, 200]
    assert seen.final[1].body == b"two"


async def test_a_right_length_is_kept() -> None:
    seen = await talk_two(Response(200, [(b"content-length", b"5")], b"hello"))
    assert [(answer.status, answer.body) for answer in seen.final] == [(200, b"hello"), (200, b"two")]
    assert seen.final[0].all(b"content-length") == [b"5"]


async def pieces() -> AsyncGenerator[bytes, None]:
    yield b"hel"
    yield b"lo"


@pytest.mark.parametrize("length", [b"-5", b"+5", b"0_5", b"5, 5", b"abc", b"9" * 30])
async def test_content_in_pieces_with_what_is_no_length(length: bytes) -> None:
    seen = await talk_two(Response(200, [(b"content-length", length)], pieces()))
    assert seen.final[0].status == 500


@pytest.mark.parametrize(("length", "got"), [(b"4", b"hel"), (b"6", b"hello")])
async def test_content_in_pieces_that_does_not_fit_is_visibly_cut(length: bytes, got: bytes) -> None:
    seen = await talk_two(Response(200, [(b"content-length", length)], pieces()))
    assert [(answer.status, answer.complete) for answer in seen.final] == [(200, False)]
    assert seen.final[0].body == got


async def broken() -> AsyncGenerator[bytes, None]:
    yield b"hello"
    await asyncio.sleep(0.05)
    raise ResponseIncomplete


@pytest.mark.parametrize(
    ("version", "reset"),
    [pytest.param(b"1.1", False, id="9112 §7.1 no last chunk"), pytest.param(b"1.0", True, id="9112 §8 to the close")],
)
async def test_content_that_breaks_off_is_never_whole(version: bytes, reset: bool) -> None:
    async with serving(lambda request, exchange: Response(200, [], broken())) as (service, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        got = await reader.readuntil(b"hello")
        if reset:  # an orderly close would be the end of the content
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert (got + await reader.read()).endswith(b"\r\n5\r\nhello\r\n")
        writer.close()


@pytest.mark.parametrize(
    ("status", "lengths"),
    [
        pytest.param(200, [b"999"], id="9110 §9.3.2 HEAD tells GET's length"),
        pytest.param(204, [], id="9110 §8.6 none with 204"),
        pytest.param(304, [b"999"], id="9110 §15.4.5 that of the 200"),
    ],
)
async def test_where_there_is_no_content_the_length_is_another_s(status: int, lengths: list[bytes]) -> None:
    seen = await answers(HEADS, Response(status, [(b"content-length", b"999")]), "HEAD", "HEAD")
    assert [answer.status for answer in seen.final] == [status, 200]
    assert seen.final[0].all(b"content-length") == lengths


@pytest.mark.parametrize("status", [204, 205])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
async def test_a_length_in_a_block_does_not_go_with_what_has_no_content(status: int, whole: bool) -> None:
    """RFC 9110 8.6, 15.3.6: as in the fields; and what else is in the block goes once."""
    block = FieldBlock([(b"content-length", b"5"), (b"date", b"Sat, 21 Nov 2026 19:00:00 GMT"), (b"x-a", b"1")])
    seen = await talk_two(Response(status, [], b"hello" if whole else pieces(), block=block))
    assert [answer.status for answer in seen.final] == [status, 200]
    head = seen.final[0]
    assert head.all(b"content-length") == ([b"0"] if status == 205 else [])
    assert (len(head.all(b"date")), head.all(b"x-a")) == (1, [b"1"])
    assert seen.final[1].body == b"two"


@pytest.mark.parametrize("length", [b"4", b"6", b"-5", b"5, 5", b""])
async def test_a_wrong_length_is_an_error_over_h2_too(length: bytes) -> None:
    """RFC 9113 8.1.1: to the client the response would be malformed, and the log would call it a success."""
    wrong = Response(200, [(b"content-length", length)], b"hello")
    async with serving(lambda request, exchange: wrong) as (service, _), client(service.port) as peer:
        peer.send(peer.headers(1, GET))
        head, _, _ = await peer.answer(1)
    assert dict(head)[b":status"] == b"500"
    assert [exchange.status for exchange in service.exchanges] == [500]
