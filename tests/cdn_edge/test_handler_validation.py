"""Validation, conditions, ranges, HEAD: RFC 9111 §4.3, RFC 9110 §13 and §14."""

from __future__ import annotations

import asyncio

import pytest

from stack.clock import settle
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab, Stream

FRESH = 'Cache-Control: max-age=60\nETag: "a"\nLast-Modified: {-600}\nContent-Type: text/plain\nX-Own: 1'
BODY = b"0123456789"


async def test_4_3_3_a_304_freshens() -> None:
    lab = Lab()
    lab.origin(
        lab.response(FRESH, body=BODY),
        lab.response('ETag: "a"\nCache-Control: max-age=120\nX-New: 2\nServer-Timing: app;dur=1', status=304, body=b""),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a")
    assert lab.seen[1].get(b"if-none-match") == b'"a"'
    assert lab.seen[1].get(b"if-modified-since") is not None
    assert (reply.status, reply.body) == (200, BODY)
    assert reply.cache_status == "edge; fwd=stale; fwd-status=304; ttl=120"
    assert reply.word("fetch") == "revalidated"
    assert reply.get("age") == "0"
    assert (reply.get("x-own"), reply.get("x-new"), reply.get("server-timing")) == ("1", "2", "app;dur=1")
    lab.pass_time(119)
    again = await lab.ask("/a")
    assert again.cache_status == "edge; hit; ttl=1"
    assert (again.get("x-new"), again.get("server-timing"), again.get("content-length")) == ("2", None, "10")
    assert lab.store.statistics().objects == 1


async def test_4_3_3_a_200_replaces() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=b"old"), lab.response(FRESH, body=b"new"))
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a")
    assert reply.cache_status == "edge; fwd=stale; fwd-status=200; stored; ttl=60"
    assert (await lab.ask("/a")).body == b"new"


async def test_4_3_4_a_304_of_something_else_is_asked_again() -> None:
    lab = Lab()
    lab.origin(
        lab.response(FRESH, body=b"old"),
        lab.response('ETag: "b"', status=304, body=b""),
        lab.response(FRESH.replace('"a"', '"b"'), body=b"new"),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a")
    assert (reply.status, reply.body) == (200, b"new")
    assert lab.seen[2].get(b"if-none-match") is None


async def test_4_3_3_a_304_that_forbids_storing_is_the_last_use() -> None:
    lab = Lab()
    lab.origin(
        lab.response(FRESH, body=BODY),
        lab.response('ETag: "a"\nCache-Control: no-store', status=304, body=b""),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a")).body == BODY
    assert lab.store.statistics().objects == 0


async def test_a_validation_for_one_authorized_client_leaves_the_stored_one_to_the_others() -> None:
    """RFC 9111 §3.5."""
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY), lab.response('ETag: "a"\nX-Own: theirs', status=304, body=b""))
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a", "Authorization: Basic x")).get("x-own") == "theirs"
    assert (await lab.ask("/a", "Cache-Control: max-stale")).get("x-own") == "1"


async def test_5_2_2_4_no_cache_is_validated_each_time() -> None:
    lab = Lab()
    text = 'Cache-Control: max-age=60, no-cache\nETag: "a"'
    lab.origin(lab.response(text), lab.response('ETag: "a"', status=304, body=b""))
    first = await lab.ask("/a")
    assert first.cache_status == "edge; fwd=uri-miss; fwd-status=200; stored; ttl=0"
    for _ in range(3):
        reply = await lab.ask("/a")
        assert (reply.status, reply.cache_status) == (200, "edge; fwd=stale; fwd-status=304; ttl=0")
    assert lab.asked == 4


