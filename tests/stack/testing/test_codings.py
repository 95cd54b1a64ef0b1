"""Codings of content, undone whole and piece by piece."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from stack.testing import WebStack
from stack.testing.codings import Uncoded, uncoded

PAGE = b"<p>hello</p>" * 500
CODED = {
    "gzip": gzip.compress(PAGE),
    "deflate": zlib.compress(PAGE),
    "br": brotli.compress(PAGE),
    "zstd": zstandard.ZstdCompressor().compress(PAGE),
    "br, GZIP": gzip.compress(brotli.compress(PAGE)),
    "identity": PAGE,
}


@pytest.mark.parametrize("coding", CODED)
def test_undone_whole_and_in_pieces(coding: str) -> None:
    assert uncoded(CODED[coding], coding) == PAGE
    undoing = Uncoded(coding)
    assert b"".join(undoing.feed(CODED[coding][at : at + 7]) for at in range(0, len(CODED[coding]), 7)) == PAGE
    undoing.end()


@pytest.mark.parametrize("coding", [coding for coding in CODED if coding != "identity"])
def test_what_is_cut_or_no_such_coding_is_said(coding: str) -> None:
    with pytest.raises(ValueError, match="is not whole"):
        uncoded(CODED[coding][:-9], coding)
    with pytest.raises(ValueError, match="the content is none"):
        uncoded(b"plain text, not coded at all", coding)
    assert uncoded(b"", coding) == b""


def test_an_unknown_coding() -> None:
    with pytest.raises(ValueError, match=r"content-encoding: compress: .* r\.raw"):
        uncoded(b"x", "compress")


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_what_the_proxy_coded(coding: str) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        if scope["type"] != "http":  # type: ignore[index]
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": PAGE})  # type: ignore[operator]

    async with WebStack(app, replicas=1) as web:
        r = await web.get("/", headers={"Accept-Encoding": coding})
        assert r.headers["content-encoding"] == coding
        assert r.body == PAGE
        assert len(r.raw) < len(PAGE)
