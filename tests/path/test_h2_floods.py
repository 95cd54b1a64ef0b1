"""Floods of HTTP/2 frames against a real edge: each is ended, at a bounded cost, and other clients are served meanwhile.

An attack is bounded to 20,000 frames, 32 MB and 6 seconds (`tests.support.flooded`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from stack.http import h2_wire as wire
from tests.support.flooded import Attack, Edge, Outcome, flooded_edge
from tests.support.h2_peer import GET, POST, raw

MIB = 1024 * 1024
CPU = 1.5
"""Seconds of the edge that an attack may cost; on a fast machine it is a tenth of that."""
GROWTH = 12 * MIB
STREAMS = range(1, 2**31, 2)
Pieces = Callable[[Attack], Iterator[bytes]]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with flooded_edge(tmp_path_factory.mktemp("edge"), "--timeouts-head", "2s", "--timeouts-send", "2s") as running:
        yield running


def path(target: bytes, method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [(b":method", method), *GET[1:3], (b":path", target)]


HANG, PAGE = path(b"/hang"), path(b"/page")


def again(build: Callable[[Attack, int], bytes]) -> Pieces:
    """The same on stream after stream."""
    return lambda attack: (build(attack, stream) for stream in STREAMS)


def then(first: Callable[[Attack], bytes], more: Callable[[Attack], bytes]) -> Pieces:
    """Once, then the same frame for ever."""
    return lambda attack: itertools.chain([first(attack)], itertools.repeat(more(attack)))


def open_section(attack: Attack) -> bytes:
    return raw(1, 0, 1, attack.encoder.encode(GET))


def upload(attack: Attack) -> bytes:
    return attack.headers(1, path(b"/hang", b"POST"), end=False)


def nothing(attack: Attack) -> bytes:
    return b""


def bomb(attack: Attack) -> Iterator[bytes]:
    """One entry of nearly the table's size, then one byte for each time it is named."""
    attack.encoder.encode([])
    block = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000  # literal with indexing: a name of 1, a value of 4000 bytes
    yield raw(1, 5, 1, bytes.fromhex("828684") + b"\x41\x01a" + block)
    for stream in STREAMS[1:]:
        yield raw(1, 5, stream, b"\x82\x86\x84" + b"\xbe" * 16000)


def references(attack: Attack) -> Iterator[bytes]:
    """CVE-2026-49975: a field of no size worth mentioning, named 1,500 times in 1,500 bytes, on stream after stream."""
    yield raw(1, 5, 1, b"\x82\x86\x84\x41\x01a\x40\x01x\x01y")
    for stream in STREAMS[1:]:
        yield raw(1, 5, stream, b"\x82\x86\x84" + b"\xbf" + b"\xbe" * 1500)


FLOODS: dict[str, Pieces] = {
    "rapid-reset": again(lambda a, s: a.headers(s, HANG) + a.reset(s)),
    "rapid-reset-of-hits": again(lambda a, s: a.headers(s, PAGE) + a.reset(s)),
    "made-you-reset-window-0": again(lambda a, s: a.headers(s, HANG) + a.window(s, 0)),
    "made-you-reset-window-overflow": again(lambda a, s: a.headers(s, HANG) + a.window(s, 2**31 - 1)),
    "made-you-reset-data-after-end": again(lambda a, s: a.headers(s, HANG) + a.data(s, b"x")),
    "made-you-reset-headers-after-end": again(lambda a, s: a.headers(s, HANG) + a.headers(s, [(b"x", b"1")])),
    "made-you-reset-short-priority": again(lambda a, s: a.headers(s, HANG) + raw(2, 0, s, b"\0")),
    "made-you-reset-open-trailers": again(
        lambda a, s: a.headers(s, path(b"/hang", b"POST"), end=False) + a.headers(s, [(b"x", b"1")], end=False)
    ),
    "made-you-reset-wrong-length": again(
        lambda a, s: a.headers(s, [*POST, (b"content-length", b"1")], end=False) + a.data(s, b"too much")
    ),
    "malformed-requests": again(lambda a, s: a.headers(s, [*GET, (b"X", b"1")])),
    "streams-above-the-limit": again(lambda a, s: a.headers(s, HANG)),
    "continuation-full": then(open_section, lambda a: raw(9, 0, 1, b"\0" * 16384)),
    "continuation-empty": then(open_section, lambda a: raw(9, 0, 1)),
    "ping": then(nothing, lambda a: a.ping()),
    "ping-answers": then(nothing, lambda a: a.ping(ack=True)),
    "settings": then(nothing, lambda a: a.settings()),
    "settings-answers": then(nothing, lambda a: a.settings(ack=True)),
    "settings-full": then(nothing, lambda a: raw(4, 0, 0, b"\0\x04\0\0\xff\xff" * 2730)),
    "priority": then(nothing, lambda a: raw(2, 0, 1, b"\0\0\0\0\x10")),
    "priority-update": then(nothing, lambda a: raw(16, 0, 0, b"\0\0\0\x01u=1")),
    "goaway": then(lambda a: a.headers(1, HANG), lambda a: a.go_away(0)),
    "unknown-frames": then(nothing, lambda a: raw(0xFA, 0, 0, b"x" * 100)),
    "empty-data": then(upload, lambda a: a.data(1)),
    "padding-only": then(upload, lambda a: raw(0, 8, 1, b"\x0a" + b"\0" * 10)),
    "small-windows": then(nothing, lambda a: a.window(0, 1)),
    "small-windows-of-a-stream": then(upload, lambda a: a.window(1, 1)),
    "data-on-a-stream-that-was-reset": then(lambda a: upload(a) + a.window(1, 0), lambda a: a.data(1, b"x")),
    "resets-of-a-closed-stream": then(lambda a: a.headers(1, HANG) + a.reset(1), lambda a: a.reset(1)),
    "hpack-bomb": bomb,
    "many-references": references,
}


