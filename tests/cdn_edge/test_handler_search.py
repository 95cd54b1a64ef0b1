"""No-Vary-Search through the edge: what shares a stored response, and that it can always be taken out."""

from __future__ import annotations

import json

from cdn_edge.purge import Purge
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.key import Keying
from cdn_edge.rules.search import Learned
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab

UTM = 'Cache-Control: max-age=60\nNo-Vary-Search: params=("utm")'


def lab(**options: bool) -> Lab:
    return Lab(policy=Policy(keying=Keying(learned=Learned(), **options)))


async def test_the_second_url_is_a_hit() -> None:
    edge = lab()
    edge.origin(edge.response(UTM))
    assert "fwd=uri-miss; fwd-status=200; stored" in (await edge.ask("/a?utm=1&id=7")).cache_status
    for target in ("/a?utm=2&id=7", "/a?id=7", "/a?id=7&utm", "/a?utm=1&id=7", "/a?id=%37"):
        assert (await edge.ask(target)).is_hit
    assert not (await edge.ask("/a?id=8&utm=1")).is_hit
    assert not (await edge.ask("/b?id=7&utm=1")).is_hit
    assert [request.target for request in edge.seen] == [b"/a?utm=1&id=7", b"/a?id=8&utm=1", b"/b?id=7&utm=1"]


async def test_off_and_where_it_is_not_valid_every_url_is_its_own() -> None:
    edge = Lab()
    edge.origin(edge.response(UTM))
    await edge.ask("/a?utm=1")
    assert not (await edge.ask("/a?utm=2")).is_hit
    edge = lab()
    edge.origin(edge.response("Cache-Control: max-age=60\nNo-Vary-Search: params=(utm)"))
    await edge.ask("/a?utm=1")
    assert not (await edge.ask("/a?utm=2")).is_hit


async def test_what_is_not_stored_teaches_nothing() -> None:
    edge = lab()
    edge.origin(edge.response("Cache-Control: no-store\nNo-Vary-Search: params"))
    await edge.ask("/a?utm=1")
    edge.origin(edge.response("Cache-Control: max-age=60"))
    await edge.ask("/a?x=1")
    assert not (await edge.ask("/a?x=2")).is_hit


async def test_a_url_that_does_not_say_so_is_apart() -> None:
    edge = lab()
    edge.origin(edge.response(UTM, body=b"all"))
    await edge.ask("/a?utm=1")
    edge.origin(edge.response("Cache-Control: max-age=60", body=b"one"))
    assert (await edge.ask("/a?utm=2", "Cache-Control: no-cache")).body == b"one"
    again = await edge.ask("/a?utm=2")
    assert (again.is_hit, again.body) == (True, b"one")
    edge.origin(edge.response(UTM, body=b"all"))
    assert (await edge.ask("/a?utm=3")).body == b"all"


async def test_vary_and_head_and_ranges_beside_it() -> None:
    edge = lab()
    edge.origin(edge.response(UTM + "\nVary: Accept-Language", body=b"0123456789"))
    await edge.ask("/a?utm=1", "Accept-Language: de")
    assert not (await edge.ask("/a?utm=2", "Accept-Language: en")).is_hit
    assert (await edge.ask("/a?utm=3", "Accept-Language: de")).is_hit
    part = await edge.ask("/a?utm=4", "Accept-Language: en\nRange: bytes=2-3")
    assert (part.status, part.body, part.is_hit) == (206, b"23", True)
    assert (await edge.ask("/a?utm=5", "Accept-Language: en", method="HEAD")).is_hit


async def test_a_purge_of_any_of_the_urls_takes_it_out() -> None:
    for purged in ("/a?utm=9&id=7", "/a?id=7", "/a?utm=1&id=7"):
        edge = lab()
        edge.origin(edge.response(UTM))
        await edge.ask("/a?utm=1&id=7")
        await edge.ask("/a?id=8")
        purge = Purge(edge.store, edge.policy.keying)
        asked = Request(
            b"POST", b"/-/purge", [], authority=b"x", body=b'{"url": "https://shop.test%b"}' % purged.encode()
        )
        answer = json.loads((await purge(asked)).body)  # type: ignore[arg-type]
        assert answer == {"url": f"https://shop.test{purged}", "purged": 1}
        assert not (await edge.ask("/a?utm=1&id=7")).is_hit
        assert (await edge.ask("/a?id=8")).is_hit


async def test_a_change_takes_it_out_also_by_location() -> None:
    edge = lab()
    edge.origin(edge.response(UTM))
    await edge.ask("/a?utm=1&id=7")
    edge.origin(edge.response("Location: /a?id=7", status=201))
    await edge.ask("/b", method="POST")
    edge.origin(edge.response(UTM))
    assert not (await edge.ask("/a?utm=2&id=7")).is_hit
    edge.origin(edge.response("", status=204))
    await edge.ask("/a?utm=3&id=7", method="DELETE")
    edge.origin(edge.response(UTM))
    assert not (await edge.ask("/a?utm=2&id=7")).is_hit


async def test_what_was_stored_before_it_was_said_never_comes_back_after_a_purge() -> None:
    edge = lab()
    edge.origin(edge.response("Cache-Control: max-age=600", body=b"old"))
    await edge.ask("/a?x=1")
    edge.origin(edge.response(UTM, body=b"new"))
    await edge.ask("/a?utm=1")
    for key in edge.policy.keying.invalid(edge.policy.keying.of_url("https://shop.test/a?x=1")):
        edge.store.invalidate(key)
    edge.origin(edge.response("Cache-Control: max-age=600", body=b"newest"))
    for n in range(20):
        await edge.ask(f"/a?y={n}")
    assert (await edge.ask("/a?x=1")).body == b"newest"


async def test_what_is_invalidated_while_the_first_answer_is_on_its_way_is_not_kept() -> None:
    """Nobody knows yet that the two URLs are one."""
    edge = lab()

    def answer(request: Request) -> Response:
        for key in edge.policy.keying.invalid(edge.policy.keying.of_url("https://shop.test/a?utm=2")):
            edge.store.invalidate(key)
        fields = [(b"cache-control", b"max-age=60"), (b"no-vary-search", b'params=("utm")')]
        return Response(200, fields, b"older than the change")

    edge.origin(answer)
    first = await edge.ask("/a?utm=1")
    assert first.word("store") == "invalidated"
    edge.origin(edge.response(UTM, body=b"new"))
    assert (await edge.ask("/a?utm=1")).body == b"new"


async def test_a_304_that_says_otherwise_ends_it() -> None:
    edge = lab()
    edge.origin(edge.response(UTM.replace("60", "1") + '\nETag: "1"'))
    await edge.ask("/a?utm=1")
    edge.pass_time(5)
    edge.origin(
        Response(304, [(b"cache-control", b"max-age=60"), (b"no-vary-search", b'params=("other")'), (b"etag", b'"1"')])
    )
    assert (await edge.ask("/a?utm=2")).status == 200
    edge.origin(edge.response('Cache-Control: max-age=60\nNo-Vary-Search: params=("other")', body=b"own"))
    assert (await edge.ask("/a?utm=3")).body == b"own"
    assert not (await edge.ask("/a?utm=4")).is_hit
