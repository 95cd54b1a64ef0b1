"""A body that passes through into the store: only what came whole is kept (RFC 9111 §3.3)."""

from __future__ import annotations

import tracemalloc

import pytest

from cdn_edge.recording import Tee
from cdn_edge.rules.storing import NotStored
from cdn_edge.store import Store
from stack.errors import ResponseIncomplete
from tests.cdn_edge.lab import Stream
from tests.cdn_edge.test_store import KEY, stored


def tee(store: Store, stream: Stream, *, length: int | None = None) -> tuple[Tee, list[NotStored]]:
    refused: list[NotStored] = []
    recording = store.record(KEY)
    return (
        Tee(stream, recording, lambda body: stored(body=body), length=length, refused=refused.append),
        refused,
    )


def kept(store: Store) -> bytes | None:
    found = store.find(KEY, [])[0]
    return None if found is None else found.body


@pytest.mark.parametrize("length", [None, 6])
async def test_whole(length: int | None) -> None:
    store = Store(100_000, max_object=10_000)
    body, refused = tee(store, stream := Stream(b"abc", b"def"), length=length)
    assert [chunk async for chunk in body] == [b"abc", b"def"]
    await body.aclose()
    assert kept(store) == b"abcdef"
    assert not refused
    assert stream.closed


async def test_what_is_not_small_is_never_in_memory_twice() -> None:
    store = Store(40_000_000, max_object=4_000_000)
    body, _ = tee(store, Stream())
    tracemalloc.start()
    try:
        for number in range(60):
            body._recording.feed(bytes([number]) * 50_000)
        tracemalloc.reset_peak()
        body._recording.keep(body._make)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    found = kept(store)
    assert found is not None
    assert (len(found), found[150_000]) == (3_000_000, 3)
    assert peak < 1.3 * len(found)


async def test_with_a_length_it_is_kept_before_the_client_can_see_the_end() -> None:
    store = Store(100_000, max_object=10_000)
    body, _ = tee(store, Stream(b"abc", b"def"), length=6)
    await anext(body)
    assert kept(store) is None
    await anext(body)
    assert kept(store) == b"abcdef"


@pytest.mark.parametrize("length", [None, 6, 9])
async def test_broken_off(length: int | None) -> None:
    store = Store(100_000, max_object=10_000)
    body, refused = tee(store, Stream(b"abc", error=ResponseIncomplete()), length=length)
    with pytest.raises(ResponseIncomplete):
        _ = [chunk async for chunk in body]
    await body.aclose()
    assert kept(store) is None
    assert refused == [NotStored.INCOMPLETE]
    assert store.size == 0


@pytest.mark.parametrize("length", [5, 7])
async def test_another_length_than_it_said(length: int) -> None:
    store = Store(100_000, max_object=10_000)
    body, refused = tee(store, Stream(b"abc", b"def"), length=length)
    assert [chunk async for chunk in body] == [b"abc", b"def"]
    assert kept(store) is None
    assert refused == [NotStored.INCOMPLETE]


async def test_a_client_that_leaves() -> None:
    store = Store(100_000, max_object=10_000)
    body, refused = tee(store, stream := Stream(b"abc", b"def"), length=6)
    await anext(body)
    await body.aclose()
    assert stream.closed
    assert kept(store) is None
    assert refused == [NotStored.INCOMPLETE]
    assert store.size == 0


async def test_too_large_goes_on_to_the_client() -> None:
    store = Store(100_000, max_object=5)
    body, refused = tee(store, Stream(b"abc", b"def", b"ghi"))
    assert b"".join([chunk async for chunk in body]) == b"abcdefghi"
    assert kept(store) is None
    assert refused == [NotStored.TOO_LARGE]


async def test_invalidated_on_its_way() -> None:
    store = Store(100_000, max_object=10_000)
    body, refused = tee(store, Stream(b"abc", b"def"), length=6)
    await anext(body)
    store.invalidate(KEY)
    await anext(body)
    await body.aclose()
    assert kept(store) is None
    assert refused == [NotStored.INVALIDATED]