CONDITIONS = [
    ("13.1.2 same tag", 'If-None-Match: "a"', 304),
    ("13.1.2 weak comparison", 'If-None-Match: W/"a"', 304),
    ("13.1.2 one of several", 'If-None-Match: "x", "a"', 304),
    ("13.1.2 any", "If-None-Match: *", 304),
    ("13.1.2 other tag", 'If-None-Match: "b"', 200),
    ("13.1.3 same date", "If-Modified-Since: {-600}", 304),
    ("13.1.3 later date", "If-Modified-Since: {-60}", 304),
    ("13.1.3 earlier date", "If-Modified-Since: {-6000}", 200),
    ("13.1.3 no date", "If-Modified-Since: then", 200),
    ("13.2.2 the tag goes before the date", 'If-None-Match: "b"\nIf-Modified-Since: {0}', 200),
    ("13.1.1 same tag", 'If-Match: "a"', 200),
    ("13.1.1 any", "If-Match: *", 200),
    ("13.1.4 not modified since", "If-Unmodified-Since: {0}", 200),
]


@pytest.mark.parametrize(("condition", "status"), [pytest.param(*row, id=case) for case, *row in CONDITIONS])
async def test_conditions_against_what_is_stored(condition: str, status: int) -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY))
    await lab.ask("/a")
    reply = await lab.ask("/a", condition)
    assert (reply.status, reply.is_hit, reply.at_once) == (status, True, True)
    if status == 304:
        assert reply.body == b""
        assert (reply.get("etag"), reply.get("cache-control"), reply.get("x-own")) == ('"a"', "max-age=60", "1")
        assert (reply.get("content-type"), reply.get("content-length")) == (None, None)
        assert reply.get("date") is not None


@pytest.mark.parametrize(("condition", "status"), [pytest.param(*row, id=case) for case, *row in CONDITIONS])
async def test_conditions_when_nothing_is_stored(condition: str, status: int) -> None:
    """The origin is asked without them, so that its answer is stored; then they are answered here."""
    lab = Lab()
    stream = Stream(BODY)
    lab.origin(lab.response(FRESH, body=stream))
    reply = await lab.ask("/a", condition)
    assert reply.status == status
    assert lab.seen[0].get(b"if-none-match") is None
    assert lab.seen[0].get(b"if-modified-since") is None
    assert reply.cache_status == "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    again = await lab.ask("/a")
    assert (again.is_hit, again.body) == (True, BODY)
    assert stream.closed


@pytest.mark.parametrize(
    ("condition", "status"), [pytest.param(*row, id=case) for case, *row in CONDITIONS if "unmodified" not in case]
)
async def test_conditions_when_the_stored_one_is_stale(condition: str, status: int) -> None:
    """RFC 9111 §4.3.1: this cache asks with its own validators, and answers the client's conditions itself."""
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY), lab.response('ETag: "a"', status=304, body=b""))
    await lab.ask("/a")
    condition = condition.replace("{-600}", "{-670}")
    lab.pass_time(70)
    reply = await lab.ask("/a", condition)
    assert reply.status == status
    assert lab.seen[1].get(b"if-none-match") == b'"a"'
    assert reply.cache_status.startswith("edge; fwd=stale; fwd-status=304")


@pytest.mark.parametrize("condition", ['If-Match: "b"', 'If-Match: W/"a"', "If-Unmodified-Since: {-6000}"])
async def test_4_3_2_a_condition_of_the_origin_that_does_not_hold_is_its_to_judge(condition: str) -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY), lab.response("", status=412, body=b""))
    await lab.ask("/a")
    reply = await lab.ask("/a", condition)
    assert reply.status == 412
    assert lab.seen[1].get(condition.partition(":")[0].lower().encode()) is not None
    assert reply.cache_status.startswith("edge; fwd=request; fwd-status=412")
    assert (await lab.ask("/a")).is_hit


async def test_an_origin_that_ignores_if_match_does_not_make_it_hold() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY), lab.response('ETag: "a"', status=304, body=b""))
    await lab.ask("/a")
    assert (await lab.ask("/a", 'If-Match: "b"')).status == 412
    other = Lab()
    other.origin(other.response(FRESH, body=BODY))
    assert (await other.ask("/a", 'If-Match: "b"')).status == 412


