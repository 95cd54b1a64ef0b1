"""Large content in slices: streamed through, kept piece by piece, never mixed of two versions."""

from __future__ import annotations

import asyncio
import random

import pytest

from cdn_edge.rules.judging import Policy
from stack.clock import settle
from stack.errors import ResponseIncomplete
from stack.http.message import BodyStream
from tests.cdn_edge.lab import Lab, Stream
from tests.cdn_edge.ranged import File, counted

SLICE = 4_096
LARGE = 10 * SLICE + 1_000


def lab_of(size: int = 1_000_000, length: int = LARGE, **given: object) -> tuple[Lab, File]:
    policy = Policy(max_object=20_000, slice=SLICE, slice_from=2 * SLICE)
    lab = Lab(size=size, max_object=20_000, policy=policy)
    file = File(lab.clock, counted(length), **{"chunk": 1_500, **given})  # type: ignore[arg-type]
    lab.origin(file)
    return lab, file


async def test_it_streams_through_and_is_kept_in_slices() -> None:
    lab, file = lab_of()
    first = await lab.ask("/a")
    assert (first.status, first.body) == (200, file.content)
    assert first.cache_status == "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    again = await lab.ask("/a")
    assert (again.status, again.body, again.cache_status) == (200, file.content, "edge; hit; ttl=60")
    assert again.get("content-length") == str(LARGE)
    assert (await lab.ask("/a", "Range: bytes=5000-20000")).body == file.content[5_000:20_001]
    several = await lab.ask("/a", "Range: bytes=0-9,40000-40009")
    assert file.content[40_000:40_010] in several.body
    assert several.get("content-length") == str(len(several.body))
    assert (await lab.ask("/a", method="HEAD")).get("content-length") == str(LARGE)
    assert file.served == ["all 200"]
    assert lab.store.statistics().objects == 12
    assert lab.store.statistics().pending == 0


async def test_a_slice_that_has_left_is_fetched_alone() -> None:
    lab, file = lab_of()
    await lab.ask("/a")
    stored, _ = lab.store.find(b"https://shop.test/a", [])
    assert stored is not None
    assert stored.parts is not None
    piece = stored.parts.at(3 * SLICE)
    assert piece is not None
    lab.store.drop(piece)
    reply = await lab.ask("/a")
    assert (reply.body, reply.cache_status) == (file.content, "edge; fwd=partial; fwd-status=206; ttl=60")
    assert file.served[1:] == [f"bytes={3 * SLICE}-{4 * SLICE - 1} 206"]
    assert (await lab.ask("/a")).is_hit


async def test_a_range_of_what_is_known_in_part_fetches_whole_slices() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=100-199")
    reply = await lab.ask("/a", f"Range: bytes={2 * SLICE + 5}-{4 * SLICE + 9}")
    assert reply.body == file.content[2 * SLICE + 5 : 4 * SLICE + 10]
    slices = [f"bytes={n * SLICE}-{(n + 1) * SLICE - 1} 206" for n in (2, 3, 4)]
    assert file.served == ["bytes=100-199 206", *slices]


async def test_many_clients_fetch_each_slice_once() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-0")
    lab.delay = 0.5
    spans = [(n * 1_000, n * 1_000 + 9_000) for n in range(20)]
    asked = [asyncio.create_task(lab.ask("/a", f"Range: bytes={start}-{stop}")) for start, stop in spans]
    for _ in range(40):
        await settle()
        await lab.clock.advance(0.5)
    for (start, stop), task in zip(spans, asked, strict=True):
        assert (await task).body == file.content[start : stop + 1]
    assert len(file.served) == len(set(file.served))
    assert len(file.served) <= 1 + 8


async def test_a_client_that_leaves_takes_nothing_from_who_waits() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-0")
    lab.delay = 0.5
    leaves = asyncio.create_task(lab.ask("/a", "Range: bytes=5000-5010"))
    stays = asyncio.create_task(lab.ask("/a", "Range: bytes=5005-5010"))
    await settle()
    leaves.cancel()
    await settle()
    await lab.clock.advance(0.5)
    assert (await stays).body == file.content[5_005:5_011]
    assert len(file.served) == 2


@pytest.mark.parametrize("matches", [True, False])
async def test_what_changes_in_the_middle_breaks_off(matches: bool) -> None:
    lab, file = lab_of(matches=matches)
    old = file.content
    await lab.ask("/a", f"Range: bytes=0-{2 * SLICE - 1}")
    stream = await lab.begin("/a")
    got = await anext(aiter(stream))  # type: ignore[arg-type]
    file.content, file.tag = counted(LARGE, 1), '"b"'
    more, whole = await rest(stream)
    assert not whole
    assert got + more == old[: len(got + more)]
    await settle()
    assert (await lab.ask("/a")).body == file.content


async def rest(stream: BodyStream) -> tuple[bytes, bool]:
    """What still comes, and whether it came whole."""
    got = b""
    try:
        async for chunk in stream:
            got += chunk
    except ResponseIncomplete:
        return got, False
    return got, True


async def test_what_changes_before_the_first_byte_is_fetched_anew() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-99")
    file.content, file.tag = counted(LARGE, 1), '"b"'
    reply = await lab.ask("/a", "Range: bytes=50-5000")
    assert (reply.status, reply.body) == (206, file.content[50:5_001])
    assert (await lab.ask("/a", "Range: bytes=50-99")).body == file.content[50:100]


