"""What is stored, and what Cache-Status says of it."""

from __future__ import annotations

import pytest

from cdn_edge.rules.freshness import Heuristic
from cdn_edge.rules.judging import Policy
from stack.errors import ResponseIncomplete
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab, Stream

FRESH = "Cache-Control: max-age=60"

REFUSED = [
    ("3 method", "HEAD", FRESH, 200, "", "method"),
    ("5.2.1.5 request no-store", "GET", FRESH, 200, "Cache-Control: no-store", "request-no-store"),
    ("3.3 part unasked", "GET", f"{FRESH}\nContent-Range: bytes 0-1/7", 206, "", "range"),
    ("3.3 part of unknown length", "GET", f"{FRESH}\nContent-Range: bytes 0-1/*", 206, "Range: bytes=0-1", "range"),
    ("3.3 parts", "GET", f"{FRESH}\nContent-Type: multipart/byteranges; boundary=x", 206, "Range: bytes=0-1", "range"),
    (
        "3.3 private part",
        "GET",
        "Cache-Control: private\nContent-Range: bytes 0-1/7",
        206,
        "Range: bytes=0-1",
        "private",
    ),
    ("3 status", "GET", "Last-Modified: {-600}", 302, "", "status"),
    ("5.2.2.5 no-store", "GET", f"{FRESH}, no-store", 200, "", "no-store"),
    ("5.2.2.7 private", "GET", f"{FRESH}, private", 200, "", "private"),
    ("3.5 authorization", "GET", FRESH, 200, "Authorization: Basic x", "authorization"),
    ("set-cookie", "GET", f"{FRESH}\nSet-Cookie: a=b", 200, "", "set-cookie"),
    ("4.1 vary", "GET", f"{FRESH}\nVary: *", 200, "", "vary-star"),
    ("no-freshness", "GET", "", 200, "", "no-freshness"),
    ("too-large", "GET", f"{FRESH}\nContent-Length: 999999", 200, "", "too-large"),
]


@pytest.mark.parametrize(
    ("method", "response", "status", "request_fields", "word"), [pytest.param(*row, id=case) for case, *row in REFUSED]
)
async def test_refused(method: str, response: str, status: int, request_fields: str, word: str) -> None:
    lab = Lab(policy=Policy(max_object=100_000))
    lab.origin(lab.response(response, status=status, body=b"co"))
    reply = await lab.ask("/a", request_fields, method=method)
    assert reply.cache_status == f"edge; fwd=uri-miss; fwd-status={status}; detail={word}"
    assert reply.word("store") == word
    assert lab.store.statistics().objects == 0
    assert lab.store.size == 0


async def test_stored() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH))
    reply = await lab.ask("/a")
    assert reply.cache_status == "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    assert reply.word("store") == "stored"


async def test_set_cookie_by_the_letter_of_the_rfc() -> None:
    lab = Lab(policy=Policy(set_cookie="store"))
    lab.origin(lab.response(f"{FRESH}\nSet-Cookie: a=b"))
    await lab.ask("/a")
    assert (await lab.ask("/a")).get("set-cookie") == "a=b"


@pytest.mark.parametrize(("guess", "stored"), [(False, 0), (True, 1)])
async def test_a_guess_for_who_sent_a_cookie(guess: bool, stored: int) -> None:
    lab = Lab(policy=Policy(guess_for_cookies=guess))
    lab.origin(lab.response("Last-Modified: {-1000}"))
    await lab.ask("/a", "Cookie: id=1")
    assert lab.store.statistics().objects == stored


@pytest.mark.parametrize("body", ["whole", "stream", "too long"])
async def test_set_cookie_stripped(body: str) -> None:
    lab = Lab(policy=Policy(set_cookie="strip"))
    content = {"whole": b"content", "stream": Stream(b"con", b"tent"), "too long": b"c" * 100_001}[body]
    lab.origin(lab.response(f"{FRESH}\nSet-Cookie: a=b\nSet-Cookie: c=d\nX-Other: 1", body=content))
    reply = await lab.ask("/a")
    if body == "too long":  # nothing is stored, so nothing is taken off
        assert (reply.word("store"), reply.get("set-cookie")) == ("too-large", "a=b, c=d")
        return
    assert reply.cache_status == "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60; detail=stripped"
    assert reply.word("store") == "stripped"
    assert (reply.get("set-cookie"), reply.get("x-other")) == (None, "1")
    reply = await lab.ask("/a")
    assert (reply.is_hit, reply.get("set-cookie"), reply.get("x-other")) == (True, None, "1")


