"""Windows both ways, and how frames leave (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from stack.http import h2_wire as wire
from stack.http.h2_fault import ConnectionFault
from stack.http.h2_flow import Flow, Inbound, StreamState
from tests.support.h2_peer import frames, raw


def flow(**more: int) -> Flow:
    made = Flow(b"", [(wire.ENABLE_PUSH, 0)], window=more.get("window", 65535), streams=more.get("streams", 10))
    made.outgoing()
    return made


def test_the_first_frames() -> None:
    made = Flow(wire.PREFACE, [(wire.ENABLE_PUSH, 0), (wire.INITIAL_WINDOW_SIZE, 100_000)], window=100_000, streams=3)
    data = made.outgoing()
    assert data.startswith(wire.PREFACE)
    [settings, window], rest = frames(data[len(wire.PREFACE) :])
    assert isinstance(settings, SettingsFrame)
    assert settings.settings == {2: 0, 4: 100_000}
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 300_000 - 65535
    assert rest == b""
    assert made.outgoing() == b""


def test_a_window_above_what_one_may_be_is_not_asked_for() -> None:
    [_, window], _ = frames(Flow(b"", [], window=2**30, streams=100).outgoing())
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 2**31 - 1 - 65535


@given(st.integers(1, 300_000), st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 100)), max_size=60))
def test_a_window_never_closes_for_good_and_never_grows(size: int, turns: list[tuple[int, int]]) -> None:
    """Content comes as far as the window allows and is consumed by and by: all of it comes back, never more."""
    window = Inbound(size)
    left, held = size, 0
    for wanted, share in turns:
        taken = min(wanted, left)
        window.take(taken)
        left, held = left - taken, held + taken
        consumed = held * share // 100
        held -= consumed
        left += window.give(consumed)
        assert 0 <= left <= size
    left += window.give(held)
    assert left > 0


def test_more_than_the_window_ends_the_connection() -> None:
    window = Inbound(10)
    window.take(10)
    with pytest.raises(ConnectionFault) as caught:
        window.take(1)
    assert caught.value.code == wire.FLOW_CONTROL_ERROR


def test_settings_move_the_windows_of_all_streams_also_below_zero() -> None:
    """§6.9.2, §6.9.3"""
    made = flow()
    one, two = StreamState(made.initial), StreamState(made.initial)
    made.data(1, one, b"x" * 60_000, ended=False)
    made.set({wire.INITIAL_WINDOW_SIZE: 1000}, [one, two])
    assert (made.window, one.window, two.window) == (5535, -59_000, 1000)
    made.set({wire.MAX_CONCURRENT_STREAMS: 7}, [one, two])
    assert (made.allowed, two.window) == (7, 1000)
    two.window += 5
    with pytest.raises(ConnectionFault) as caught:
        made.set({wire.INITIAL_WINDOW_SIZE: 2**31 - 1}, [one, two])
    assert caught.value.code == wire.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    ("flags", "payload", "content"),
    [
        pytest.param(0, b"abc", b"abc", id="6.1-plain"),
        pytest.param(8, b"\x02abc\0\0", b"abc", id="6.1-padded"),
        pytest.param(8, b"\x02\0\0", b"", id="6.1-padding-alone"),
        pytest.param(8, b"\x00abc", b"abc", id="6.1-padding-of-0"),
        pytest.param(8, b"\x03\0\0", wire.PROTOCOL_ERROR, id="6.1-padding-as-long-as-the-payload"),
        pytest.param(8, b"", wire.FRAME_SIZE_ERROR, id="6.1-no-room-for-its-length"),
    ],
)
def test_padding(flags: int, payload: bytes, content: bytes | int) -> None:
    made = flow()
    if isinstance(content, bytes):
        assert made.content(StreamState(0), raw(0, flags, 1, payload)) == content
        return
    with pytest.raises(ConnectionFault) as caught:
        made.content(StreamState(0), raw(0, flags, 1, payload))
    assert caught.value.code == content


def test_a_large_section_leaves_in_frames_of_the_smallest_size() -> None:
    made = flow()
    block = bytes(range(256)) * 150  # 38,400 bytes
    made.section(5, block, ended=True)
    made.data(7, StreamState(100), memoryview(b"content"), ended=True)
    [first, second, third, data], rest = frames(made.outgoing())
    assert isinstance(first, HeadersFrame)
    assert isinstance(second, ContinuationFrame)
    assert isinstance(third, ContinuationFrame)
    assert isinstance(data, DataFrame)
    assert first.data + second.data + third.data == block
    assert [sorted(frame.flags) for frame in (first, second, third)] == [["END_STREAM"], [], ["END_HEADERS"]]
    assert {frame.stream_id for frame in (first, second, third)} == {5}
    assert (data.data, "END_STREAM" in data.flags, rest) == (b"content", True, b"")


def test_credit_opens_the_stream_only_while_its_sender_goes_on() -> None:
    made = flow(window=65535, streams=1)
    going_on, ended = StreamState(0), StreamState(0)
    made.content(going_on, raw(0, 0, 1, b"x" * 16_000))
    made.content(ended, raw(0, 0, 3, b"x" * 16_000))
    made.content(ended, raw(0, 0, 3, b"x" * 16_000))
    ended.ended = True
    made.credit(1, going_on, 16_000)
    made.credit(3, ended, 32_000)
    found, _ = frames(made.outgoing())
    assert [frame.stream_id for frame in found] == [0]
    made.content(going_on, raw(0, 0, 1, b"x" * 17_000))
    made.credit(1, going_on, 17_000)
    found, _ = frames(made.outgoing())
    assert [(frame.stream_id, frame.window_increment) for frame in found] == [(1, 33_000)]  # type: ignore[attr-defined]
