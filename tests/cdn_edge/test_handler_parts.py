"""Partial responses: stored, combined, completed (RFC 9111 §3.3, §3.4; RFC 9110 §14, §15.3.7)."""

from __future__ import annotations

import pytest

from cdn_edge.rules.judging import Policy
from stack.errors import ResponseIncomplete
from tests.cdn_edge.lab import Lab, Reply, Stream
from tests.cdn_edge.ranged import File, counted

TEN = b"0123456789"


def lab_of(content: bytes = TEN, *, size: int = 1024, **given: object) -> tuple[Lab, File]:
    lab = Lab(policy=Policy(slice=size))
    file = File(lab.clock, content, **given)  # type: ignore[arg-type]
    lab.origin(file)
    return lab, file


async def test_3_3_a_part_is_stored_and_answers_ranges_within_it() -> None:
    lab, file = lab_of()
    first = await lab.ask("/a", "Range: bytes=2-7")
    assert (first.status, first.body) == (206, b"234567")
    assert first.cache_status == "edge; fwd=uri-miss; fwd-status=206; stored; ttl=60"
    lab.pass_time(5)
    for wanted, body in (("2-7", b"234567"), ("3-4", b"34"), ("7-7", b"7")):
        reply = await lab.ask("/a", f"Range: bytes={wanted}")
        assert (reply.status, reply.body, reply.at_once) == (206, body, True)
        assert reply.get("content-range") == f"bytes {wanted}/10"
        assert reply.get("content-length") == str(len(body))
        assert reply.cache_status == "edge; hit; ttl=55"
        assert reply.get("age") == "5"
    assert file.served == ["bytes=2-7 206"]


async def test_3_3_a_suffix_and_an_open_range_within_the_end() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=-5")
    assert (await lab.ask("/a", "Range: bytes=-2")).body == b"89"
    assert (await lab.ask("/a", "Range: bytes=6-")).body == b"6789"
    assert (await lab.ask("/a", "Range: bytes=10-")).status == 416
    several = await lab.ask("/a", "Range: bytes=5-5,9-9")
    assert several.status == 206
    assert b"content-range: bytes 5-5/10\r\n\r\n5\r\n" in several.body
    assert b"content-range: bytes 9-9/10\r\n\r\n9\r\n" in several.body
    assert several.get("content-length") == str(len(several.body))
    assert len(file.served) == 1


async def test_3_4_what_is_missing_is_fetched_and_makes_it_whole() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    reply = await lab.ask("/a", "Range: bytes=3-6")
    assert (reply.status, reply.body) == (206, b"3456")
    assert reply.cache_status == "edge; fwd=partial; fwd-status=206; ttl=60"
    assert file.served == ["bytes=0-4 206", "bytes=5-9 206"]
    assert lab.seen[1].get(b"if-match") == b'"a"'
    whole = await lab.ask("/a")
    assert (whole.status, whole.body, whole.at_once, whole.is_hit) == (200, TEN, True, True)
    assert (whole.get("content-length"), whole.get("content-range")) == ("10", None)
    assert lab.store.statistics().objects == 1
    assert len(file.served) == 2


async def test_3_4_a_get_is_answered_from_a_part_and_the_rest() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=4-5")
    reply = await lab.ask("/a")
    assert (reply.status, reply.body, reply.get("content-length")) == (200, TEN, "10")
    assert file.served == ["bytes=4-5 206", "bytes=0-9 206"]


async def test_3_4_parts_of_two_requests_are_combined_and_the_newer_fields_hold() -> None:
    lab, file = lab_of(head="Cache-Control: max-age=60\nX-Is: old")
    await lab.ask("/a", "Range: bytes=0-4")
    file.head = "Cache-Control: max-age=90\nX-Is: new"
    assert (await lab.ask("/a", "Range: bytes=5-9\nCache-Control: no-cache")).status == 206
    reply = await lab.ask("/a")
    assert (reply.body, reply.get("x-is"), reply.cache_status) == (TEN, "new", "edge; hit; ttl=90")


