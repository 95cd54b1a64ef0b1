"""A representation in pieces: each is evicted alone, all go with their head."""

from __future__ import annotations

import random

from cdn_edge.parts import Parts, piece_of
from cdn_edge.store import Store
from cdn_edge.stored import Stored
from stack.http.ranges import Range
from tests.cdn_edge.test_store import KEY, stored


def head(store: Store, length: int, tag: bytes = b'"a"') -> tuple[Stored, Parts]:
    parts = Parts(length, tag)
    one = stored(body=b"").held_in(parts)
    assert store.put(one)
    return one, parts


def test_pieces_are_found_by_position_and_gaps_are_known() -> None:
    store = Store(100_000, max_object=10_000)
    one, parts = head(store, 100)
    for start, body in ((50, b"x" * 10), (0, b"y" * 10)):
        assert store.put_piece(piece_of(one, parts, start, body))
    piece = parts.at(55)
    assert piece is not None
    assert (piece.span, piece.key) == (Range(50, 60), KEY + b"#bytes=50")
    assert piece.get(b"content-range") == b"bytes 50-59/100"
    assert (parts.at(49), parts.at(60)) == (None, None)
    assert parts.gaps(Range(5, 55)) == [Range(10, 50)]
    assert parts.gaps(Range(0, 100)) == [Range(10, 50), Range(60, 100)]
    assert parts.gaps(Range(50, 60)) == []
    assert store.statistics().objects == 3


def test_what_takes_the_head_takes_the_pieces() -> None:
    for leave in (lambda store, one: store.drop(one), lambda store, one: store.invalidate(KEY)):
        store = Store(100_000, max_object=10_000)
        one, parts = head(store, 100)
        piece = piece_of(one, parts, 0, b"x" * 10)
        store.put_piece(piece)
        assert store.holds(piece)
        leave(store, one)
        assert not store.holds(piece)
        assert (store.statistics().objects, store.size) == (0, 0)
        assert not store.put_piece(piece_of(one, parts, 10, b"late"))


def test_a_new_head_of_the_same_parts_keeps_them_and_another_does_not() -> None:
    store = Store(100_000, max_object=10_000)
    one, parts = head(store, 100)
    store.put_piece(piece_of(one, parts, 0, b"x" * 10))
    assert store.put(stored(body=b"", date=5).held_in(parts))
    assert len(parts.pieces) == 1
    store.drop(one)  # it is not in the store any more
    assert len(parts.pieces) == 1
    assert store.put(stored())
    assert not parts.pieces
    assert store.statistics().objects == 1


def test_pieces_are_evicted_one_by_one_and_the_head_stays_while_they_come() -> None:
    store = Store(50_000, max_object=50_000)
    one, parts = head(store, 1_000_000)
    for start in range(0, 200_000, 5_000):
        assert store.put_piece(piece_of(one, parts, start, b"x" * 5_000))
        assert store.size <= 50_000
    assert store.holds(one)
    assert 1 <= len(parts.pieces) < 40


def test_a_head_that_leaves_while_its_piece_comes_takes_the_piece() -> None:
    store = Store(100_000, max_object=10_000)
    one, parts = head(store, 100)
    store._room.batch = store.room  # as when the process takes more than is counted
    assert not store.put_piece(piece_of(one, parts, 0, b"x" * 10))
    assert parts.head is None
    assert not parts.pieces
    assert (store.statistics().objects, store.size) == (0, 0)


def test_nothing_is_left_behind_by_a_random_walk() -> None:
    chance = random.Random(3)
    store = Store(60_000, max_object=60_000)
    for step in range(3_000):
        key = b"%d" % chance.randrange(6)
        found, _ = store.find(key, [])
        kind = chance.randrange(10)
        if found is None or kind == 0:
            new = stored(key, body=b"" if kind % 2 else b"x" * chance.randrange(9_000))
            store.put(new.held_in(Parts(100_000, b'"%d"' % step)) if kind % 2 else new)
        elif kind == 1:
            store.invalidate(key)
        elif found.parts is not None:
            start = chance.randrange(90_000)
            gap = found.parts.gaps(Range(start, start + 5_000))
            if gap:
                store.put_piece(piece_of(found, found.parts, gap[0].start, b"x" * len(gap[0])))
        assert store.size <= 60_000
        entries = [one for known in store._entries for one in store.variants(known)]
        pieces = sum(len(one.parts.pieces) for one in entries if one.parts is not None)
        assert store.statistics().objects == len(entries) + pieces
    for key in range(6):
        store.invalidate(b"%d" % key)
    assert store.statistics().objects == 0
