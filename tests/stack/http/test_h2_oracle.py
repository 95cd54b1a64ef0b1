"""What our side frames, read by the h2 library as the other side."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)

from stack.http.h2 import Connection
from stack.http.h2_events import Head
from stack.http.message import Fields

REQUEST = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"shop.test"), (b":path", b"/")]


class Pair:
    """A server of ours and h2's client, which takes header lists of 1 MB."""

    def __init__(self) -> None:
        self.server = Connection(is_client=False, streams=100, window=65_535, max_head=65_536)
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.client.decoder.max_header_list_size = 1_000_000
        self.client.initiate_connection()
        self.exchange()

    def exchange(self) -> list[Event]:
        """What either has for the other; what the client heard."""
        heard: list[Event] = []
        while True:
            out = self.client.data_to_send()
            self.began = [event for event in self.server.receive(out, 0.0) if isinstance(event, Head)] if out else []
            back = self.server.outgoing()
            if not out and not back:
                return heard
            heard += self.client.receive_data(back)

    def ask(self) -> int:
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, REQUEST, end_stream=True)
        self.exchange()
        return stream


def of(kind: type[Event], events: list[Event]) -> Event:
    (found,) = (event for event in events if isinstance(event, kind))
    return found


@pytest.mark.parametrize("size", [0, 16_300, 16_384, 16_500, 32_768, 100_000])
def test_a_head_of_any_size_is_one_section(size: int) -> None:
    """RFC 9113 §4.3: HEADERS, and as many CONTINUATION frames as it takes; END_HEADERS on the last alone."""
    pair = Pair()
    stream = pair.ask()
    fields: Fields = [(b":status", b"200"), (b"x-large", b"~" * size)]  # as long encoded by Huffman's code
    pair.server.send_head(stream, fields, ended=True)
    heard = pair.exchange()
    head = of(ResponseReceived, heard)
    assert isinstance(head, ResponseReceived)
    assert list(head.headers or ()) == fields
    of(StreamEnded, heard)


def test_interim_head_content_and_trailers() -> None:
    pair = Pair()
    stream = pair.ask()
    pair.server.send_head(stream, [(b":status", b"103"), (b"link", b"</a>")], ended=False)
    pair.server.send_head(stream, [(b":status", b"200")], ended=False)
    pair.server.send_data(stream, b"ab", ended=False)
    pair.server.send_data(stream, memoryview(b"cd"), ended=False)
    pair.server.send_head(stream, [(b"x-sum", b"1")], ended=True)
    kinds = (InformationalResponseReceived, ResponseReceived, DataReceived, TrailersReceived, StreamEnded)
    heard = [event for event in pair.exchange() if isinstance(event, kinds)]
    assert [type(event) for event in heard] == [*kinds[:3], DataReceived, *kinds[3:]]
    assert b"".join(event.data or b"" for event in heard if isinstance(event, DataReceived)) == b"abcd"


def test_windows_are_counted_down_by_what_is_sent_and_up_by_what_is_taken() -> None:
    """RFC 9113 §6.9.1: both windows, the stream's and the connection's."""
    pair = Pair()
    stream = pair.ask()
    pair.server.send_head(stream, [(b":status", b"200")], ended=False)
    sent = 0
    while room := pair.server.room(stream):
        pair.server.send_data(stream, b"x" * room, ended=False)
        sent += room
    assert sent == 65_535
    assert pair.server.is_shut(stream)
    other = pair.ask()
    assert pair.server.room(other) == 0  # the connection's window is shut
    assert not pair.server.is_shut(other)
    pair.client.acknowledge_received_data(40_000, stream)
    pair.exchange()
    assert pair.server.room(stream) == 16_384
    assert not pair.server.is_shut(stream)
    pair.server.send_data(stream, b"", ended=True)
    of(StreamEnded, pair.exchange())


def test_many_requests_after_one_another_leave_nothing_behind() -> None:
    pair = Pair()
    for number in range(300):
        stream = pair.ask()
        assert stream == 2 * number + 1
        pair.server.send_head(stream, [(b":status", b"204")], ended=True)
        of(StreamEnded, pair.exchange())
        pair.server.release(stream, answered=True)
    assert not pair.server._streams
