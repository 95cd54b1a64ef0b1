"""What requests share a stored response, by key and by what it varies by."""

from __future__ import annotations

import pytest

from cdn_edge.rules.judging import Policy
from cdn_edge.rules.key import Keying
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab


def keyed(**options: object) -> Lab:
    return Lab(policy=Policy(keying=Keying(**options)))  # type: ignore[arg-type]


async def test_the_origin_sees_the_url_as_it_came() -> None:
    lab = keyed(ignore_query=["@tracking"], sort_query=True)
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask("/a?utm_source=x&b=2&a=1")
    assert lab.seen[0].target == b"/a?utm_source=x&b=2&a=1"
    for target in ("/a?a=1&b=2", "/a?b=2&fbclid=1&a=1"):
        assert (await lab.ask(target)).is_hit
    assert not (await lab.ask("/a?a=2&b=1")).is_hit


async def test_a_change_invalidates_what_the_key_makes_of_its_url() -> None:
    lab = keyed(ignore_query=["utm_*"], sort_query=True)
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask("/a?b=2&a=1")
    await lab.ask("/c?b=2&a=1")
    lab.origin(lab.response("Location: /c?a=1&b=2&utm_x=1", status=201))
    await lab.ask("/a?a=1&b=2", method="POST")
    lab.origin(lab.response("Cache-Control: max-age=60"))
    assert not (await lab.ask("/a?b=2&a=1")).is_hit
    assert not (await lab.ask("/c?b=2&a=1")).is_hit


async def test_headers_and_cookies_in_the_key() -> None:
    lab = keyed(headers=["X-Country"], cookies=["lang"])
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept"))
    await lab.ask("/a", "X-Country: de\nCookie: lang=de; session=1")
    assert (await lab.ask("/a", "X-Country: de\nCookie: session=2; lang=de")).is_hit
    for other in ("X-Country: fr\nCookie: lang=de", "X-Country: de\nCookie: lang=en", "Cookie: lang=de", ""):
        assert "fwd=vary-miss" in (await lab.ask("/a", other)).cache_status
    assert len(lab.store.variants(b"https://shop.test/a")) == 5
    assert lab.store.invalidate(b"https://shop.test/a") == 5


