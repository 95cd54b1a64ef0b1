"""The store: found by key and selection, never above its bytes."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn_edge.answers import Answers
from cdn_edge.recording import Recording
from cdn_edge.rules.reuse import Terms
from cdn_edge.rules.storing import NotStored
from cdn_edge.rules.vary import Names, selection
from cdn_edge.store import Store, Variants
from cdn_edge.stored import NEVER, NO_HEAD, Stored, whole
from stack.http.message import Fields
from stack.testing.clock import VirtualClock
from tests.cdn_edge.lab import lines

KEY = b"https://shop.test/"


def stored(
    key: bytes = KEY,
    *,
    names: Names = (),
    request: Fields | None = None,
    body: bytes = b"content",
    date: float = 0,
    fields: Fields | None = None,
) -> Stored:
    return whole(
        key,
        names,
        selection(names, request or []),
        status=200,
        fields=fields or [(b"content-type", b"text/html")],
        body=body,
        terms=Terms(10),
        date=date,
        born=0,
    )


def test_found_by_key() -> None:
    store = Store(100_000, max_object=10_000)
    one = stored()
    assert store.put(one)
    assert store.find(KEY, []) == (one, True)
    assert store.find(b"https://shop.test/other", []) == (None, False)


def test_variants_of_4_1() -> None:
    store = Store(100_000, max_object=10_000)
    german, english = lines("Accept-Language: de"), lines("Accept-Language: en")
    one = stored(names=(b"accept-language",), request=german)
    other = stored(names=(b"accept-language",), request=english)
    store.put(one)
    store.put(other)
    assert store.find(KEY, german) == (one, True)
    assert store.find(KEY, english) == (other, True)
    assert store.find(KEY, lines("Accept-Language: fr")) == (None, True)
    assert store.find(KEY, []) == (None, True)
    assert store.statistics().objects == 2
    assert store.statistics().keys == 1


def test_of_several_that_match_the_latest() -> None:
    """RFC 9111 §4.1."""
    store = Store(100_000, max_object=10_000)
    plain = stored(date=5)
    german = lines("Accept-Language: de")
    varying = stored(names=(b"accept-language",), request=german, date=6)
    store.put(varying)
    store.put(plain)
    assert store.find(KEY, german)[0] is varying
    assert store.find(KEY, [])[0] is plain
    newer = stored(date=7)
    store.put(newer)
    assert store.find(KEY, german)[0] is newer
    assert not store.holds(plain)


def test_what_has_the_same_place_is_replaced() -> None:
    store = Store(100_000, max_object=10_000)
    store.put(first := stored(body=b"a" * 5000))
    store.used(first)
    store.put(second := stored(body=b"b"))
    assert store.find(KEY, [])[0] is second
    assert store.statistics().objects == 1
    assert store.size == second.size
    assert second.uses == 1
    store.drop(first)
    assert store.find(KEY, [])[0] is second


def test_invalidation_takes_all_variants() -> None:
    store = Store(100_000, max_object=10_000)
    store.put(stored())
    for language in (b"de", b"en"):
        request = [(b"accept-language", language)]
        store.put(stored(names=(b"accept-language",), request=request))
    store.put(kept := stored(b"https://shop.test/other"))
    assert store.invalidate(KEY) == 3
    assert store.invalidate(KEY) == 0
    assert store.find(KEY, []) == (None, False)
    assert store.size == kept.size


def test_an_origin_that_keeps_changing_vary_does_not_fill_an_entry() -> None:
    store = Store(10_000_000, max_object=10_000)
    for n in range(50):
        store.put(stored(names=(b"x-%d" % n,), date=n))
    assert store.statistics().objects <= 8
    assert store.find(KEY, [])[0].names == (b"x-49",)  # type: ignore[union-attr]


def test_too_large_for_the_store() -> None:
    store = Store(5000, max_object=10_000)
    store.put(small := stored(b"https://shop.test/small"))
    assert store.max_object == 5000 // 8
    assert not store.put(stored(body=b"a" * 5000))
    assert store.holds(small)
    assert store.statistics().objects == 1


# Recordings.


def keep(recording: Recording) -> NotStored | None:
    return recording.keep(lambda body: stored(recording.key, body=body))


def test_a_recording_is_kept_when_it_ends() -> None:
    store = Store(100_000, max_object=10_000)
    recording = store.record(KEY)
    assert recording.feed(b"ab") is None
    assert store.statistics().pending == 2
    assert recording.feed(b"cd") is None
    assert store.find(KEY, []) == (None, False)
    assert keep(recording) is None
    assert store.find(KEY, [])[0].body == b"abcd"  # type: ignore[union-attr]
    assert store.statistics().pending == 0
    assert not store._recordings


def test_a_recording_that_is_given_up_leaves_nothing() -> None:
    store = Store(100_000, max_object=10_000)
    recording = store.record(KEY)
    recording.feed(b"ab")
    recording.abandon()
    recording.abandon()
    assert keep(recording) is None
    assert store.find(KEY, []) == (None, False)
    assert store.size == 0
    assert not store._recordings


def test_what_is_invalidated_on_its_way_is_not_kept() -> None:
    """RFC 9111 §4.4: the answer may be older than the change."""
    store = Store(100_000, max_object=10_000)
    one, other, unrelated = store.record(KEY), store.record(KEY), store.record(b"https://shop.test/x")
    one.feed(b"ab")
    store.invalidate(KEY)
    assert one.feed(b"cd") is NotStored.INVALIDATED
    assert keep(other) is NotStored.INVALIDATED
    assert keep(unrelated) is None
    assert store.find(KEY, []) == (None, False)
    assert keep(store.record(KEY)) is None


def test_a_recording_is_bounded() -> None:
    store = Store(100_000, max_object=10)
    recording = store.record(KEY)
    assert recording.feed(b"a" * 10) is None
    assert recording.feed(b"a") is NotStored.TOO_LARGE
    assert recording.feed(b"a") is None
    assert store.size == 0


def test_what_is_coming_in_has_a_bound_of_its_own_and_takes_nothings_place() -> None:
    store = Store(80_000, max_object=8_000)
    assert store.pending_limit == 10_000
    while not store.statistics().evicted:  # full
        store.put(stored(b"https://shop.test/%d" % store.statistics().stored, body=b"a" * 2000))
    before = store.statistics()
    recordings = [store.record(b"https://shop.test/r%d" % n) for n in range(4)]
    refused = [recording.feed(b"b" * 4000) for recording in recordings]
    assert refused == [None, None, NotStored.NO_ROOM, NotStored.NO_ROOM]
    assert (store.statistics().evicted, store.statistics().bytes) == (before.evicted, before.bytes)
    assert keep(recordings[0]) is None
    assert store.statistics().evicted > before.evicted
    assert store.statistics().bytes <= 80_000


def test_what_comes_in_one_piece_needs_no_room_among_what_is_coming_in() -> None:
    store = Store(80_000, max_object=10_000)
    assert store.record(b"https://shop.test/slow").feed(b"b" * 10_000) is None
    recording = store.record(KEY)
    assert recording.whole(b"hot", lambda body: stored(body=body)) is None
    assert store.find(KEY, [])[0].body == b"hot"  # type: ignore[union-attr]
    recording = store.record(KEY)
    assert recording.whole(b"a" * 10_001, lambda body: stored(body=body)) is NotStored.TOO_LARGE
    assert recording.ended


def test_the_largest_object_may_come_in_when_nothing_else_does() -> None:
    store = Store(80_000, max_object=80_000)
    assert store.max_object == 10_000
    assert store.record(KEY).feed(b"a" * 10_000) is None


def test_content_of_many_pieces_is_not_held_twice() -> None:
    store = Store(80_000_000, max_object=10_000_000)
    recording = store.record(KEY)
    tracemalloc.start()
    try:
        for _ in range(100):
            assert recording.feed(bytes(50_000)) is None
        assert keep(recording) is None
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert store.find(KEY, [])[0].body == bytes(5_000_000)  # type: ignore[union-attr]
    assert most < 6_000_000


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "vary", "record", "feed", "keep", "abandon", "invalidate", "use"]),
        st.integers(0, 9),
        st.integers(0, 6000),
    ),
    max_size=150,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(2000, 40_000))
def test_the_bound_holds_whatever_happens(steps: list[tuple[str, int, int]], limit: int) -> None:
    store = Store(limit, max_object=5000)
    recordings: dict[int, Recording] = {}
    for what, n, size in steps:
        key = b"https://shop.test/%d" % (n % 5)
        if what == "put":
            store.put(stored(key, body=b"a" * size))
        elif what == "vary":
            store.put(stored(key, names=(b"x",), request=[(b"x", b"%d" % n)], body=b"a" * size))
        elif what == "record" and n not in recordings:
            recordings[n] = store.record(key)
        elif what == "feed" and n in recordings:
            recordings[n].feed(b"a" * size)
        elif what == "keep" and n in recordings:
            keep(recordings.pop(n))
        elif what == "abandon" and n in recordings:
            recordings.pop(n).abandon()
        elif what == "invalidate":
            store.invalidate(key)
        elif what == "use":
            found = store.find(key, [(b"x", b"%d" % n)])[0]
            if found is not None:
                store.used(found)
        assert store.statistics().bytes <= limit
        assert store.statistics().pending <= store.pending_limit
        entries = [one for known in store._entries for one in store.variants(known)]
        assert len(entries) == store.statistics().objects == len(store._eviction)  # type: ignore[arg-type]
        pending = sum(recording._size for recording in recordings.values() if not recording.ended)
        assert store.statistics().pending == pending
    for recording in recordings.values():
        recording.abandon()
    for entry in list(store._entries):
        store.invalidate(entry)
    assert store.statistics().objects == store.statistics().pending == store.statistics().bytes == 0
    assert not store._recordings


def test_what_is_brought_up_to_date_keeps_its_place_and_its_uses() -> None:
    store = Store(40_000, max_object=10_000)
    store.put(first := stored(body=b"a" * 1000))
    for _ in range(2):
        store.used(first)
    n = 0
    while first.queue is store._eviction._small:  # type: ignore[attr-defined]
        store.put(stored(b"https://shop.test/%d" % (n := n + 1), body=b"b" * 1000))
    main, uses = first.queue, first.uses
    store.used(first)
    store.put(fresh := stored(body=b"a" * 1000))
    assert (fresh.queue, fresh.uses, first.queue) == (main, uses + 1, None)
    assert fresh.key is first.key
    for _ in range(100):
        store.put(stored(b"https://shop.test/%d" % (n := n + 1), body=b"b" * 1000))
        store.used(fresh)
    assert store.holds(fresh)


def test_what_is_large_takes_nothings_place_until_it_is_asked_for_again() -> None:
    store = Store(800_000, max_object=100_000)
    recording = store.record(KEY)
    assert recording.whole(b"a" * 90_000, lambda body: stored(body=body)) is None  # there is room
    store.invalidate(KEY)
    n = 0
    while not store.statistics().evicted:
        store.put(stored(b"https://shop.test/%d" % (n := n + 1), body=b"b" * 1000))
    before = store.statistics()
    refused = store.record(KEY).whole(b"a" * 90_000, lambda body: stored(body=body))
    assert refused is NotStored.ASKED_ONCE
    assert store.statistics() == before
    assert store.record(KEY).whole(b"a" * 90_000, lambda body: stored(body=body)) is None
    assert store.holds(store.find(KEY, [])[0])  # type: ignore[arg-type]


def test_thousands_that_go_for_one_go_bit_by_bit() -> None:
    store = Store(16_000_000, max_object=2_000_000)
    n = 0
    while not store.statistics().evicted:
        store.put(stored(b"https://shop.test/%d" % (n := n + 1), body=b"b"))
    large = stored(body=b"a" * 1_900_000)
    assert not store.put(large)
    before = store.statistics().evicted
    assert store.put(large)
    assert store.statistics().evicted - before == 1000
    above = store.statistics().bytes - 16_000_000
    assert 500_000 < above < store.pending_limit
    # it is counted with what is coming in
    assert store.record(KEY).feed(b"a" * (store.pending_limit - 10_000)) is NotStored.NO_ROOM
    for _ in range(3):
        store.record(b"https://shop.test/other").abandon()
    assert store.statistics().bytes <= 16_000_000
    assert store.holds(large)


def test_heads_of_hits_go_after_their_second_and_are_bounded() -> None:
    """None is left of what was asked for once and not again, and none keeps alive what has left the store."""
    store = Store(400_000, max_object=10_000)
    answers = Answers("edge", VirtualClock(), random.Random(1), store.renewed)
    all_of_them = [stored(b"https://shop.test/%d" % n) for n in range(100)]
    for one in all_of_them:
        store.put(one)
        answers.renew(one, 0.5)
        assert store._heads.bytes <= 400_000 // 32
    held = [one for one in all_of_them if one.hit is not NO_HEAD]
    assert held == all_of_them[-len(held) :]
    assert 10 < len(held) < 70
    one = all_of_them[-1]
    answers.renew(one, 1.5)
    answers.renew(all_of_them[-2], 1.6)
    for n in range(60):
        answers.renew(all_of_them[n % 2], 2.5 + n)
    assert (one.hit, one.hit_until) == (NO_HEAD, NEVER)
    assert all_of_them[1].hit.get(b"age") == b"61"
    answers.renew(one, 62)
    store.drop(one)
    assert one.hit is NO_HEAD
    assert store._heads.bytes <= 3 * 512


def test_other_variants_of_a_page_cost_a_hit_nothing() -> None:
    """Neither a lookup nor a new head, nor what is stored or taken out, looks at the others under its key."""
    looked = 0

    class Counted(dict):  # type: ignore[type-arg]
        def values(self) -> Any:
            nonlocal looked
            looked += len(self)
            return super().values()

    store = Store(80_000_000, max_object=10_000, most_variants=20_000)
    answers = Answers("edge", VirtualClock(), random.Random(1), store.renewed)
    names = (b"user-agent",)
    put = [stored(names=names, request=[(b"user-agent", b"%d" % n)]) for n in range(150)]
    for one in put:
        store.put(one)
    under = store._entries[KEY]
    assert isinstance(under, Variants)
    under.by_names[names] = Counted(under.by_names[names])
    for n in range(100):
        found, _ = store.find(KEY, [(b"user-agent", b"%d" % n)])
        assert found is put[n]
        answers.renew(found, 0.5 + n * 0.1)
        assert found.hit is not NO_HEAD
    store.drop(put[5])
    store.put(stored(names=names, request=[(b"user-agent", b"new")]))
    assert looked == 0
    assert put[0].hit is NO_HEAD  # its second is over


def test_a_million_would_cost_a_collection_nothing() -> None:
    """The collector counts what it looks at: neither a stored response nor anything in it is among that."""
    store = Store(10_000_000, max_object=10_000)
    gc.collect()
    before = len(gc.get_objects())
    for n in range(1000):
        store.put(stored(b"https://shop.test/%d" % n, fields=[(b"etag", b'"%d"' % n)]))
    gc.collect()
    assert len(gc.get_objects()) - before < 20


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer allocates as well")
@pytest.mark.parametrize("body", [10, 1024, 16_384])
@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("hit", [False, True])
def test_the_weights_are_not_less_than_the_memory(body: int, varies: bool, hit: bool) -> None:
    store = Store(100_000_000, max_object=1_000_000)
    names = (b"accept-encoding",) if varies else ()
    answers = Answers("edge", VirtualClock(), random.Random(1), store.renewed)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(500):
            fields = [(bytes(b"x-name-%d" % i), b"value %d of %d" % (i, n)) for i in range(8)]
            key = b"https://shop.test/products/%d" % n
            request = [(b"accept-encoding", b"gzip, br, x%d" % n)]
            one = stored(key, names=names, request=request, fields=fields, body=bytes(body))
            store.put(one)
            if hit:
                answers.renew(one, 1.5)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used <= store.size <= used * 1.6
