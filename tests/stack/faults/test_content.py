"""Content that a fault touches: the same whatever pieces it comes in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.faults.content import SLICES, Altered


class Cut(Exception):
    pass


class Pieces:
    """A body that notes whether its reader left."""

    def __init__(self, *pieces: bytes) -> None:
        self.left = False
        self._pieces = iter(pieces)

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.left = True


async def read(pieces: list[bytes], **effects: Any) -> tuple[list[bytes | float], bool]:
    """Pieces and waits in order, and whether it was cut."""
    seen: list[bytes | float] = []

    async def wait(seconds: float) -> None:
        seen.append(seconds)

    altered = Altered(Pieces(*pieces) if len(pieces) != 1 else pieces[0], wait=wait, end=Cut, **effects)
    try:
        async for piece in altered:
            seen.append(piece)
    except Cut:
        return seen, True
    return seen, False


def content(seen: list[bytes | float]) -> bytes:
    return b"".join(item for item in seen if isinstance(item, bytes))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=12), max_size=6),
    st.one_of(st.none(), st.integers(0, 40)),
    st.one_of(st.none(), st.integers(0, 40)),
    st.sampled_from([0.0, 3.0]),
    st.one_of(st.none(), st.integers(1, 100)),
)
def test_any_pieces(
    pieces: list[bytes], corrupt: int | None, ends_after: int | None, late: float, rate: int | None
) -> None:
    whole = b"".join(pieces)
    want = bytearray(whole)
    if corrupt is not None and corrupt < len(whole):
        want[corrupt] ^= 0xFF
    cut = ends_after is not None and ends_after < len(whole)
    seen, was_cut = asyncio.run(read(pieces, corrupt=corrupt, ends_after=ends_after, late=late, rate=rate))
    assert was_cut == cut
    if not cut:
        assert content(seen) == bytes(want)
        assert seen[-2:] == ([3.0, bytes(want[-1:])] if late and want else seen[-2:])
        assert (3.0 in seen) == bool(late)
    else:
        assert content(seen) == bytes(want[:ends_after])


async def test_all_but_the_last_byte_comes_at_once() -> None:
    assert (await read([b"abc", b"", b"de"], late=5.0))[0] == [b"ab", b"cd", 5.0, b"e"]


async def test_a_rate_is_kept_in_small_pieces() -> None:
    seen, _ = await read([b"x" * 1000], rate=400)
    assert sum(item for item in seen if isinstance(item, float)) == pytest.approx(2.5)
    assert max(len(item) for item in seen if isinstance(item, bytes)) == 400 // SLICES


async def test_who_leaves_is_heard_by_the_sender() -> None:
    async def never(seconds: float) -> None:
        await asyncio.Future()

    for started in (False, True):
        body = Pieces(b"abc")
        altered = Altered(body, wait=never, late=1.0)
        if started:
            assert await anext(altered) == b"ab"
        await altered.aclose()
        assert body.left


async def test_a_generator_is_closed_while_it_is_waited_for() -> None:
    closed = asyncio.Event()

    async def slow() -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            await asyncio.Future()
        finally:
            closed.set()

    altered = Altered(slow(), wait=asyncio.sleep, corrupt=0)
    assert await anext(altered) == b"\x9e"
    reading = asyncio.ensure_future(anext(altered))
    await asyncio.sleep(0)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    await altered.aclose()
    assert closed.is_set()