async def test_a_coding_that_is_refused_is_never_served() -> None:
    """The origin chooses by what it is asked, and what it chose is stored for all who ask for the same class."""

    def answer(request: Request) -> Response:
        accepted = (request.get(b"accept-encoding") or b"").split(b", ")
        coding = next((one for one in (b"br", b"gzip") if one in accepted), b"")
        fields = [(b"cache-control", b"max-age=60"), (b"vary", b"Accept-Encoding"), (b"content-encoding", coding)]
        return Response(200, fields if coding else fields[:2], coding or b"plain")

    lab = Lab()
    lab.origin(answer)
    for accepted, body in [
        ("gzip, deflate, br", b"br"),
        ("br, gzip", b"br"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", b"br"),
        ("gzip, br;q=0", b"gzip"),
        ("gzip, deflate", b"gzip"),
        ("identity", b"plain"),
        ("", b"plain"),
    ]:
        assert (await lab.ask("/a", f"Accept-Encoding: {accepted}")).body == body
    assert lab.asked == 3
    assert [request.get(b"accept-encoding") for request in lab.seen] == [b"br, gzip", b"gzip", b"identity"]


async def test_a_response_that_gives_back_its_origin_is_for_that_alone() -> None:
    lab = Lab()
    lab.origin(lambda request: Response(
        200, [(b"cache-control", b"max-age=60"), (b"access-control-allow-origin", request.get(b"origin") or b"null")], b""
    ))  # fmt: skip
    await lab.ask("/a", "Origin: https://evil.test")
    mine = await lab.ask("/a", "Origin: https://shop.test")
    assert (mine.is_hit, mine.get("access-control-allow-origin")) == (False, "https://shop.test")
    assert (await lab.ask("/a", "Origin: https://shop.test")).is_hit


@pytest.mark.parametrize("allowed", ["*", "https://always.test"])
async def test_a_response_that_does_not_is_for_all(allowed: str) -> None:
    lab = Lab()
    lab.origin(lab.response(f"Cache-Control: max-age=60\nAccess-Control-Allow-Origin: {allowed}"))
    await lab.ask("/a", "Origin: https://shop.test")
    assert (await lab.ask("/a")).is_hit


async def test_of_several_that_match_the_most_recent_answers() -> None:
    """RFC 9111 §4.1, where an origin changes what it varies by."""
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: A", body=b"by A"))
    await lab.ask("/a", "A: 1\nB: 1")
    lab.pass_time(1)
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: B", body=b"by B"))
    await lab.ask("/a", "A: 2\nB: 1")
    assert (await lab.ask("/a", "A: 1\nB: 1")).body == b"by B"
    lab.pass_time(1)
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: A", body=b"by A again"))
    await lab.ask("/a", "A: 1\nB: 1\nCache-Control: no-cache")
    assert (await lab.ask("/a", "A: 1\nB: 1")).body == b"by A again"


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X_HTTP_Method_Override"])
async def test_another_method_in_a_field_does_not_go_on(name: str) -> None:
    """The origin would answer a DELETE, and the answer would be everybody's GET."""
    lab = Lab()
    lab.origin(lambda request: Response(
        200, [(b"cache-control", b"max-age=60")], request.get(name.lower().encode()) or request.method
    ))  # fmt: skip
    assert (await lab.ask("/a", f"{name}: DELETE")).body == b"GET"
    assert (await lab.ask("/a")).is_hit
    # where the client asks by POST, it is the application's business; but then it is no POST that is answered
    answer = await lab.ask("/a", f"{name}: PATCH", method="POST")
    assert answer.body == b"PATCH"
    lab.origin(lab.response("Cache-Control: max-age=60\nContent-Location: /a", body=b"of another method"))
    await lab.ask("/a", f"{name}: PATCH", method="POST")
    lab.origin(lab.response("Cache-Control: max-age=60", body=b"of GET"))
    assert (await lab.ask("/a")).body == b"of GET"


async def test_another_method_goes_on_where_it_is_in_the_key() -> None:
    lab = keyed(headers=["X-HTTP-Method-Override"])
    lab.origin(lambda request: Response(
        200, [(b"cache-control", b"max-age=60")], request.get(b"x-http-method-override") or b"GET"
    ))  # fmt: skip
    assert (await lab.ask("/a", "X-HTTP-Method-Override: LIST")).body == b"LIST"
    assert (await lab.ask("/a")).body == b"GET"
    assert (await lab.ask("/a", "X-HTTP-Method-Override: LIST")).is_hit


@pytest.mark.parametrize("status", [400, 413, 429, 431])
async def test_an_error_of_one_request_is_neither_stored_nor_takes_out_what_is(status: int) -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60", status=status))
    refused = await lab.ask("/a", "X-Odd: " + "x" * 5000)
    assert refused.word("store") == "request-error"
    lab.origin(lab.response('Cache-Control: max-age=1\nETag: "a"', body=b"good"))
    assert (await lab.ask("/a")).status == 200
    lab.pass_time(5)
    lab.origin(lab.response("Cache-Control: max-age=60", status=status))
    assert (await lab.ask("/a", "X-Odd: y")).status == status
    lab.origin(Response(304, []))
    assert (await lab.ask("/a")).body == b"good"


async def test_a_fragment_for_a_script_is_nobodys_page() -> None:
    lab = Lab()
    lab.origin(lambda request: Response(
        200, [(b"cache-control", b"max-age=60")], b"part" if request.get(b"x-requested-with") else b"page"
    ))  # fmt: skip
    assert (await lab.ask("/a", "X-Requested-With: XMLHttpRequest")).body == b"part"
    assert (await lab.ask("/a")).body == b"page"
    assert (await lab.ask("/a", "X-Requested-With: XMLHttpRequest")).is_hit


async def test_one_copy_for_each_user_agent_does_not_fill_the_store() -> None:
    lab = Lab(most_variants=10)
    lab.origin(lab.response("Cache-Control: max-age=600\nVary: User-Agent"))
    await lab.ask("/b")
    for _ in range(2):
        popular = await lab.ask("/a", "User-Agent: popular")
    assert popular.is_hit
    words = {(await lab.ask("/a", f"User-Agent: {n}")).word("store") for n in range(9)}
    assert words == {"stored"}
    crowded = await lab.ask("/a", "User-Agent: another")
    assert crowded.word("store") == "crowded"
    assert crowded.cache_status.endswith("; stored; ttl=600; detail=crowded")
    for n in range(50):
        await lab.ask("/a", f"User-Agent: {n} more")
        assert len(lab.store.variants(b"https://shop.test/a")) == 10
    assert (await lab.ask("/a", "User-Agent: popular")).is_hit
    assert (await lab.ask("/a", "User-Agent: 49 more")).is_hit
    assert (await lab.ask("/b")).is_hit
    assert lab.store.statistics().objects == 11