@pytest.mark.parametrize("size", [10, 3])
async def test_3_4_what_completes_an_answer_brings_its_fields(size: int) -> None:
    lab, file = lab_of(head="Cache-Control: max-age=60\nX-Is: old", size=size)
    await lab.ask("/a", "Range: bytes=0-4")
    lab.pass_time(30)
    file.head = "Cache-Control: max-age=90\nX-Is: new"
    reply = await lab.ask("/a", "Range: bytes=3-6")
    assert (reply.body, reply.get("x-is"), reply.get("age")) == (b"3456", "new", "0")
    assert reply.cache_status == "edge; fwd=partial; fwd-status=206; ttl=90"
    assert (reply.exchange.upstream, reply.exchange.attempts) == ("origin", 1)


async def test_3_4_a_part_brings_the_head_of_the_whole_up_to_date() -> None:
    lab, file = lab_of(head="Cache-Control: max-age=60\nX-Is: old")
    await lab.ask("/a")
    file.head = "Cache-Control: max-age=90\nX-Is: new"
    await lab.ask("/a", "Range: bytes=0-1\nCache-Control: no-cache")
    reply = await lab.ask("/a")
    assert (reply.body, reply.get("x-is"), reply.get("content-range")) == (TEN, "new", None)


@pytest.mark.parametrize("tag", ["", 'W/"a"'])
async def test_3_4_without_a_strong_validator_nothing_is_put_together(tag: str) -> None:
    lab, file = lab_of(tag=tag)
    await lab.ask("/a", "Range: bytes=0-4")
    assert (await lab.ask("/a", "Range: bytes=1-3")).is_hit
    other = await lab.ask("/a", "Range: bytes=5-9")
    assert (other.body, other.cache_status) == (b"56789", "edge; fwd=partial; fwd-status=206; stored; ttl=60")
    assert file.served == ["bytes=0-4 206", "bytes=5-9 206"]
    assert (await lab.ask("/a", "Range: bytes=5-9")).is_hit
    assert not (await lab.ask("/a", "Range: bytes=0-4")).is_hit
    assert (await lab.ask("/a")).body == TEN
    assert file.served[-1] == "all 200"


@pytest.mark.parametrize("matches", [True, False])
async def test_3_4_what_has_changed_is_fetched_whole(matches: bool) -> None:
    lab, file = lab_of(matches=matches)
    await lab.ask("/a", "Range: bytes=0-4")
    file.content, file.tag = b"abcdefghij", '"b"'
    reply = await lab.ask("/a")
    assert (reply.status, reply.body) == (200, b"abcdefghij")
    assert reply.cache_status.startswith("edge; fwd=partial; fwd-status=200; stored")
    assert (await lab.ask("/a")).body == b"abcdefghij"


async def test_3_4_the_same_tag_for_another_length_is_another() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    file.content = b"abcdefghijkl"
    assert (await lab.ask("/a")).body == b"abcdefghijkl"


async def test_an_origin_that_fails_in_the_middle_is_asked_for_everything() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    lab.origin(lab.response("Cache-Control: no-store", status=503), file)
    reply = await lab.ask("/a", "Range: bytes=2-7")
    assert (reply.status, reply.body) == (206, b"234567")


async def test_conditions_are_held_against_a_part_like_against_the_whole() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    for text, status in (
        ('If-None-Match: "a"', 304),
        ('If-None-Match: "a"\nRange: bytes=0-1', 304),
        ('If-None-Match: "b"\nRange: bytes=0-1', 206),
        ('If-Range: "a"\nRange: bytes=0-1', 206),
        ('If-Match: "a"\nRange: bytes=0-1', 206),
    ):
        reply = await lab.ask("/a", text)
        assert (reply.status, reply.is_hit) == (status, True), text
    assert len(file.served) == 1
    missed = await lab.ask("/a", 'If-Range: "b"\nRange: bytes=0-1')
    assert (missed.status, missed.body) == (200, TEN)
    assert (await lab.ask("/a", 'If-Match: "b"\nRange: bytes=0-1')).status == 412


