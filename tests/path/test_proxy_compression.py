"""Through TLS, a client gets in the coding it likes best what the app sent, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from stack.clock import eventually
from stack.http.message import Request, Response
from stack.telemetry.exchange import Exchange
from tests.proxy.processes import Proxy, proxy
from tests.support.wire import serving

pytestmark = pytest.mark.needs("curl")

PAGE = b"<li>shoes</li>\n" * 2000


def app(request: Request, exchange: Exchange) -> Response:
    if request.path == b"/health":
        return Response(200, [], b"ok")
    if request.path == b"/streamed":
        return Response(200, [(b"content-type", b"text/html"), (b"etag", b'"v1"')], pieces())
    if request.path == b"/encoded":
        fields = [(b"content-type", b"text/plain"), (b"content-encoding", b"gzip"), (b"etag", b'"v1"')]
        return Response(200, fields, b"\x1f\x8b" + bytes(2000))
    if request.get(b"if-none-match") in (b'"v1"', b'W/"v1"'):
        return Response(304, [(b"etag", b'"v1"')])
    fields = [(b"content-type", b"text/html"), (b"etag", b'"v1"'), (b"accept-ranges", b"bytes")]
    return Response(200, fields, PAGE if request.path == b"/page" else b"small")


async def pieces() -> AsyncGenerator[bytes, None]:
    for at in range(0, len(PAGE), 5000):
        yield PAGE[at : at + 5000]


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Proxy]:
    async with serving(app) as (service, _), proxy(service.port, home=tmp_path) as running:
        yield running


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("path", ["/page", "/streamed"])
async def test_every_coding(front: Proxy, version: str, path: str) -> None:
    for accept, coding in (("br, gzip", "br"), ("zstd", "zstd"), ("gzip;q=1, br;q=0.1", "gzip")):
        reply = await front.curl(path, version, "--compressed", "--header", f"accept-encoding: {accept}")
        assert (reply.code, reply.status, reply.body) == (0, 200, PAGE)
        assert reply.fields["content-encoding"] == coding
        assert reply.fields["vary"] == "Accept-Encoding"
        assert reply.fields["etag"] == 'W/"v1"'
        assert "accept-ranges" not in reply.fields
        assert reply.fields["via"] == "1.1 proxy-1"
        assert "proxy-1.compress;dur=" in reply.fields["server-timing"]
        coded = await front.curl(path, version, "--header", f"accept-encoding: {accept}")
        assert len(coded.body) < len(PAGE) / 10
        if path == "/page":
            assert coded.fields["content-length"] == str(len(coded.body))


async def test_identity_varies_and_is_untouched(front: Proxy) -> None:
    reply = await front.curl("/page")
    assert (reply.body, reply.fields["etag"], reply.fields["vary"]) == (PAGE, '"v1"', "Accept-Encoding")
    assert "content-encoding" not in reply.fields


async def test_small_and_encoded_bodies_are_untouched(front: Proxy) -> None:
    small = await front.curl("/small", "--compressed")
    assert (small.body, small.fields.get("vary")) == (b"small", None)
    encoded = await front.curl("/encoded", "--header", "accept-encoding: br, gzip")
    assert (encoded.body[:2], encoded.fields["content-encoding"], encoded.fields["etag"]) == (
        b"\x1f\x8b",
        "gzip",
        '"v1"',
    )


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_head_has_the_fields_of_get(front: Proxy, version: str) -> None:
    asked = await front.curl("/page", version, "--head", "--header", "accept-encoding: br")
    got = await front.curl("/page", version, "--header", "accept-encoding: br")
    assert (asked.code, asked.body) == (0, b"")
    own = {"date", "x-request-id", "server-timing", "content-length"}
    assert {k: v for k, v in asked.fields.items() if k not in own} == {
        k: v for k, v in got.fields.items() if k not in own
    }
    assert "content-length" not in asked.fields


async def test_a_coded_copy_is_revalidated(front: Proxy) -> None:
    """RFC 9110 §13.1.2, §15.4.5."""
    reply = await front.curl("/page", "--header", "accept-encoding: br", "--header", 'if-none-match: W/"v1"')
    assert (reply.status, reply.fields["etag"], reply.fields["vary"]) == (304, 'W/"v1"', "Accept-Encoding")


async def test_the_log_has_the_words(front: Proxy) -> None:
    await front.curl("/page", "--compressed")
    await front.curl("/small", "--compressed")
    await eventually(lambda: len(words(front)) >= 2)
    assert words(front) == [
        ["route app", "forward answered", "compress zstd"],
        ["route app", "forward answered", "compress small"],
    ]
    assert {line["upstream"] for line in front.log()} == {"app-1"}


def words(front: Proxy) -> list[list[str]]:
    return [[f"{step} {word}" for step, word, _ in line["marks"]] for line in front.log()]