async def test_set_cookie_is_left_on_what_is_not_stored() -> None:
    lab = Lab(policy=Policy(set_cookie="strip"))
    lab.origin(lab.response("Cache-Control: private\nSet-Cookie: a=b"))
    reply = await lab.ask("/login")
    assert (reply.get("set-cookie"), reply.word("store")) == ("a=b", "private")
    reply = await lab.ask("/login", method="POST")
    assert reply.get("set-cookie") == "a=b"


async def test_a_304_that_sets_a_cookie() -> None:
    lab = Lab(policy=Policy(set_cookie="strip"))
    lab.origin(lab.response(f'{FRESH}\nETag: "a"'), lab.response('ETag: "a"\nSet-Cookie: a=b', status=304, body=b""))
    await lab.ask("/a")
    lab.pass_time(70)
    for _ in range(2):
        reply = await lab.ask("/a")
        assert (reply.status, reply.get("set-cookie")) == (200, None)
    assert lab.asked == 2


async def test_a_404_is_remembered_for_as_long_as_the_operator_says() -> None:
    lab = Lab(policy=Policy(heuristic=Heuristic(negative=10)))
    lab.origin(lab.response(status=404))
    assert (await lab.ask("/a")).cache_status == "edge; fwd=uri-miss; fwd-status=404; stored; ttl=10"
    assert (await lab.ask("/a")).is_hit
    assert not (await lab.ask("/b", "Cookie: a=b")).is_hit
    assert not (await lab.ask("/b")).is_hit  # a guess, asked for with a cookie
    lab.origin(lab.response("Cache-Control: no-cache", status=404), lab.response(status=503), lab.response())
    for target in ("/c", "/d", "/e"):
        assert not (await lab.ask(target)).is_hit
        assert not (await lab.ask(target)).is_hit


@pytest.mark.parametrize("length", ["", "Content-Length: 6"])
async def test_a_stream_is_stored_as_it_passes(length: str) -> None:
    lab = Lab()
    lab.origin(lab.response(f"{FRESH}\n{length}", body=Stream(b"abc", b"def")))
    assert (await lab.ask("/a")).body == b"abcdef"
    again = await lab.ask("/a")
    assert (again.is_hit, again.body) == (True, b"abcdef")


async def test_3_3_what_broke_off_is_not_stored() -> None:
    lab = Lab()
    lab.origin(
        lab.response(FRESH, body=Stream(b"abc", error=ResponseIncomplete())),
        lab.response(FRESH, body=b"whole"),
    )
    first = await lab.ask("/a")
    assert first.body == b"abc<cut>"
    assert [word for step, word, _ in first.exchange.marks if step == "store"] == ["stored", "incomplete"]
    assert (await lab.ask("/a")).body == b"whole"


async def test_a_stream_that_grows_too_large_reaches_the_client_whole() -> None:
    lab = Lab(max_object=5)
    lab.origin(lab.response(FRESH, body=Stream(b"abc", b"def")))
    first = await lab.ask("/a")
    assert first.body == b"abcdef"
    assert first.word("store") == "too-large"
    assert lab.store.size == 0


async def test_a_get_with_content_is_neither_answered_nor_stored() -> None:
    """RFC 9110 §9.3.1: the key does not hold what the response may depend on."""
    lab = Lab()
    lab.origin(lab.response(FRESH))
    reply = await lab.ask("/a", body=b"poison")
    assert reply.cache_status == "edge; fwd=bypass; fwd-status=200; detail=content"
    assert lab.store.statistics().objects == 0
    await lab.ask("/a")
    assert not (await lab.ask("/a", body=b"poison")).is_hit


async def test_a_newer_answer_that_may_not_be_stored_puts_an_end_to_the_older() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=b"old"), lab.response("Cache-Control: no-store", body=b"new"))
    await lab.ask("/a")
    assert (await lab.ask("/a", "Cache-Control: no-cache")).body == b"new"
    assert (await lab.ask("/a")).body == b"new"


async def test_a_change_of_vary_puts_an_end_to_the_older() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH, body=b"old"), lab.response(f"{FRESH}\nVary: X", body=b"new"))
    await lab.ask("/a")
    lab.pass_time(61)
    assert (await lab.ask("/a")).body == b"new"
    assert (await lab.ask("/a")).body == b"new"
    assert lab.store.statistics().objects == 1