async def test_head_is_answered_from_a_part() -> None:
    lab, _ = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    reply = await lab.ask("/a", method="HEAD")
    assert (reply.status, reply.body, reply.get("content-length"), reply.is_hit) == (200, b"", "10", True)
    assert reply.get("content-range") is None


async def test_a_stale_part_is_validated() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    lab.pass_time(70)
    reply = await lab.ask("/a", "Range: bytes=0-4")
    assert (reply.status, reply.body) == (206, b"01234")
    assert reply.cache_status == "edge; fwd=stale; fwd-status=304; ttl=60"
    lab.pass_time(70)
    more = await lab.ask("/a", "Range: bytes=3-6")
    assert (more.status, more.body) == (206, b"3456")
    assert more.cache_status == "edge; fwd=stale; fwd-status=206; ttl=60"
    assert file.served[1:] == ["bytes=0-4 304", "bytes=3-6 304", "bytes=5-9 206"]


async def test_a_stale_part_that_changes_behind_its_304_is_fetched_whole() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    lab.pass_time(70)
    changed = File(lab.clock, b"abcdefghij", tag='"b"')
    lab.origin(file, changed)
    reply = await lab.ask("/a", "Range: bytes=3-6")
    assert (reply.status, reply.body, reply.word("lookup")) == (206, b"defg", "stale")
    assert reply.cache_status == "edge; fwd=stale; fwd-status=206; stored; ttl=60"


async def test_a_stale_part_that_has_changed_gives_way() -> None:
    lab, file = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    lab.pass_time(70)
    file.content, file.tag = b"abcdefghij", '"b"'
    assert (await lab.ask("/a", "Range: bytes=0-1")).body == b"ab"
    assert (await lab.ask("/a", "Range: bytes=1-1")).body == b"b"
    assert (await lab.ask("/a")).body == b"abcdefghij"


async def test_a_stale_part_answers_where_the_origin_is_gone_and_it_has_all() -> None:
    lab, _ = lab_of(head="Cache-Control: max-age=60, stale-if-error=600")
    await lab.ask("/a", "Range: bytes=0-4")
    lab.pass_time(70)
    lab.origin(lab.response("", status=503))
    stale = await lab.ask("/a", "Range: bytes=1-2")
    assert (stale.status, stale.body, stale.word("fetch")) == (206, b"12", "stale-if-error")
    assert (await lab.ask("/a", "Range: bytes=3-8")).status == 503


async def test_a_refresh_in_the_background_fetches_no_content() -> None:
    lab, file = lab_of(head="Cache-Control: max-age=60, stale-while-revalidate=60")
    await lab.ask("/a", "Range: bytes=0-4")
    lab.pass_time(70)
    assert (await lab.ask("/a", "Range: bytes=0-1")).body == b"01"
    assert file.served == ["bytes=0-4 206", "all 304"]
    assert (await lab.ask("/a", "Range: bytes=0-1")).cache_status == "edge; hit; ttl=60"


async def test_one_with_authorization_completes_for_itself_alone() -> None:
    lab, _ = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    reply = await lab.ask("/a", "Authorization: Basic x")
    assert reply.body == TEN
    assert not (await lab.ask("/a", "Range: bytes=5-6")).is_hit


async def test_a_purge_takes_parts_and_what_is_on_its_way() -> None:
    lab, _ = lab_of()
    await lab.ask("/a", "Range: bytes=0-4")
    assert lab.store.invalidate(b"https://shop.test/a") == 1
    assert lab.store.statistics().objects == 0
    assert not (await lab.ask("/a", "Range: bytes=0-4")).is_hit


async def test_variants_have_parts_of_their_own() -> None:
    lab, _ = lab_of(head="Cache-Control: max-age=60\nVary: Accept-Language")
    await lab.ask("/a", "Range: bytes=0-4\nAccept-Language: de")
    other = await lab.ask("/a", "Range: bytes=0-4\nAccept-Language: en")
    assert other.cache_status.startswith("edge; fwd=vary-miss")
    assert (await lab.ask("/a", "Range: bytes=0-4\nAccept-Language: de")).is_hit


