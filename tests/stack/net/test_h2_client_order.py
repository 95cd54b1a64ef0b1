"""What a next hop sends out of order over HTTP/2, and what of its words may not go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stack.errors import ResponseMalformed
from stack.http import h2_wire as wire
from stack.http.h2 import Connection
from stack.http.message import Fields
from tests.stack.net.test_h2_client import OK, connected, get, send
from tests.support.h2_peer import Peer, Wire, request_on, server


@pytest.mark.parametrize(
    "early",
    [
        pytest.param(lambda peer, stream: peer.data(stream, b"x", end=True), id="9113-8.1-data-and-the-end"),
        pytest.param(lambda peer, stream: peer.data(stream, b"", end=True), id="9113-8.1-the-end-alone"),
        pytest.param(
            lambda peer, stream: peer.data(stream, b"x") + peer.headers(stream, OK), id="9113-8.1-data-and-a-head"
        ),
        pytest.param(
            lambda peer, stream: peer.headers(stream, [(b":status", b"103")], end=False) + peer.data(stream, end=True),
            id="9113-8.1-an-interim-head-and-the-end",
        ),
    ],
)
async def test_content_without_a_head_is_no_response(early: Callable[[Wire, int], bytes]) -> None:
    async def script(peer: Peer) -> None:
        peer.send(early(peer, await request_on(peer)))
        stream = await request_on(peer)
        peer.send(peer.headers(stream, OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        with pytest.raises(ResponseMalformed):
            await send(connection)
        assert (await send(connection)).status == 200  # no other stream is concerned


async def test_an_interim_response_has_no_length() -> None:
    """RFC 9110 8.6, 11.7: over HTTP/1.1 a client might wait for content, or be asked for a password by nobody."""
    told: list[tuple[int, Fields]] = []

    async def script(peer: Peer) -> None:
        stream = await request_on(peer)
        hints = [(b":status", b"103"), (b"link", b"</a.css>"), (b"content-length", b"5"), (b"proxy-authenticate", b"x")]
        peer.send(peer.headers(stream, hints, end=False), peer.headers(stream, OK))
        await peer.next()

    async with server(script) as port, connected(port) as (connection, _):
        assert (await send(connection, get(interim=lambda status, fields: told.append((status, fields))))).status == 200
    assert told == [(103, [(b"link", b"</a.css>")])]


def test_rfc9113_5_1_1_a_connection_whose_streams_are_used_up_takes_no_more() -> None:
    connection = Connection(is_client=True, streams=10, window=65535, max_head=65536)
    connection._highest = wire.LAST_STREAM - 2
    assert connection.capacity == 10
    assert connection.open([(b":method", b"GET")], ended=True) == wire.LAST_STREAM
    connection.release(wire.LAST_STREAM)
    assert connection.capacity == 0
