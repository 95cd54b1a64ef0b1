"""What is taken into pieces is what came, wherever it was cut (RFC 9111 §3.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdn_edge.parts import Parts
from cdn_edge.slicing import take
from cdn_edge.store import Store
from stack.http.ranges import Range
from tests.cdn_edge.ranged import counted
from tests.cdn_edge.test_store import KEY, stored

LENGTH = 1_000
SPANS = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 300)).map(lambda one: (one[0], min(LENGTH, sum(one))))


@given(spans=st.lists(SPANS, max_size=12), size=st.sampled_from([0, 64, 100, 2_000]), asked=SPANS)
def test_pieces_hold_what_came_and_nothing_else(
    spans: list[tuple[int, int]], size: int, asked: tuple[int, int]
) -> None:
    content = counted(LENGTH)
    store = Store(10_000_000, max_object=100_000)
    parts = Parts(LENGTH, b'"a"')
    assert store.put(stored(body=b"").held_in(parts))
    held: set[int] = set()
    for start, stop in spans:
        assert take(store, parts, start, content[start:stop], size=size)
        held.update(range(start, stop))
        if len(held) == LENGTH and (not size or size >= LENGTH):
            found, _ = store.find(KEY, [])
            assert found is not None
            assert (found.parts, found.body, parts.whole) == (None, content, content)
            assert parts.gaps(Range(*asked)) == []
            return
        for piece in parts.pieces:
            assert piece.body == content[piece.span.start : piece.span.stop]
            if size:
                assert piece.span.start // size == (piece.span.stop - 1) // size
        for one, other in zip(parts.pieces, parts.pieces[1:], strict=False):
            assert one.span.stop <= other.span.start
            if not size or one.span.stop % size:
                assert one.span.stop < other.span.start  # neighbours within a slice are one
    missing = {at for gap in parts.gaps(Range(*asked)) for at in range(gap.start, gap.stop)}
    assert missing == set(range(*asked)) - held
    assert store.statistics().objects == 1 + len(parts.pieces)