@pytest.mark.parametrize("asked", ["Authorization: Basic x", "Cache-Control: no-store", "Range: bytes=0-1"])
async def test_where_the_answer_can_hardly_be_stored_the_condition_goes_on(asked: str) -> None:
    lab = Lab()
    lab.origin(lab.response('ETag: "a"', status=304, body=b""))
    reply = await lab.ask("/a", f'If-None-Match: "a"\n{asked}')
    assert lab.seen[0].get(b"if-none-match") == b'"a"'
    assert reply.status == 304


async def test_13_2_1_conditions_do_not_touch_errors() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, status=404, body=b"gone"))
    await lab.ask("/a")
    assert (await lab.ask("/a", 'If-None-Match: "a"')).status == 404
    other = Lab()
    other.origin(other.response(FRESH, status=404, body=b"gone"))
    assert (await other.ask("/a", 'If-None-Match: "a"')).status == 404


async def test_a_condition_answered_304_closes_what_is_not_stored() -> None:
    lab = Lab()
    stream = Stream(BODY)
    lab.origin(lab.response('Cache-Control: no-store\nETag: "a"', body=stream))
    assert (await lab.ask("/a", 'If-None-Match: "a"')).status == 304
    assert stream.closed
    assert stream.pieces == [BODY]


RANGES = [
    ("14.1.2 first", "Range: bytes=0-3", 206, b"0123", "bytes 0-3/10"),
    ("14.1.2 open", "Range: bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("14.1.2 suffix", "Range: bytes=-2", 206, b"89", "bytes 8-9/10"),
    ("14.1.2 beyond the end", "Range: bytes=8-99", 206, b"89", "bytes 8-9/10"),
    ("15.5.17 unsatisfiable", "Range: bytes=10-", 416, b"", "bytes */10"),
    ("14.2 unknown unit", "Range: lines=0-1", 200, BODY, None),
    ("14.2 malformed", "Range: bytes=3-1", 200, BODY, None),
    ("13.1.5 If-Range holds", 'Range: bytes=0-3\nIf-Range: "a"', 206, b"0123", "bytes 0-3/10"),
    ("13.1.5 If-Range is weak", 'Range: bytes=0-3\nIf-Range: W/"a"', 200, BODY, None),
    ("13.1.5 If-Range does not hold", 'Range: bytes=0-3\nIf-Range: "b"', 200, BODY, None),
    ("13.1.5 If-Range with the date", "Range: bytes=0-3\nIf-Range: {-600}", 206, b"0123", "bytes 0-3/10"),
    ("13.1.5 If-Range with a later date", "Range: bytes=0-3\nIf-Range: {0}", 200, BODY, None),
    ("13.2.2 the condition goes before the range", 'Range: bytes=0-3\nIf-None-Match: "a"', 304, b"", None),
    ("13.2.2 a condition that does not hold", 'Range: bytes=0-3\nIf-None-Match: "b"', 206, b"0123", "bytes 0-3/10"),
]


@pytest.mark.parametrize(
    ("request_fields", "status", "body", "content_range"), [pytest.param(*row, id=case) for case, *row in RANGES]
)
async def test_ranges_of_what_is_stored(
    request_fields: str, status: int, body: bytes, content_range: str | None
) -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY))
    await lab.ask("/a")
    reply = await lab.ask("/a", request_fields)
    assert (reply.status, reply.body, reply.get("content-range")) == (status, body, content_range)
    assert reply.is_hit
    if status == 206:
        assert reply.get("content-length") == str(len(body))
        assert reply.get("content-type") == "text/plain"
        assert (reply.get("etag"), reply.get("age")) == ('"a"', "0")


async def test_14_6_several_ranges() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY))
    await lab.ask("/a")
    reply = await lab.ask("/a", "Range: bytes=0-1,8-")
    assert reply.status == 206
    kind, _, boundary = (reply.get("content-type") or "").partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert reply.get("content-range") is None
    assert reply.get("content-length") == str(len(reply.body))
    parts = reply.body.split(b"--" + boundary.encode())
    assert b"content-range: bytes 0-1/10\r\n\r\n01\r\n" in parts[1]
    assert b"content-range: bytes 8-9/10\r\n\r\n89\r\n" in parts[2]


