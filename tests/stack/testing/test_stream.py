"""Content as it comes, and the end of who sends it."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest

from stack.clock import eventually
from stack.testing import Late, NoResponse, SyncWebStack, WebStack, assert_miss


class Feed:
    """Sends what it is told to, until nobody listens or `last` was told."""

    def __init__(self) -> None:
        self.told = asyncio.Queue[str]()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await receive()
        headers = [(b"content-type", b"text/event-stream; charset=latin-1")]
        if scope["path"] == "/health":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["path"] == "/coded":
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/coded":
            coding = zlib.compressobj(wbits=31)
            for text in ("one", "two"):
                coded = coding.compress(text.encode()) + coding.flush(zlib.Z_SYNC_FLUSH)
                await send({"type": "http.response.body", "body": coded, "more_body": True})
                await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": coding.flush()})
            return
        await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head, now
        leaves = asyncio.ensure_future(receive())
        while True:
            tells = asyncio.ensure_future(self.told.get())
            await asyncio.wait([leaves, tells], return_when=asyncio.FIRST_COMPLETED)
            if not tells.done():
                tells.cancel()
                self.gone.set()
                return
            text = tells.result()
            if text == "last":
                leaves.cancel()
                await send({"type": "http.response.body", "body": b""})
                return
            await send({"type": "http.response.body", "body": text.encode("latin-1"), "more_body": True})


@pytest.mark.parametrize("http", ["h1", "h2"])
async def test_lines_come_as_they_are_sent(http: str) -> None:
    feed = Feed()
    async with WebStack(feed, replicas=1) as web:
        async with web.stream("GET", "/events", http=http) as r:
            assert (r.status, r.edge, r.charset) == (200, "edge-fra", "iso8859-1")
            assert_miss(r)
            lines = r.lines()
            for sent, line in (
                ("data: 1\r\n", "data: 1"),
                ("da", None),
                ("ta: \xfc\nda", "data: \xfc"),
                ("ta: 3", None),
            ):
                feed.told.put_nowait(sent)
                if line is not None:
                    assert await anext(lines) == line
            feed.told.put_nowait("last")
            assert [line async for line in lines] == ["data: 3"]
        assert r.text == "data: 1\r\ndata: \xfc\ndata: 3"
        assert "app-1 app answered" in r.decisions
        assert r.request_at("app").target == "/events"
        assert "edge-fra" in str(r.trace)


@pytest.mark.parametrize("http", ["h1", "h2"])
async def test_who_leaves_is_missed_by_the_app(http: str) -> None:
    feed = Feed()
    async with WebStack(feed, replicas=1) as web:
        async with web.stream("GET", "/events", http=http) as r:
            feed.told.put_nowait("first")
            async for piece in r:
                assert piece == b"first"
                break
        await eventually(feed.gone.is_set)
        assert r.raw == b"first"
        # other calls and time go on beside one
        async with web.client().stream("GET", "/events", http=http):
            await web.clock.advance(1)
            assert (await web.get("/coded", http=http)).body == b"onetwo"
            feed.told.put_nowait("last")


async def test_coded_pieces_and_the_rest_at_once() -> None:
    async with WebStack(Feed(), replicas=1) as web:
        async with web.stream("GET", "/coded") as r:
            assert await anext(aiter(r)) == b"one"
            assert await r.read() == b"two"
        assert r.body == b"onetwo"
        assert r.raw != r.body


async def test_a_piece_that_does_not_come_and_one_that_breaks_off() -> None:
    feed = Feed()
    async with WebStack(feed, replicas=1) as web:
        async with web.stream("GET", "/events", within=0.3) as r:
            with pytest.raises(Late, match=r"GET /events: nothing more of the content within 0.3 s: .*app-1 answers 1"):
                await r.read()
        await eventually(feed.gone.is_set)
        async with web.stream("GET", "/events") as r:
            feed.told.put_nowait("some")
            pieces = aiter(r)
            assert await anext(pieces) == b"some"
            web.kill("app-1")
            with pytest.raises(NoResponse, match="200, broken off after 4 bytes") as raised:
                await anext(pieces)
            assert raised.value.partial is r
            assert r.raw == b"some"


async def test_an_injected_wait_passes_while_a_piece_is_waited_for() -> None:
    async with WebStack(Feed(), replicas=1) as web:
        with web.fault("lb-a>proxy-1", latency=2.0):
            async with web.stream("GET", "/coded") as r:
                assert await r.read() == b"onetwo"
        assert r.elapsed >= 2.0


def test_without_await() -> None:
    with SyncWebStack(Feed, replicas=1) as web:
        with web.stream("GET", "/coded") as r:
            assert (r.status, list(r)) == (200, [b"one", b"two"])
        with web.client().stream("GET", "/coded") as r:
            assert list(r.lines()) == ["onetwo"]
        with web.stream("GET", "/coded") as r:
            assert r.read() == b"onetwo"
        assert r.edge == "edge-fra"