async def test_content_location_of_a_post() -> None:
    """RFC 9110 §9.3.3."""
    lab = Lab()
    lab.origin(lab.response(f"{FRESH}\nContent-Location: /a", body=b"posted"))
    posted = await lab.ask("/a", method="POST", body=b"x")
    assert posted.cache_status == "edge; fwd=method; fwd-status=200; stored; ttl=60"
    reply = await lab.ask("/a")
    assert (reply.is_hit, reply.body) == (True, b"posted")
    assert not (await lab.ask("/a", method="POST", body=b"x")).is_hit


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (FRESH, 200),
        (f"{FRESH}\nContent-Location: /b", 200),
        (f"{FRESH}\nContent-Location: /a", 201),
        (f"{FRESH}, no-store\nContent-Location: /a", 200),
        ("Last-Modified: {-600}\nContent-Location: /a", 200),
    ],
)
async def test_other_posts_are_not_stored(response: str, status: int) -> None:
    lab = Lab()
    lab.origin(lab.response(response, status=status))
    reply = await lab.ask("/a", method="POST", body=b"x")
    assert reply.cache_status == f"edge; fwd=method; fwd-status={status}; detail=method"
    assert lab.store.statistics().objects == 0


@pytest.mark.parametrize(
    ("method", "status", "fields", "gone"),
    [
        ("POST", 200, "", ["/a"]),
        ("PUT", 204, "", ["/a"]),
        ("DELETE", 200, "", ["/a"]),
        ("PATCH", 303, "Location: /b", ["/a", "/b"]),
        ("M-SEARCH", 200, "", ["/a"]),
        ("POST", 201, "Content-Location: /b", ["/a", "/b"]),
        ("POST", 201, "Location: https://other.test/b", ["/a"]),
        ("POST", 404, "Location: /b", []),
        ("DELETE", 500, "", []),
        ("OPTIONS", 200, "Location: /b", []),
    ],
)
async def test_invalidation_of_4_4(method: str, status: int, fields: str, gone: list[str]) -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH))
    for path in ("/a", "/b"):
        await lab.ask(path)
        await lab.ask(path, authority="other.test")
    lab.origin(lab.response(fields, status=status, body=b""))
    await lab.ask("/a", method=method)
    lab.origin(lab.response(FRESH))
    assert [path for path in ("/a", "/b") if not (await lab.ask(path)).is_hit] == gone
    assert (await lab.ask("/b", authority="other.test")).is_hit


async def test_invalidation_reaches_what_is_on_its_way() -> None:
    """A GET whose answer was made before a POST, and comes after it, is not stored."""
    lab = Lab()
    other = Lab()
    other.store = lab.store

    def meanwhile(_: object):  # type: ignore[no-untyped-def]
        lab.store.invalidate(b"https://shop.test/a")
        return lab.response(FRESH, body=b"old")(None)  # type: ignore[arg-type]

    lab.origin(meanwhile, lab.response(FRESH, body=b"new"))
    first = await lab.ask("/a")
    assert first.body == b"old"
    assert first.word("store") == "invalidated"
    assert (await lab.ask("/a")).body == b"new"


async def test_what_reaches_the_origin() -> None:
    lab = Lab()
    lab.origin(lab.response(FRESH))
    await lab.ask("/a?b=c", "X-Own: 1\nX-Forwarded-For: 6.6.6.6\nConnection: x-hop\nX-Hop: 1\nTE: trailers")
    sent = lab.seen[0]
    assert (sent.method, sent.target, sent.authority) == (b"GET", b"/a?b=c", b"shop.test")
    assert sent.get(b"x-own") == b"1"
    assert sent.get(b"via") == b"1.1 edge"
    assert sent.get(b"x-forwarded-for") == b"192.0.2.1"
    assert sent.get(b"x-forwarded-proto") == b"https"
    assert sent.get(b"x-request-id") == b"own-id"
    assert sent.get(b"x-hop") is None