async def test_14_2_range_is_for_get() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY))
    await lab.ask("/a")
    assert (await lab.ask("/a", "Range: bytes=0-1", method="HEAD")).status == 200


async def test_a_range_of_something_unknown_goes_on_and_what_answers_if_range_is_no_head() -> None:
    lab = Lab()
    lab.origin(
        lab.response(f"{FRESH}\nContent-Range: bytes 0-1/10", status=206, body=b"01"), lab.response(FRESH, body=BODY)
    )  # RFC 9110 §15.3.7: it need not have the fields that the client knows already
    reply = await lab.ask("/a", 'Range: bytes=0-1\nIf-Range: "a"')
    assert (reply.status, reply.body) == (206, b"01")
    assert lab.seen[0].get(b"range") == b"bytes=0-1"
    assert lab.seen[0].get(b"if-range") == b'"a"'
    assert reply.cache_status == "edge; fwd=uri-miss; fwd-status=206; detail=range"
    assert (await lab.ask("/a")).body == BODY


async def test_an_origin_that_knows_no_ranges_fills_the_store() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY))
    assert (await lab.ask("/a", "Range: bytes=0-1")).status == 200
    assert (await lab.ask("/a", "Range: bytes=0-1")).body == b"01"


async def test_a_range_of_what_is_stale_is_validated_whole() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY), lab.response('ETag: "a"', status=304, body=b""))
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a", "Range: bytes=0-1")
    assert (reply.status, reply.body) == (206, b"01")
    assert reply.cache_status.startswith("edge; fwd=stale; fwd-status=304")


async def test_a_part_of_something_newer_puts_an_end_to_the_older() -> None:
    lab = Lab()
    lab.origin(
        lab.response(FRESH, body=BODY),
        lab.response('Cache-Control: max-age=60\nETag: "b"\nContent-Range: bytes 0-1/3', status=206, body=b"ne"),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a", "Range: bytes=0-1")).body == b"ne"
    again = await lab.ask("/a", "Range: bytes=0-1")
    assert (again.body, again.is_hit, again.get("content-range")) == (b"ne", True, "bytes 0-1/3")


# HEAD.


async def test_9_3_2_head_is_answered_from_a_stored_get() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY))
    await lab.ask("/a")
    reply = await lab.ask("/a", method="HEAD")
    assert (reply.status, reply.is_hit, reply.get("content-length")) == (200, True, "10")


async def test_4_3_5_head_freshens_or_ends_what_is_stored() -> None:
    lab = Lab()
    lab.origin(
        lab.response(FRESH, body=BODY),
        lab.response('Cache-Control: max-age=60\nETag: "a"\nX-Own: 2\nContent-Length: 10', body=b""),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    assert not (await lab.ask("/a", method="HEAD")).is_hit
    reply = await lab.ask("/a")
    assert (reply.is_hit, reply.body, reply.get("x-own")) == (True, BODY, "2")
    lab.pass_time(70)
    lab.origin(lab.response('ETag: "b"\nContent-Length: 11', body=b""))
    await lab.ask("/a", method="HEAD")
    assert lab.store.statistics().objects == 0


async def test_head_validates() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=BODY), lab.response('ETag: "a"', status=304, body=b""))
    await lab.ask("/a")
    lab.pass_time(70)
    reply = await lab.ask("/a", method="HEAD")
    assert (lab.seen[1].method, reply.status) == (b"HEAD", 200)
    assert (await lab.ask("/a")).is_hit


