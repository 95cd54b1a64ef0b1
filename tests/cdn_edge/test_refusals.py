"""What was not stored is remembered, with its reason, in a bounded number of bytes."""

from __future__ import annotations

from cdn_edge.refusals import Refusal, Refusals
from cdn_edge.rules.storing import NotStored
from tests.cdn_edge.lab import Lab, Stream, lines

KEY = b"https://shop.test/a"


def test_a_note_has_the_field_at_fault() -> None:
    notes = Refusals()
    notes.note(
        KEY, NotStored.PRIVATE, at=7.0, status=200, fields=lines("Server: x\nCache-Control: private, max-age=60")
    )
    assert notes.get(KEY) == Refusal(7.0, NotStored.PRIVATE, 200, b"cache-control", b"private, max-age=60", 1)


def test_the_field_that_was_obeyed_is_the_one_at_fault() -> None:
    notes = Refusals(targets=(b"hopstack-cdn-cache-control", b"cdn-cache-control"))
    said = lines("Cache-Control: max-age=60\nCDN-Cache-Control: no-store")
    notes.note(KEY, NotStored.NO_STORE, at=7.0, status=200, fields=said)
    note = notes.get(KEY)
    assert note is not None
    assert (note.name, note.value) == (b"cdn-cache-control", b"no-store")


def test_of_a_cookie_only_the_name() -> None:
    notes = Refusals()
    notes.note(KEY, NotStored.SET_COOKIE, at=0.0, status=200, fields=lines("Set-Cookie: session=secret; HttpOnly"))
    note = notes.get(KEY)
    assert note is not None
    assert note.value == b"session"


def test_times_in_a_row() -> None:
    notes = Refusals()
    for at in (1.0, 2.0, 3.0):
        notes.note(KEY, NotStored.NO_FRESHNESS, at=at, status=200, fields=[])
    note = notes.get(KEY)
    assert note is not None
    assert (note.times, note.at, note.value) == (3, 3.0, b"")
    notes.forget(KEY)
    assert (notes.get(KEY), notes.bytes, len(notes)) == (None, 0, 0)


def test_the_oldest_goes_first() -> None:
    notes = Refusals(limit=10_000)
    for number in range(1000):
        notes.note(b"https://shop.test/%d" % number, NotStored.NO_STORE, at=0.0, status=200, fields=[])
        notes.note(KEY, NotStored.VARY_STAR, at=0.0, status=200, fields=lines("Vary: *"))
        assert notes.bytes <= 10_000
    assert notes.get(KEY) is not None
    assert notes.get(b"https://shop.test/0") is None
    assert 10 < len(notes) < 50


def test_a_long_value_is_cut() -> None:
    notes = Refusals()
    notes.note(KEY, NotStored.NO_STORE, at=0.0, fields=[(b"cache-control", b"no-store, " + b"x" * 10_000)])
    assert notes.bytes < 1000


def test_what_is_no_answer_to_a_get_is_not_noted() -> None:
    notes = Refusals()
    for why in (NotStored.METHOD, NotStored.CONTENT, NotStored.TUNNEL, NotStored.FILLING):
        notes.note(KEY, why, at=0.0, status=200, fields=[])
    assert len(notes) == 0


async def test_the_edge_writes_it() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: no-store"), lab.response("Cache-Control: max-age=60", body=Stream(b"all")))
    await lab.ask("/a")
    note = lab.edge.refusals.get(KEY)
    assert note is not None
    assert (note.why, note.status, note.value) == (NotStored.NO_STORE, 200, b"no-store")
    await lab.ask("/a")
    assert lab.edge.refusals.get(KEY) is None


async def test_content_that_broke_off() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nContent-Length: 9", body=Stream(b"half")))
    await lab.ask("/a")
    note = lab.edge.refusals.get(KEY)
    assert note is not None
    assert note.why is NotStored.INCOMPLETE
