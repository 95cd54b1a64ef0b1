"""Carrying out a plan: what was sent is readable at once, what broke off is seen to have, what is left is closed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping

import pytest
import zstandard

from proxy.codecs.br import Brotli
from proxy.codecs.coder import Coder
from proxy.codecs.gzip import Gzip
from proxy.codecs.zstd import Zstd
from proxy.compression import AT_ONCE, PIECE, Compressor
from proxy.config import COMPRESSIBLE
from proxy.rules.compression import Policy, Types
from stack.clock import settle
from stack.errors import ResponseIncomplete
from stack.http.message import Body, BodyStream, Fields, Request, Response
from stack.net.stream import Incoming
from stack.telemetry.exchange import Exchange

CODERS: Mapping[bytes, Coder] = {b"zstd": Zstd(3), b"br": Brotli(4), b"gzip": Gzip(2)}
COMPRESSOR = Compressor(Policy(tuple(CODERS), 1024, Types(COMPRESSIBLE)), CODERS)


def unzstd() -> Callable[[bytes], bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress


def compress(
    body: Body,
    *,
    accept: bytes = b"zstd",
    content_type: bytes = b"text/plain",
    method: bytes = b"GET",
    fields: Fields | None = None,
    flush: bool = True,
) -> tuple[Response, Exchange]:
    request = Request(method, b"/", [(b"accept-encoding", accept)], authority=b"shop.test")
    exchange = Exchange("proxy-1", lambda: 0.0, request)
    response = Response(200, [(b"content-type", content_type), *(fields or [])], body)
    return COMPRESSOR.apply(request, response, exchange, flush=flush), exchange


def streamed(response: Response) -> BodyStream:
    assert not isinstance(response.body, bytes)
    return response.body


def test_a_small_complete_body_stays_complete() -> None:
    text = b"shoes " * 1000
    response, exchange = compress(text, fields=[(b"content-length", b"6000"), (b"etag", b'"a"')])
    assert isinstance(response.body, bytes)
    assert zstandard.ZstdDecompressor().decompress(response.body) == text
    assert response.fields == [
        (b"content-type", b"text/plain"),
        (b"etag", b'W/"a"'),
        (b"content-encoding", b"zstd"),
        (b"vary", b"Accept-Encoding"),
    ]
    assert exchange.marks == [("compress", "zstd", 0.0)]


def test_identity_still_varies() -> None:
    response, exchange = compress(b"x" * 2000, accept=b"identity", fields=[(b"etag", b'"a"')])
    assert response.body == b"x" * 2000
    assert response.fields == [(b"content-type", b"text/plain"), (b"etag", b'"a"'), (b"vary", b"Accept-Encoding")]
    assert exchange.marks == [("compress", "identity", 0.0)]


def test_what_is_not_eligible_is_not_touched() -> None:
    fields: Fields = [(b"content-encoding", b"gzip"), (b"etag", b'"a"'), (b"vary", b"Cookie")]
    response, exchange = compress(b"x" * 2000, fields=list(fields))
    assert response.body == b"x" * 2000
    assert response.fields == [(b"content-type", b"text/plain"), *fields]
    assert exchange.marks == [("compress", "encoded", 0.0)]


def test_head_has_the_fields_of_get() -> None:
    fields: Fields = [(b"content-length", b"6000"), (b"etag", b'"a"'), (b"accept-ranges", b"bytes")]
    got, _ = compress(b"x" * 6000, fields=list(fields))
    asked, exchange = compress(b"", method=b"HEAD", fields=list(fields))
    assert asked.fields == got.fields
    assert asked.body == b""
    assert exchange.marks == [("compress", "head", 0.0)]


@pytest.mark.parametrize("accept", [b"zstd", b"br", b"gzip"])
@pytest.mark.parametrize("content_type", [b"text/event-stream", b"text/plain"])
async def test_each_chunk_is_readable_before_the_next_is_sent(accept: bytes, content_type: bytes) -> None:
    source = Incoming(1 << 16)
    response, _ = compress(source, accept=accept, content_type=content_type)
    body = streamed(response)
    decode = {b"zstd": unzstd(), b"gzip": zlib.decompressobj(31).decompress, b"br": _unbr()}[accept]
    for n in range(20):
        event = b"data: %d\n\n" % n
        source.feed(event)
        assert decode(await body.__anext__()) == event
        more = asyncio.ensure_future(body.__anext__())
        await settle(3)
        assert not more.done()  # nothing is made up while the app is silent
        source.feed(b":\n")
        assert decode(await more) == b":\n"
    source.end()
    assert decode(b"".join([piece async for piece in body])) == b""


def _unbr() -> Callable[[bytes], bytes]:
    import brotli

    decompress: Callable[[bytes], bytes] = brotli.Decompressor().process
    return decompress


async def test_without_flush_pieces_are_gathered() -> None:
    source = Incoming(1 << 16)
    response, _ = compress(source, flush=False)
    for _ in range(3):
        source.feed(b"a little ")
    source.end()
    pieces = [piece async for piece in streamed(response)]
    assert len(pieces) == 1
    assert unzstd()(pieces[0]) == b"a little " * 3


@pytest.mark.parametrize("accept", [b"zstd", b"br", b"gzip"])
async def test_a_source_that_breaks_off_leaves_the_coding_unfinished(accept: bytes) -> None:
    source = Incoming(1 << 16)
    response, _ = compress(source, accept=accept)
    body = streamed(response)
    source.feed(b"half of it")
    first = await body.__anext__()
    source.fail(ResponseIncomplete())
    with pytest.raises(ResponseIncomplete):
        await body.__anext__()
    await body.aclose()
    if accept == b"gzip":
        decoder = zlib.decompressobj(31)
        assert decoder.decompress(first) == b"half of it"
        assert not decoder.eof
    elif accept == b"zstd":
        frame = zstandard.ZstdDecompressor().decompressobj()
        assert frame.decompress(first) == b"half of it"
        assert not frame.eof
    else:
        import brotli

        unfinished = brotli.Decompressor()
        assert unfinished.process(first) == b"half of it"
        assert not unfinished.is_finished()


@pytest.mark.parametrize("reads", [0, 1])
async def test_leaving_closes_the_source(reads: int) -> None:
    left: list[bool] = []
    source = Incoming(1 << 16, closed=lambda: left.append(True))
    response, _ = compress(source)
    body = streamed(response)
    source.feed(b"x")
    for _ in range(reads):
        await body.__anext__()
    await body.aclose()
    assert left == [True]
    with pytest.raises(StopAsyncIteration):
        await body.__anext__()


async def test_a_source_is_read_no_faster_than_the_client() -> None:
    paused: list[bool] = []
    source = Incoming(1000, pause=lambda: paused.append(True), resume=lambda: paused.clear())
    response, _ = compress(source)
    source.feed(b"x" * 2000)
    assert paused == [True]
    await streamed(response).__anext__()
    assert paused == []


async def test_trailers_about_the_other_coding_go() -> None:
    source = Incoming(1 << 16)
    response, _ = compress(source)
    source.feed(b"x" * 2000)
    response.trailers += [(b"content-digest", b"sha-256=:AA==:"), (b"grpc-status", b"0")]
    source.end()
    async for _ in streamed(response):
        pass
    assert response.trailers == [(b"grpc-status", b"0")]


async def test_a_long_complete_body_leaves_turns_to_others() -> None:
    text = b"0123456789abcdef" * (AT_ONCE // 8)
    response, _ = compress(text, fields=[(b"content-length", b"%d" % len(text))])
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(other())
    decode = unzstd()
    decoded = b"".join([decode(piece) async for piece in streamed(response)])
    counting.cancel()
    assert decoded == text
    assert turns >= len(text) // PIECE - 1


def test_a_304_about_a_coded_copy_carries_its_tag() -> None:
    request = Request(b"GET", b"/", [(b"accept-encoding", b"br"), (b"if-none-match", b'W/"a"')], authority=b"shop.test")
    response = Response(304, [(b"etag", b'"a"')])
    COMPRESSOR.apply(request, response, Exchange("proxy-1", lambda: 0.0, request))
    assert response.fields == [(b"etag", b'W/"a"'), (b"vary", b"Accept-Encoding")]


async def test_what_was_saved_is_counted() -> None:
    compressor = Compressor(Policy((b"gzip",), 1024, Types(COMPRESSIBLE)), {b"gzip": Gzip(2)})
    text = b"shoes " * 1000
    source = Incoming(1 << 16)
    source.feed(text)
    source.end()
    sent = 0
    for body in (text, source):
        request = Request(b"GET", b"/", [(b"accept-encoding", b"gzip")], authority=b"shop.test")
        response = Response(200, [(b"content-type", b"text/plain")], body)
        compressor.apply(request, response, Exchange("proxy-1", lambda: 0.0, request))
        if isinstance(response.body, bytes):
            sent += len(response.body)
        else:
            sent += sum([len(piece) async for piece in response.body])
    assert compressor.statistics() == {"gzip": {"responses": 2, "before": 12_000, "after": sent}}
