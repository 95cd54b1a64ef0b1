"""A row of the index is the whole of a stored response."""

from __future__ import annotations

import pytest

from cdn_edge.disk_record import Times, Torn, pack, place, unpack
from cdn_edge.rules.reuse import Terms
from cdn_edge.stored import Stored, whole

TIMES = Times(1_000_000.0)
HERE = frozenset({"hit", "hit_until", "refreshing", "uses", "queue", "older", "newer", "parts"})
"""What a response has only while it is in memory."""


def stored() -> Stored:
    return whole(
        b"https://shop.test/a",
        (b"accept-encoding", b"cookie:lang"),
        (b"gzip", None),
        status=203,
        fields=[(b"etag", b'"a"'), (b"x-latin", b"\xe4"), (b"date", b"Tue, 14 Nov 2023 22:13:20 GMT"), (b"content-length", b"4")],
        body=b"body",
        terms=Terms(60.0, never_stale=True, while_revalidate=5.0, if_error=7.0),
        date=1_700_000_000.0,
        born=100.25,
        arrived=3.5,
    )  # fmt: skip


def test_everything_comes_back() -> None:
    before = stored()
    row = pack(before, b"hash", TIMES, 1_000_200.0)
    after = unpack(before.key, row, b"body", b"hash", TIMES, 1_000_300.0)
    names = set(Stored.__struct_fields__) - HERE
    assert {name: getattr(after, name) for name in names} == {name: getattr(before, name) for name in names}
    assert after.fields == before.fields


def test_a_later_process_has_another_monotonic_clock() -> None:
    row = pack(stored(), b"hash", TIMES, 1_000_200.0)
    after = unpack(stored().key, row, b"body", b"hash", Times(1_000_050.0), 1_000_300.0)
    assert (after.born, after.fresh_until) == (50.25, 110.25)


@pytest.mark.parametrize(
    ("wall", "age"),
    [
        pytest.param(1_000_200.0, 99.75, id="as it was written"),
        pytest.param(1_000_199.0, 99.75, id="set back a little: older than its lifetime anyway"),
        pytest.param(1_000_110.0, 99.75, id="set back: at least as old as it was then"),
    ],
)
def test_it_never_becomes_younger(wall: float, age: float) -> None:
    row = pack(stored(), b"hash", TIMES, 1_000_200.0)
    after = unpack(stored().key, row, b"body", b"hash", TIMES, wall)
    assert TIMES.monotonic(wall) - after.born == pytest.approx(age)


def test_a_fresh_one_is_stale_when_the_clock_was_set_back() -> None:
    row = pack(stored(), b"hash", TIMES, 1_000_110.0)
    after = unpack(stored().key, row, b"body", b"hash", TIMES, 1_000_109.0)
    assert after.fresh_until <= TIMES.monotonic(1_000_109.0)


@pytest.mark.parametrize("at", [0, 7, 8, 30, -1])
def test_what_was_changed_is_torn(at: int) -> None:
    row = bytearray(pack(stored(), b"hash", TIMES, 0.0))
    row[at] ^= 1
    with pytest.raises(Torn):
        unpack(stored().key, bytes(row), b"body", b"hash", TIMES, 0.0)


@pytest.mark.parametrize(("key", "content"), [(b"https://shop.test/b", b"hash"), (b"https://shop.test/a", b"hush")])
def test_a_row_belongs_to_its_key_and_its_content(key: bytes, content: bytes) -> None:
    with pytest.raises(Torn):
        unpack(key, pack(stored(), b"hash", TIMES, 0.0), b"body", content, TIMES, 0.0)


def test_places_differ_by_names_and_values() -> None:
    assert place((), ()) == (b"", b"")
    places = {place((b"a",), (b"x",)), place((b"a",), (None,)), place((b"a",), (b"",)), place((b"b",), (b"x",))}
    assert len(places) == 4
