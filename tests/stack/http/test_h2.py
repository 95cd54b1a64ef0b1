"""The HTTP/2 connection by frames: the scope and the code of every error, and what goes on in spite of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from stack.http import h2_wire as wire
from stack.http.h2 import Connection
from stack.http.h2_events import (
    Acknowledged,
    Away,
    Data,
    Event,
    Failed,
    Head,
    Opened,
    Prioritized,
    Reset,
    Trailers,
)  # fmt: skip
from stack.http.h2_sections import CONTINUATIONS
from tests.support.h2_peer import GET, POST, PREFACE, Wire, frames, raw

Build = Callable[[Wire], list[bytes]]


def machine(*, streams: int = 100, settled: bool = True) -> tuple[Connection, Wire]:
    connection = Connection(is_client=False, streams=streams, window=65535, max_head=32768)
    peer = Wire()
    if settled:
        connection.receive(PREFACE + peer.settings(), 0.0)
        connection.outgoing()
    return connection, peer


def sent(connection: Connection) -> list[Frame]:
    found, rest = frames(connection.outgoing())
    assert rest == b""
    return found


def test_the_preface_is_answered_with_settings() -> None:
    connection, peer = machine(settled=False)
    first = sent(connection)
    assert isinstance(first[0], SettingsFrame)
    assert first[0].settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100
    assert first[0].settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == 32768
    assert isinstance(first[1], WindowUpdateFrame)
    assert connection.partial
    assert connection.receive(PREFACE + peer.settings(), 0.0) == [Opened(0)]
    assert not connection.partial
    assert [(type(f), f.flags) for f in sent(connection)] == [(SettingsFrame, {"ACK"})]


@pytest.mark.parametrize("size", [1, 7, 100000])
def test_a_request_in_pieces_of_any_size(size: int) -> None:
    connection, peer = machine(settled=False)
    data = PREFACE + peer.settings() + peer.headers(1, POST, end=False) + peer.data(1, b"hello", padding=3)
    data += peer.headers(1, [(b"x-sum", b"1")])
    events: list[Event] = []
    for at in range(0, len(data), size):
        events += connection.receive(data[at : at + size], 0.0)
    assert events == [Opened(0), Head(1, POST, False), Data(1, b"hello", 9, False), Trailers(1, [(b"x-sum", b"1")])]


def test_a_section_in_continuations_with_padding_and_priority() -> None:
    connection, peer = machine()
    block = peer.encoder.encode(GET)
    padded = bytes((2,)) + b"\0\0\0\1\x10" + block[:1] + b"\0\0"  # a dependency on itself: ignored (RFC 9113 5.3.2)
    data = raw(1, 0x1 | 0x8 | 0x20, 1, padded) + raw(9, 0, 1, block[1:3]) + raw(9, 0x4, 1, block[3:])
    assert connection.receive(data, 0.0) == [Head(1, GET, True)]


BROKEN: dict[str, tuple[Build, int]] = {
    "3.4-not-settings-first": (lambda p: [PREFACE, p.ping()], wire.PROTOCOL_ERROR),
    "3.4-wrong-preface": (lambda p: [b"GET / HTTP/1.1\r\n\r\n"], wire.PROTOCOL_ERROR),
    "4.2-large-frame": (lambda p: [PREFACE, p.settings(), raw(0, 0, 1, b"x" * 16385)], wire.FRAME_SIZE_ERROR),
    "4.3-frame-in-section": (
        lambda p: [PREFACE, p.settings(), raw(1, 0, 1, b"\x82"), p.ping()],
        wire.PROTOCOL_ERROR,
    ),
    "4.3-other-stream": (
        lambda p: [PREFACE, p.settings(), raw(1, 0, 1, b"\x82"), raw(9, 4, 3, b"\x82")],
        wire.PROTOCOL_ERROR,
    ),
    "4.3-hpack": (lambda p: [PREFACE, p.settings(), raw(1, 5, 1, b"\xff\xff\xff\xff")], wire.COMPRESSION_ERROR),
    "4.3-hpack-index": (lambda p: [PREFACE, p.settings(), raw(1, 5, 1, b"\xfe")], wire.COMPRESSION_ERROR),
    "5.1-data-on-idle": (lambda p: [PREFACE, p.settings(), p.data(1, b"x")], wire.PROTOCOL_ERROR),
    "5.1-reset-on-idle": (lambda p: [PREFACE, p.settings(), p.reset(1)], wire.PROTOCOL_ERROR),
    "5.1-window-on-idle": (lambda p: [PREFACE, p.settings(), p.window(1, 1)], wire.PROTOCOL_ERROR),
    "5.1.1-even-stream": (lambda p: [PREFACE, p.settings(), p.headers(2, GET)], wire.PROTOCOL_ERROR),
    "5.1.1-lower-stream": (
        lambda p: [PREFACE, p.settings(), p.headers(5, GET), p.headers(3, GET)],
        wire.STREAM_CLOSED,
    ),
    "6.1-data-on-0": (lambda p: [PREFACE, p.settings(), raw(0, 0, 0, b"x")], wire.PROTOCOL_ERROR),
    "6.1-padding": (
        lambda p: [PREFACE, p.settings(), p.headers(1, POST, end=False), raw(0, 8, 1, b"\x05abc")],
        wire.PROTOCOL_ERROR,
    ),
    "6.2-headers-on-0": (lambda p: [PREFACE, p.settings(), raw(1, 5, 0, b"\x82")], wire.PROTOCOL_ERROR),
    "6.2-padding": (lambda p: [PREFACE, p.settings(), raw(1, 0xD, 1, b"\x05abc")], wire.PROTOCOL_ERROR),
    "6.2-short": (lambda p: [PREFACE, p.settings(), raw(1, 0x25, 1, b"\0\0")], wire.FRAME_SIZE_ERROR),
    "6.3-priority-on-0": (lambda p: [PREFACE, p.settings(), raw(2, 0, 0, b"\0" * 5)], wire.PROTOCOL_ERROR),
    "6.3-priority-size-on-idle": (lambda p: [PREFACE, p.settings(), raw(2, 0, 1, b"\0" * 4)], wire.FRAME_SIZE_ERROR),
    "5.1-headers-after-reset": (
        lambda p: [PREFACE, p.settings(), p.headers(1, POST, end=False), p.reset(1), p.headers(1, [(b"x", b"1")])],
        wire.STREAM_CLOSED,
    ),
    "9218-2.1-no-rfc7540": (lambda p: [PREFACE, p.settings({9: 2})], wire.PROTOCOL_ERROR),
    "9218-2.1-changed": (lambda p: [PREFACE, p.settings(), p.settings({9: 1})], wire.PROTOCOL_ERROR),
    "9218-7.1-on-a-stream": (lambda p: [PREFACE, p.settings(), raw(16, 0, 1, b"\0\0\0\1u=1")], wire.PROTOCOL_ERROR),
    "9218-7.1-of-stream-0": (lambda p: [PREFACE, p.settings(), raw(16, 0, 0, b"\0\0\0\0u=1")], wire.PROTOCOL_ERROR),
    "9218-7.1-short": (lambda p: [PREFACE, p.settings(), raw(16, 0, 0, b"\0\0\0")], wire.FRAME_SIZE_ERROR),
    "6.4-reset-size": (lambda p: [PREFACE, p.settings(), p.headers(1, GET), raw(3, 0, 1, b"a")], wire.FRAME_SIZE_ERROR),
    "6.5-settings-size": (lambda p: [PREFACE, p.settings(), raw(4, 0, 0, b"abc")], wire.FRAME_SIZE_ERROR),
    "6.5-settings-on-stream": (lambda p: [PREFACE, p.settings(), raw(4, 0, 1)], wire.PROTOCOL_ERROR),
    "6.5.2-window-too-large": (lambda p: [PREFACE, p.settings({4: 2**31})], wire.FLOW_CONTROL_ERROR),
    "6.5.2-push": (lambda p: [PREFACE, p.settings({2: 2})], wire.PROTOCOL_ERROR),
    "6.5.2-frame-size": (lambda p: [PREFACE, p.settings({5: 1})], wire.PROTOCOL_ERROR),
    "6.7-ping-size": (lambda p: [PREFACE, p.settings(), raw(6, 0, 0, b"abc")], wire.FRAME_SIZE_ERROR),
    "6.8-goaway-on-stream": (lambda p: [PREFACE, p.settings(), raw(7, 0, 1, b"\0" * 8)], wire.PROTOCOL_ERROR),
    "6.9-window-0": (lambda p: [PREFACE, p.settings(), p.window(0, 0)], wire.PROTOCOL_ERROR),
    "6.9-window-size": (lambda p: [PREFACE, p.settings(), raw(8, 0, 0, b"abc")], wire.FRAME_SIZE_ERROR),
    "6.9.1-window-overflow": (lambda p: [PREFACE, p.settings(), p.window(0, 2**31 - 1)], wire.FLOW_CONTROL_ERROR),
    "6.9.1-content-over-window": (
        lambda p: [PREFACE, p.settings(), p.headers(1, POST, end=False), *[p.data(1, b"x" * 16384)] * 5],
        wire.FLOW_CONTROL_ERROR,
    ),
    "6.10-continuation-alone": (lambda p: [PREFACE, p.settings(), raw(9, 4, 1, b"\x82")], wire.PROTOCOL_ERROR),
    "8.4-push": (lambda p: [PREFACE, p.settings(), raw(5, 4, 1, b"\0\0\0\2\x82")], wire.PROTOCOL_ERROR),
    "10.5-continuation-bytes": (
        lambda p: [PREFACE, p.settings(), raw(1, 0, 1, b"a" * 16000), *[raw(9, 0, 1, b"a" * 16000)] * 4],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-empty-continuations": (
        lambda p: [PREFACE, p.settings(), raw(1, 0, 1), *[raw(9, 0, 1)] * CONTINUATIONS],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5.1-bomb": (
        lambda p: [
            PREFACE,
            p.settings(),
            p.headers(1, [*GET, (b"x", b"y" * 4000)]),
            p.headers(3, [(b"x", b"y" * 4000)] * 50),
        ],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-ping-flood": (lambda p: [PREFACE, p.settings(), p.ping() * 201], wire.ENHANCE_YOUR_CALM),
    "10.5-settings-flood": (lambda p: [PREFACE, p.settings() * 51], wire.ENHANCE_YOUR_CALM),
    "10.5-priority-flood": (lambda p: [PREFACE, p.settings(), raw(2, 0, 1, b"\0" * 5) * 501], wire.ENHANCE_YOUR_CALM),
    "10.5-unknown-flood": (lambda p: [PREFACE, p.settings(), raw(0xFA, 0, 0) * 501], wire.ENHANCE_YOUR_CALM),
    "10.5-priority-update-flood": (
        lambda p: [PREFACE, p.settings(), raw(16, 0, 0, b"\0\0\0\1u=1") * 501],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-data-on-a-stream-that-was-reset": (
        lambda p: [
            PREFACE,
            p.settings(),
            p.headers(1, POST, end=False),
            p.window(1, 0),
            *[p.data(1, b"x")] * 2001,
        ],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-trailers-on-a-stream-that-was-reset": (
        lambda p: [
            PREFACE,
            p.settings(),
            p.headers(1, POST, end=False),
            p.window(1, 0),
            *[raw(1, 5, 1, b"\x82")] * 2001,
        ],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-made-you-reset-by-data": (
        lambda p: [PREFACE, p.settings(), *[p.headers(s, GET) + p.data(s, b"x") for s in range(1, 300, 2)]],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-made-you-reset-by-overflow": (
        lambda p: [PREFACE, p.settings(), *[p.headers(s, GET) + p.window(s, 2**31 - 1) for s in range(1, 300, 2)]],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-made-you-reset-by-priority": (
        lambda p: [PREFACE, p.settings(), *[p.headers(s, GET) + raw(2, 0, s, b"\0" * 4) for s in range(1, 300, 2)]],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-window-flood": (lambda p: [PREFACE, p.settings(), p.window(0, 1) * 2001], wire.ENHANCE_YOUR_CALM),
    "10.5-empty-data-flood": (
        lambda p: [PREFACE, p.settings(), p.headers(1, POST, end=False), p.data(1) * 201],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-reset-flood": (
        lambda p: [PREFACE, p.settings(), *[p.headers(s, GET) + p.reset(s) for s in range(1, 300, 2)]],
        wire.ENHANCE_YOUR_CALM,
    ),
    "10.5-made-you-reset": (  # CVE-2025-8671: our resets are on the peer's account
        lambda p: [PREFACE, p.settings(), *[p.headers(s, POST, end=False) + p.window(s, 0) for s in range(1, 300, 2)]],
        wire.ENHANCE_YOUR_CALM,
    ),
}


@pytest.mark.parametrize(("build", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_an_error_of_the_connection(build: Build, code: int) -> None:
    connection, peer = machine(settled=False)
    events = connection.receive(b"".join(build(peer)), 0.0)
    assert isinstance(events[-1], Failed)
    assert events[-1].code == code
    *before, last = sent(connection)
    assert isinstance(last, GoAwayFrame)
    assert not [frame for frame in before if isinstance(frame, GoAwayFrame)]
    assert isinstance(before[0], SettingsFrame)
    assert last.error_code == code
    assert last.additional_data == events[-1].reason.encode()
    assert connection.failed
    assert connection.receive(peer.ping(), 0.0) == []


FAULTS: dict[str, tuple[Build, int]] = {
    "5.1-data-after-end": (lambda p: [p.headers(1, GET), p.data(1, b"x")], wire.STREAM_CLOSED),
    "5.1-headers-after-end": (lambda p: [p.headers(1, GET), p.headers(1, [(b"x", b"1")])], wire.STREAM_CLOSED),
    "6.3-priority-size": (lambda p: [p.headers(1, GET), raw(2, 0, 1, b"\0" * 4)], wire.FRAME_SIZE_ERROR),
    "6.9-window-0": (lambda p: [p.headers(1, GET), p.window(1, 0)], wire.PROTOCOL_ERROR),
    "6.9.1-window-overflow": (lambda p: [p.headers(1, GET), p.window(1, 2**31 - 1)], wire.FLOW_CONTROL_ERROR),
    "8.1-trailers-without-end": (
        lambda p: [p.headers(1, POST, end=False), p.headers(1, [(b"x", b"1")], end=False)],
        wire.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize(("build", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_an_error_of_one_stream_leaves_the_others(build: Build, code: int) -> None:
    connection, peer = machine()
    events = connection.receive(b"".join([*build(peer), peer.headers(3, GET)]), 0.0)
    assert next(event for event in events if isinstance(event, Reset))[:3] == (1, code, False)
    assert events[-1] == Head(3, GET, True)
    [reset] = [frame for frame in sent(connection) if isinstance(frame, RstStreamFrame)]
    assert (reset.stream_id, reset.error_code) == (1, code)
    connection.send_head(3, [(b":status", b"200")], ended=True)
    assert [frame.stream_id for frame in sent(connection)] == [3]


def test_more_streams_than_allowed_are_refused_one_by_one() -> None:
    """RFC 9113 5.1.2: a stream error, and the table of field sections stays in step."""
    connection, peer = machine(streams=2)
    events = connection.receive(b"".join(peer.headers(s, [*GET, (b"x-n", b"%d" % s)]) for s in (1, 3, 5)), 0.0)
    assert [event.stream for event in events if isinstance(event, Head)] == [1, 3]
    [reset] = sent(connection)
    assert (reset.stream_id, reset.error_code) == (5, wire.REFUSED_STREAM)
    connection.release(1)
    assert connection.receive(peer.headers(7, [*GET, (b"x-n", b"5")]), 0.0) == [Head(7, [*GET, (b"x-n", b"5")], True)]


def test_a_reset_stream_counts_until_it_is_released() -> None:
    """CVE-2023-44487: resetting does not make room for more work."""
    connection, peer = machine(streams=2)
    data = b"".join(peer.headers(s, GET) + peer.reset(s) for s in (1, 3, 5))
    events = connection.receive(data, 0.0)
    assert [event.stream for event in events if isinstance(event, Head)] == [1, 3]


def test_answered_requests_earn_resets() -> None:
    """A browser that cancels now and then is no attacker."""
    connection, peer = machine()
    for stream in range(1, 2001, 4):
        events = connection.receive(peer.headers(stream, GET) + peer.headers(stream + 2, GET) + peer.reset(stream), 0.0)
        assert not isinstance(events[-1], Failed)
        connection.release(stream)
        connection.release(stream + 2, answered=True)


def test_frames_under_way_to_a_stream_that_we_reset_are_forgiven() -> None:
    """RFC 9113 5.1: and their content is credited to the connection."""
    connection, peer = machine()
    connection.receive(peer.headers(1, POST, end=False), 0.0)
    connection.reset(1, wire.NO_ERROR)
    connection.release(1)
    connection.outgoing()
    for _ in range(1000):
        assert connection.receive(peer.data(1, b"x" * 16384), 0.0) == []
    assert connection.receive(peer.headers(1, [(b"x", b"1")]) + peer.window(1, 5) + peer.reset(1), 0.0) == []
    assert any(isinstance(f, WindowUpdateFrame) and f.stream_id == 0 for f in sent(connection))
    assert connection.receive(peer.headers(3, GET), 0.0) == [Head(3, GET, True)]


def test_going_away_in_two_steps() -> None:
    connection, peer = machine()
    connection.receive(peer.headers(1, GET), 0.0)
    connection.go_away(last=False)
    connection.ping()
    first, _ = sent(connection)
    assert (first.last_stream_id, first.error_code) == (2**31 - 1, 0)  # type: ignore[attr-defined]
    assert connection.receive(peer.headers(3, GET) + peer.ping(b"hopstack", ack=True), 0.0) == [
        Head(3, GET, True),
        Acknowledged(),
    ]
    connection.go_away()
    assert sent(connection)[0].last_stream_id == 3  # type: ignore[attr-defined]
    assert connection.receive(peer.headers(5, GET), 0.0) == []
    # and what belongs to it: it was under way already (§6.8), and its content counts in the connection's window
    late = peer.headers(7, POST, end=False) + peer.window(7, 5)
    late += peer.data(7, b"x" * 16384) * 300 + peer.headers(7, [(b"x", b"1")]) + peer.reset(5)
    assert connection.receive(late, 0.0) == []
    assert any(isinstance(f, WindowUpdateFrame) and f.stream_id == 0 for f in sent(connection))
    connection.send_head(1, [(b":status", b"200")], ended=True)
    assert [frame.stream_id for frame in sent(connection)] == [1]


def test_the_peer_goes_away_and_its_streams_go_on() -> None:
    connection, peer = machine()
    assert connection.receive(peer.headers(1, GET) + peer.go_away(0, 2), 0.0) == [Head(1, GET, True), Away(0, 2)]
    connection.send_head(1, [(b":status", b"200")], ended=True)
    assert [frame.stream_id for frame in sent(connection)] == [1]


def test_priorities_that_come_before_and_after_their_request() -> None:
    """RFC 9218 7.1"""
    connection, peer = machine(streams=2)
    update = b"".join(raw(16, 0, 0, s.to_bytes(4, "big") + b"u=%d" % s) for s in (1, 3, 5))
    events = connection.receive(update + peer.headers(1, GET) + peer.headers(3, GET), 0.0)
    assert events == [Head(1, GET, True, b"u=1"), Head(3, GET, True, b"u=3")]
    assert connection.receive(update, 0.0) == [Prioritized(1, b"u=1"), Prioritized(3, b"u=3")]
    connection.release(1)
    assert connection.receive(peer.headers(5, GET) + update, 0.0) == [  # one too many was kept no room for at first
        Head(5, GET, True, b"u=5"),
        Prioritized(3, b"u=3"),
        Prioritized(5, b"u=5"),
    ]


def test_a_server_sends_no_priorities() -> None:
    client = Connection(is_client=True, streams=100, window=65535, max_head=32768)
    client.receive(Wire().settings({8: 1, 9: 1}), 0.0)
    [*_, failed] = client.receive(raw(16, 0, 0, b"\0\0\0\1u=1"), 0.0)
    assert isinstance(failed, Failed)
    assert failed.code == wire.PROTOCOL_ERROR


def test_windows_bound_what_is_sent() -> None:
    connection, peer = machine()
    connection.receive(peer.settings({4: 100}) + peer.headers(1, GET), 0.0)
    connection.send_head(1, [(b":status", b"200")], ended=False)
    assert connection.room(1) == 100
    connection.send_data(1, b"x" * 100, ended=False)
    assert connection.room(1) == 0
    assert connection.receive(peer.window(1, 50), 0.0) == [Opened(1)]
    assert connection.room(1) == 50
    assert connection.receive(peer.settings({4: 130}), 0.0) == [Opened(0)]
    assert connection.room(1) == 80
    connection.receive(peer.reset(1), 0.0)
    assert connection.room(1) == 0


def test_a_client_takes_interim_and_final_heads_and_no_others() -> None:
    connection = Connection(is_client=True, streams=10, window=65535, max_head=32768)
    peer = Wire()
    connection.receive(peer.settings(), 0.0)
    stream = connection.open(GET, ended=True)
    ok, early = [(b":status", b"200")], [(b":status", b"103"), (b"link", b"</a>")]
    data = peer.headers(stream, early, end=False) * 1 + peer.headers(stream, ok, end=False)
    data += peer.data(stream, b"x") + peer.headers(stream, [(b"x", b"1")])
    assert connection.receive(data, 0.0) == [
        Head(stream, early, False),
        Head(stream, ok, False),
        Data(stream, b"x", 1, False),
        Trailers(stream, [(b"x", b"1")]),
    ]
    [event] = connection.receive(peer.headers(9, ok), 0.0)
    assert isinstance(event, Failed)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        pytest.param([(b"x", b"1")], True, id="8.3.2-no-status"),
        pytest.param([(b":status", b"100")], True, id="8.1-interim-that-ends"),
        pytest.param([(b":status", b"101")], False, id="8.6-101"),
    ],
)
def test_a_client_resets_a_malformed_response(fields: list[tuple[bytes, bytes]], end: bool) -> None:
    connection = Connection(is_client=True, streams=10, window=65535, max_head=32768)
    peer = Wire()
    connection.receive(peer.settings(), 0.0)
    stream = connection.open(GET, ended=True)
    [event] = connection.receive(peer.headers(stream, fields, end=end), 0.0)
    assert event[:3] == (stream, wire.PROTOCOL_ERROR, False)