async def test_a_part_that_breaks_off_is_as_much_as_came() -> None:
    lab = Lab()
    file = File(lab.clock, TEN)
    cut = lab.response(
        'Cache-Control: max-age=60\nETag: "a"\nContent-Range: bytes 0-7/10\nContent-Length: 8',
        status=206,
        body=Stream(b"012", error=ResponseIncomplete()),
    )
    lab.origin(cut, file)
    assert (await lab.ask("/a", "Range: bytes=0-7")).body == b"012<cut>"
    assert (await lab.ask("/a", "Range: bytes=1-2")).is_hit
    assert (await lab.ask("/a")).body == TEN
    assert file.served == ["bytes=3-9 206"]


async def test_a_large_part_without_a_strong_validator_passes_through() -> None:
    lab = Lab(policy=Policy(max_object=1000))
    file = File(lab.clock, counted(5_000), tag="")
    lab.origin(file)
    reply: Reply = await lab.ask("/a", "Range: bytes=0-1999")
    assert reply.body == file.content[:2000]
    assert reply.cache_status.endswith("detail=too-large")
    assert lab.store.size == 0


WHOLE = 'Cache-Control: max-age=60\nETag: "a"\nContent-Length: 10\nAccept-Ranges: bytes'


async def test_3_3_what_came_of_a_response_that_broke_off_is_a_part() -> None:
    lab = Lab()
    file = File(lab.clock, TEN)
    lab.origin(lab.response(WHOLE, body=Stream(b"0123", b"45", error=ResponseIncomplete())), file)
    assert (await lab.ask("/a")).body == b"012345<cut>"
    assert (await lab.ask("/a", "Range: bytes=2-5")).is_hit
    assert (await lab.ask("/a")).body == TEN
    assert file.served == ["bytes=6-9 206"]


NO_PART = [
    ("3.4 weak", WHOLE.replace('"a"', 'W/"a"'), [b"0123"]),
    ("14.3 no ranges", WHOLE.replace("bytes", "none"), [b"0123"]),
    ("unknown length", WHOLE.replace("Content-Length: 10", ""), [b"0123"]),
    ("longer than it said", WHOLE.replace("10", "3"), [b"01", b"23"]),
    ("nothing came", WHOLE, []),
]


@pytest.mark.parametrize(("text", "pieces"), [pytest.param(*row, id=case) for case, *row in NO_PART])
async def test_3_3_what_broke_off_and_cannot_be_completed_is_not_kept(text: str, pieces: list[bytes]) -> None:
    lab = Lab()
    lab.origin(lab.response(text, body=Stream(*pieces, error=ResponseIncomplete())))
    await lab.ask("/a")
    assert lab.store.size == 0


async def test_3_3_what_broke_off_takes_no_place_of_what_is_stored() -> None:
    lab = Lab()
    broken = WHOLE.replace('"a"', '"b"')
    lab.origin(
        lab.response(WHOLE.replace("60", "60, stale-if-error=600"), body=TEN),
        lab.response(broken, body=Stream(b"abcd", error=ResponseIncomplete())),
        lab.response("", status=503),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a")).body == b"abcd<cut>"
    assert (await lab.ask("/a")).body == TEN


async def test_5_2_2_4_parts_of_what_is_to_be_validated_each_time_are_completed_too() -> None:
    lab, file = lab_of(head="Cache-Control: no-cache")
    await lab.ask("/a", "Range: bytes=0-4")
    reply = await lab.ask("/a", "Range: bytes=3-6")
    assert (reply.status, reply.body) == (206, b"3456")
    assert reply.cache_status == "edge; fwd=stale; fwd-status=206; ttl=0"
    assert file.served == ["bytes=0-4 206", "bytes=3-6 304", "bytes=5-9 206"]