async def test_a_loop_is_answered_508() -> None:
    lab = Lab()
    reply = await lab.ask("/a", "Via: 1.1 edge")
    assert reply.status == 508
    assert lab.asked == 0
    assert reply.cache_status == "edge; detail=proxy_loop_detected"
    assert reply.word("fetch") is None


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("TRACE", 405)])
async def test_9110_7_6_2_what_ends_here_by_max_forwards_is_neither_hit_nor_forwarded(method: str, status: int) -> None:
    lab = Lab()
    lab.origin(lab.response())
    reply = await lab.ask("/a", "Max-Forwards: 0", method=method)
    assert (reply.status, lab.asked) == (status, 0)
    assert (reply.cache_status, reply.word("fetch")) == ("edge", None)
    assert (await lab.ask("/a", "Max-Forwards: 1", method=method)).cache_status.startswith("edge; fwd=method;")


async def test_4_2_2_a_page_asked_for_with_a_cookie_is_not_kept_for_others_by_a_guess() -> None:
    lab = Lab()
    lab.origin(lab.response("Last-Modified: {-864000}", body=b"hello alice"), lab.response("", body=b"hello nobody"))
    first = await lab.ask("/a", "Cookie: user=alice")
    assert first.cache_status == "edge; fwd=uri-miss; fwd-status=200; detail=cookie"
    assert (await lab.ask("/a")).body == b"hello nobody"


STORED = "Cache-Control: max-age=60"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param("Cache-Control: no-cache, no-store", STORED, id="5.2.1.5 no-store"),
        pytest.param("Cache-Control: no-cache\nAuthorization: x", STORED, id="3.5 Authorization"),
        pytest.param("Cache-Control: no-cache\nCookie: a=b", "Last-Modified: {-600}", id="4.2.2 Cookie"),
    ],
)
async def test_a_client_does_not_take_out_what_others_are_answered_from(asked: str, answer: str) -> None:
    lab = Lab()
    lab.origin(lab.response(STORED, body=b"for all"), lab.response(answer, body=b"for one"))
    await lab.ask("/a")
    reply = await lab.ask("/a", asked)
    assert (reply.body, reply.word("lookup")) == (b"for one", "request")
    again = await lab.ask("/a")
    assert (again.is_hit, again.body) == (True, b"for all")


async def test_nor_with_head() -> None:
    lab = Lab()
    lab.origin(lab.response(f'{STORED}\nETag: "a"'), lab.response(f'{STORED}\nETag: "b"'))
    await lab.ask("/a")
    await lab.ask("/a", "Cache-Control: no-cache\nAuthorization: x", method="HEAD")
    assert (await lab.ask("/a")).is_hit
    await lab.ask("/a", "Cache-Control: no-cache", method="HEAD")  # RFC 9111 §4.3.5
    assert not (await lab.ask("/a")).is_hit


async def test_an_answer_that_nobody_may_keep_still_ends_the_stored_one() -> None:
    lab = Lab()
    lab.origin(lab.response(STORED), lab.response("Cache-Control: no-store"))
    await lab.ask("/a")
    await lab.ask("/a", "Cache-Control: no-cache")
    assert lab.store.statistics().objects == 0


async def test_3_1_trailers_reach_the_client_they_were_fetched_for_and_are_not_stored() -> None:
    lab = Lab()
    made: list[Response] = []

    def answer(request: Request) -> Response:
        response = lab.response(f"{FRESH}\nTrailer: x-sum")(request)
        assert isinstance(response, Response)
        response.trailers = [(b"x-sum", b"7")]
        made.append(response)
        return response

    lab.origin(answer)
    reply = await lab.ask("/a")
    assert reply.get("trailer") == "x-sum"
    assert made[0].trailers == [(b"x-sum", b"7")]
    reply = await lab.ask("/a")
    assert reply.is_hit
    assert (reply.get("trailer"), reply.get("x-sum")) == (None, None)


@pytest.mark.parametrize(
    ("status", "text"),
    [(304, 'ETag: "a"'), (206, "Content-Range: bytes 0-6/7"), (206, ""), (412, ""), (416, "Content-Range: bytes */7")],
)
async def test_3_3_what_answers_a_condition_or_a_range_unasked_is_not_stored(status: int, text: str) -> None:
    lab = Lab()
    body = b"" if status == 304 else b"content"
    lab.origin(lab.response(f"{FRESH}\n{text}", status=status, body=body), lab.response(FRESH, body=b"whole"))
    assert (await lab.ask("/a")).status == status
    assert lab.store.statistics().objects == 0
    reply = await lab.ask("/a")
    assert (reply.status, reply.body, reply.is_hit) == (200, b"whole", False)