def bounded(outcome: Outcome) -> None:
    assert outcome.cpu <= CPU, outcome
    assert outcome.grown <= GROWTH, outcome
    assert outcome.slowest <= 3.0, outcome


@pytest.mark.parametrize("pieces", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_is_answered_with_enhance_your_calm(edge: Edge, pieces: Pieces) -> None:
    with edge.attacked() as attack:
        attack.flood(pieces(attack))
        attack.wait(3)
    outcome = attack.outcome
    print(
        f"{outcome.sent} frames, {outcome.took:.2f} s, cpu {outcome.cpu:.2f} s, {outcome.grown / MIB:.1f} MiB, {outcome.reason!r}"
    )
    assert outcome.code == wire.ENHANCE_YOUR_CALM, outcome
    assert outcome.reason
    assert outcome.closed
    bounded(outcome)


def test_a_stream_counts_until_its_work_has_ended(edge: Edge) -> None:
    """Rapid reset behind the edge: never more work at a time than the limit of streams."""
    edge.origin.calm()
    with edge.attacked() as attack:
        attack.flood(attack.headers(s, path(b"/hang?%d" % s)) for s in STREAMS[:150])
        attack.wait(1)
    assert attack.outcome.resets == {wire.REFUSED_STREAM: 50}
    assert edge.origin.most_hanging == 100
    bounded(attack.outcome)


def test_references_on_every_stream_with_a_window_that_is_shut(edge: Edge) -> None:
    """CVE-2026-49975: each is refused with 431, and nothing of it is kept."""
    with edge.attacked({wire.INITIAL_WINDOW_SIZE: 0}) as attack:
        attack.flood(itertools.islice(references(attack), 100))
        attack.wait(5, lambda: attack.outcome.heads.count(431) >= 99)
    assert attack.outcome.heads.count(431) == 99
    assert attack.outcome.grown <= 6 * MIB
    bounded(attack.outcome)


def test_answers_that_are_not_taken_stop_the_reading(edge: Edge) -> None:
    """32 MB are asked for and none is read: what waits for the client stays small, and the connection ends."""
    with edge.attacked({wire.INITIAL_WINDOW_SIZE: 2**31 - 1}) as attack:
        attack.flood([attack.window(0, 2**31 - 70000)], reads=False)
        large = path(b"/large")
        attack.flood((attack.headers(s, large) for s in STREAMS[:500]), reads=False)
        attack.flood((attack.ping() for _ in range(150)), reads=False)
        assert not attack.outcome.closed
        _until_gone(attack)
    bounded(attack.outcome)


def test_windows_that_never_open_end_their_streams(edge: Edge) -> None:
    with edge.attacked({wire.INITIAL_WINDOW_SIZE: 0}) as attack:
        large = path(b"/large")
        attack.flood(attack.headers(s, large) for s in STREAMS[:100])
        attack.wait(4)
    assert attack.outcome.heads == [200] * 100
    assert attack.outcome.resets == {wire.CANCEL: 100}
    bounded(attack.outcome)


def test_a_head_that_does_not_end(edge: Edge) -> None:
    """Other frames of the connection cannot come between, and do not lengthen its time."""
    with edge.attacked() as attack:
        attack.flood([raw(1, 0, 1, attack.encoder.encode(GET)[:5])])
        attack.wait(5)
    assert (attack.outcome.code, attack.outcome.closed) == (wire.ENHANCE_YOUR_CALM, True)
    assert 1.5 <= attack.outcome.took <= 5
    bounded(attack.outcome)


def _until_gone(attack: Attack) -> None:
    """Without reading: the edge resets the connection when its time to send is over."""
    until = time.monotonic() + 6
    while not attack.outcome.closed and time.monotonic() < until:
        attack.flood([b""], reads=False)
        try:
            attack.socket.send(raw(0xFA, 0, 0))
        except BlockingIOError:
            pass
        except OSError:
            attack.outcome.closed = True
        time.sleep(0.1)
    assert attack.outcome.closed