async def test_memory_is_bounded_for_what_is_larger_than_the_store() -> None:
    lab, file = lab_of(size=12 * SLICE, length=40 * SLICE)
    for _ in range(3):
        stream = await lab.begin("/a")
        got = b""
        async for chunk in stream:
            got += chunk
            assert lab.store.size <= lab.store.limit + 2 * SLICE
        assert got == file.content
    assert lab.store.statistics().evicted > 0


async def test_a_slow_client_holds_a_slice_and_the_next() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-0")
    stream = await lab.begin("/a")
    await anext(aiter(stream))
    await settle()
    assert len(file.served) <= 3
    await stream.aclose()
    await settle()
    assert lab.store.statistics().pending == 0
    assert len(lab.tasks) == 0


async def test_a_client_that_leaves_early_leaves_what_has_come() -> None:
    lab, file = lab_of()
    stream = await lab.begin("/a")
    for _ in range(5):
        await anext(aiter(stream))
    await stream.aclose()
    assert (await lab.ask("/a", "Range: bytes=0-7499")).is_hit
    assert lab.store.statistics().pending == 0
    assert (await lab.ask("/a")).body == file.content
    assert file.served[0] == "all 200"
    assert "all 200" not in file.served[1:]


async def test_a_condition_that_spares_the_content_stores_the_head_alone() -> None:
    lab, file = lab_of()
    reply = await lab.ask("/a", 'If-None-Match: "a"')
    assert (reply.status, reply.word("store")) == (304, "stored")
    assert lab.store.statistics().objects == 1
    assert (await lab.ask("/a", "Range: bytes=0-9")).body == file.content[:10]
    assert file.served == ["all 200", f"bytes=0-{SLICE - 1} 206"]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"tag": 'W/"a"'}, "too-large"),
        ({"tag": ""}, "too-large"),
        ({"head": "Cache-Control: max-age=60"}, "too-large"),
        ({"head": "Cache-Control: private\nAccept-Ranges: bytes"}, "private"),
    ],
    ids=["weak", "no validator", "no ranges", "private"],
)
async def test_what_cannot_be_completed_is_not_sliced(given: dict[str, str], word: str) -> None:
    lab, file = lab_of(**given)
    reply = await lab.ask("/a")
    assert (reply.body, reply.word("store")) == (file.content, word)
    assert lab.store.size == 0


async def test_a_purge_in_the_middle_keeps_nothing_and_sends_all() -> None:
    lab, file = lab_of()
    stream = await lab.begin("/a")
    got = await anext(aiter(stream))
    lab.store.invalidate(b"https://shop.test/a")
    async for chunk in stream:
        got += chunk
    assert got == file.content
    assert lab.store.statistics().objects == 0
    assert lab.store.size == 0


async def test_a_slice_that_says_private_ends_it_for_all() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-99")
    file.head = "Cache-Control: private\nAccept-Ranges: bytes"
    reply = await lab.ask("/a", "Range: bytes=50-5000")
    assert reply.body == file.content[50:5_001]
    assert lab.store.statistics().objects == 0


async def test_slices_bring_the_head_up_to_date() -> None:
    lab, _ = lab_of()
    await lab.ask("/a", "Range: bytes=0-99")
    lab.pass_time(50)
    await lab.ask("/a", "Range: bytes=50-5000")
    assert (await lab.ask("/a", "Range: bytes=0-9")).cache_status == "edge; hit; ttl=60"


async def test_an_origin_that_takes_no_ranges_after_all_sends_everything() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-99")
    lab.origin(lab.response('Cache-Control: max-age=60\nETag: "a"', body=file.content[:15_000]))
    reply = await lab.ask("/a", "Range: bytes=50-5000")
    assert (reply.status, len(reply.body)) == (200, 15_000)


async def test_a_slice_that_breaks_off_is_not_kept() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-99")
    cut = lab.response(
        f'ETag: "a"\nContent-Range: bytes {SLICE}-{2 * SLICE - 1}/{LARGE}\nContent-Length: {SLICE}',
        status=206,
        body=Stream(b"x" * 100, error=ResponseIncomplete()),
    )
    lab.origin(cut, file)
    reply = await lab.ask("/a", f"Range: bytes={SLICE}-{SLICE + 9}")
    assert reply.body == file.content[SLICE : SLICE + 10]


@pytest.mark.parametrize("matches", [True, False])
async def test_random_ranges_of_a_changing_file_are_each_of_one_version(matches: bool) -> None:
    chance = random.Random(11)
    lab, file = lab_of(size=16 * SLICE, length=30 * SLICE, matches=matches)
    versions = {'"0"': file.content}
    file.tag = '"0"'
    for step in range(250):
        if chance.random() < 0.03:
            file.tag = f'"{step}"'
            file.content = versions[file.tag] = counted(chance.choice((20, 30)) * SLICE, step % 20)
        if chance.random() < 0.1:
            lab.pass_time(30)
        start = chance.randrange(20 * SLICE)
        stop = start + chance.choice((10, SLICE, 5 * SLICE))
        text = chance.choice((f"Range: bytes={start}-{stop}", f"Range: bytes=-{stop - start + 1}", ""))
        reply = await lab.ask("/a", text)
        whole = versions[reply.get("etag") or ""]
        if reply.status == 206:
            told = (reply.get("content-range") or "").removeprefix("bytes ")
            first, last = map(int, told.partition("/")[0].split("-"))
            whole = whole[first : last + 1]
        if reply.body.endswith(b"<cut>"):
            assert whole.startswith(reply.body.removesuffix(b"<cut>"))
        else:
            assert reply.body == whole
        assert lab.store.size <= lab.store.limit + 2 * SLICE
    assert lab.store.statistics().pending == 0