async def test_a_304_that_changes_vary_leaves_one_response() -> None:
    lab = Lab()
    lab.origin(
        lab.response(f"{FRESH}\nVary: X", body=BODY),
        lab.response('ETag: "a"\nVary: Y', status=304, body=b""),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a")).body == BODY
    assert lab.store.statistics().objects == 1
    assert (await lab.ask("/a", "X: 1")).is_hit
    assert (await lab.ask("/a", "Y: 1")).cache_status.startswith("edge; fwd=vary-miss")


class Endless(Stream):
    """Content that never ends; counts what was read of it, and waits for `go` before each piece."""

    def __init__(self, go: asyncio.Event | None = None) -> None:
        super().__init__()
        self.read = 0
        self.go = go

    async def __anext__(self) -> bytes:
        if self.go is not None:
            await self.go.wait()
        assert self.read < 100 * 1024, "read on and on"
        self.read += 1024
        return b"x" * 1024


async def test_what_a_304_leaves_is_read_no_further_than_it_can_be_kept() -> None:
    lab = Lab(max_object=10 * 1024)
    stream = Endless()
    lab.origin(lab.response(FRESH, body=stream))
    assert (await lab.ask("/a", 'If-None-Match: "a"')).status == 304
    assert stream.closed
    assert stream.read == 11 * 1024
    assert lab.store.size == 0


async def test_what_a_304_leaves_is_given_up_once_invalidated() -> None:
    lab = Lab()
    stream = Endless(asyncio.Event())
    lab.origin(lab.response(FRESH, body=stream))
    assert (await lab.ask("/a", 'If-None-Match: "a"')).status == 304
    lab.store.invalidate(b"https://shop.test/a")
    assert stream.go is not None
    stream.go.set()
    await settle()
    assert stream.closed
    assert stream.read == 1024


async def test_what_a_304_leaves_is_read_once_at_a_time_for_one_key() -> None:
    lab = Lab(max_object=10 * 1024)
    go = asyncio.Event()
    first, second, other, third = Endless(go), Endless(go), Endless(go), Stream(BODY)
    lab.origin(*[lab.response(FRESH, body=stream) for stream in (first, second, other, third)])
    condition = 'If-None-Match: "a"'
    assert (await lab.ask("/a", condition)).word("store") == "stored"
    reply = await lab.ask("/a", condition)
    assert (reply.status, reply.word("store")) == (304, "filling")
    assert reply.cache_status == "edge; fwd=uri-miss; fwd-status=200; detail=filling"
    assert (second.closed, second.read, first.closed) == (True, 0, False)
    assert (await lab.ask("/b", condition)).word("store") == "stored"
    go.set()
    await settle()
    assert first.closed
    assert other.closed
    assert (await lab.ask("/a", condition)).word("store") == "stored"
    assert (await lab.ask("/a")).is_hit


async def test_a_refresh_behind_the_client_reads_no_further_than_it_can_be_kept() -> None:
    lab = Lab(max_object=10 * 1024)
    text = "Cache-Control: max-age=60, stale-while-revalidate=60"
    large, refused = Endless(), Endless()
    lab.origin(
        lab.response(text, body=BODY),
        lab.response(text, body=large),
        lab.response("Cache-Control: no-store", body=refused),
    )
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a")).word("lookup") == "stale-while-revalidate"
    assert (large.closed, large.read) == (True, 11 * 1024)
    lab.pass_time(1)  # it was not renewed
    assert (await lab.ask("/a")).word("lookup") == "stale-while-revalidate"
    assert (refused.closed, refused.read) == (True, 0)


async def test_4_4_what_is_invalidated_during_its_validation_does_not_come_back() -> None:
    lab = Lab()

    def meanwhile(request: Request) -> Response:
        lab.store.invalidate(b"https://shop.test/a")
        made = lab.response('ETag: "a"', status=304, body=b"")(request)
        assert isinstance(made, Response)
        return made

    lab.origin(lab.response(FRESH, body=b"old"), meanwhile, lab.response(FRESH, body=b"new"))
    await lab.ask("/a")
    lab.pass_time(70)
    assert (await lab.ask("/a")).body == b"old"
    assert lab.store.statistics().objects == 0
    assert (await lab.ask("/a")).body == b"new"
