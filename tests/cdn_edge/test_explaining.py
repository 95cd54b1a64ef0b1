"""The record says what the edge then does: held against it over random requests, responses and clock steps."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cdn_edge.departures import Departure, Departures
from cdn_edge.explain import asked as request_of
from cdn_edge.rules.freshness import Heuristic
from cdn_edge.rules.judging import Policy
from cdn_edge.rules.key import Keying
from cdn_edge.rules.record import Record
from cdn_edge.rules.vary import Selector
from stack.clock import VirtualClock
from stack.errors import ConnectRefused
from tests.cdn_edge.lab import Lab, Reply

URL = "https://shop.test/a"

REQUESTS = (
    "", "", "", "Accept-Encoding: gzip", "Accept-Encoding: br, gzip", "Accept-Language: de", "Cookie: a=1",
    "Cache-Control: no-cache", "Cache-Control: max-age=5", "Cache-Control: max-age=0", "Cache-Control: min-fresh=20",
    "Cache-Control: max-stale", "Cache-Control: max-stale=15", "Cache-Control: only-if-cached", "Pragma: no-cache",
    "Cache-Control: no-store", "Authorization: Basic eA==", 'If-None-Match: "v"', 'If-Match: "w"', 'If-Match: "v"',
    "Range: bytes=0-2", "Range: bytes=2-6", "Range: bytes=100-", "Range: bytes=0-1,3-4", "If-Unmodified-Since: {-50}",
    "If-Modified-Since: {0}", "Cache-Control: only-if-cached, max-stale=9",
)  # fmt: skip
RESPONSES = (
    "Cache-Control: max-age=30", "Cache-Control: max-age=10\nETag: \"v\"", "Cache-Control: s-maxage=9",
    "Cache-Control: max-age=10, stale-while-revalidate=10", "Cache-Control: no-cache\nETag: \"v\"", "",
    "Cache-Control: max-age=10, must-revalidate", "Cache-Control: private", "Cache-Control: no-store",
    "Cache-Control: max-age=20\nVary: Accept-Encoding", "Cache-Control: max-age=20\nVary: Accept-Language, Cookie",
    "Vary: *", "Set-Cookie: a=b", "Expires: {15}", "Last-Modified: {-100}", "Cache-Control: max-age=30\nAge: 20",
    'Cache-Control: max-age=30\nETag: "v"\nAccept-Ranges: bytes', 'Cache-Control: max-age=5\nVary: Cookie\nETag: "v"',
    "CDN-Cache-Control: max-age=30\nCache-Control: no-store", "Surrogate-Control: max-age=9",
    "Cache-Control: max-age=30, immutable", "Cache-Control: max-age=10, stale-if-error=60\nETag: \"v\"", "Cache-Control: public, max-age=5\nSet-Cookie: a=b",
)  # fmt: skip
PARTS = (
    'Cache-Control: max-age=20\nETag: "v"\nContent-Range: bytes 0-2/7\nContent-Length: 3',
    'Cache-Control: max-age=20\nETag: "v"\nContent-Range: bytes 4-6/7\nContent-Length: 3',
    "Cache-Control: max-age=20\nContent-Range: bytes 0-2/7\nContent-Length: 3",
)
METHODS = ("GET",) * 12 + ("HEAD", "HEAD", "POST", "DELETE", "OPTIONS")


def record_of(lab: Lab, text: str = "", *, method: str = "GET", url: str = URL) -> Record:
    headers = [[name.decode(), value.decode()] for name, value in lab._dated(text)]
    return lab.edge.explaining.record(request_of({"url": url, "method": method, "headers": headers}))


def state(lab: Lab) -> object:
    """All that asking might change."""
    return (
        lab.store.statistics(), dict(lab.edge._counts), len(lab.seen), len(lab.edge.refusals), lab.edge.refusals.bytes,
        [(stored.uses, stored.hit_until) for stored in lab.store.variants(URL.encode())],
    )  # fmt: skip


POLICIES = {
    "default": Policy(),
    "key": Policy(keying=Keying(sort_query=True, ignore_query=["utm_*"], headers=["Accept-Language"], cookies=["a"])),
    "undirected": Policy(directed=False),
    "grace": Policy(stale_with_s_maxage=True, stale_if_unreachable=5),
    "cookies": Policy(set_cookie="strip", guess_for_cookies=True),
    "letter": Policy(set_cookie="store", select=Selector(encodings="exact"), heuristic=Heuristic(negative=20)),
    "slices": Policy(slice=2, slice_from=4),
}


@pytest.mark.parametrize("name", POLICIES)
async def test_record_and_edge_agree(name: str) -> None:
    words: Counter[str] = Counter()
    for life in range(4):
        await live(Lab(max_object=1000, policy=POLICIES[name]), random.Random(f"{name} {life}"), words)
    expected = {"hit", "uri-miss", "vary-miss", "stale", "request", "method", "only-if-cached", "partial"}
    assert expected - ({"only-if-cached"} if name == "undirected" else set()) <= words.keys()


async def live(lab: Lab, draw: random.Random, words: Counter[str]) -> None:
    """The life of one edge."""
    for _ in range(400):
        replies = [lab.response(draw.choice(RESPONSES), draw.choice((200, 200, 200, 200, 404, 302, 503, 304)))]
        if draw.random() < 0.1:
            replies = [lambda _: ConnectRefused()]
        elif draw.random() < 0.3:
            replies = [lab.response(draw.choice(PARTS), 206, b"012")]
        lab.origin(*replies)
        text, method = draw.choice(REQUESTS), draw.choice(METHODS)
        target = draw.choice(("/a", "/a", "/a?utm_x=1", "/a?b=1&a=2", "/a?a=2&b=1&utm_y"))
        before = state(lab)
        record = record_of(lab, text, method=method, url=f"https://shop.test{target}")
        assert state(lab) == before
        seen = lab.asked
        reply = await lab.ask(target, text, method=method)
        told = (text, method, record.lookup, reply.cache_status)
        assert reply.word("lookup") == record.lookup, told
        if record.answer is not None:
            assert reply.status == record.answer, told
        if record.lookup in ("hit", "max-stale", "only-if-cached"):
            assert lab.asked == seen, told
        assert (record.answer is None) == bool(record.origin)
        words[record.lookup] += 1
        agrees_on_storing(lab, reply, f"https://shop.test{target}")
        lab.pass_time(draw.choice((0, 0, 1, 4, 9, 16, 40)))


def agrees_on_storing(lab: Lab, reply: Reply, url: str) -> None:
    """What the log says was not stored is what the record remembers."""
    word = reply.word("store")
    refused = record_of(lab, url=url).refused
    if word in ("stored", "stripped"):
        assert refused is None
    elif word is not None and word != "method":
        assert refused is not None
        assert refused.word == word


async def test_freshness_adds_up() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nAge: 12"))
    await lab.ask("/a")
    lab.pass_time(10)
    record = record_of(lab)
    assert record.lookup == "hit"
    assert record.answer == 200
    assert record.freshness is not None
    assert (record.freshness.lifetime, record.freshness.age, record.freshness.ttl) == (60, 22, 38)
    assert record.freshness.said == [
        "lifetime 60 s: max-age in Cache-Control (max-age=60)",
        "age 22 s = 12 s when it came (Age, Date, the time it took) + 10 s here",
        "fresh for another 38 s",
    ]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("Cache-Control: s-maxage=30, max-age=5", "lifetime 30 s: s-maxage in Cache-Control (s-maxage=30, max-age=5)"),
        ("Last-Modified: {-1000}", "lifetime 100 s: guessed, 10% of the time from Last-Modified"),
        ("Expires: {15}", "lifetime 15 s: Expires ("),
        ("Cache-Control: max-age=9, no-cache", "it says no-cache: whatever its lifetime"),
        (
            "CDN-Cache-Control: max-age=30\nCache-Control: max-age=5",
            "lifetime 30 s: max-age in CDN-Cache-Control (max-age=30)",
        ),
        ("Surrogate-Control: max-age=30", "lifetime 30 s: max-age in Surrogate-Control (max-age=30)"),
        ('ETag: "v"', "lifetime 0 s: it says none, and there is nothing to guess one from"),
    ],
)
async def test_where_a_lifetime_comes_from(response: str, said: str) -> None:
    lab = Lab()
    lab.origin(lab.response(response))
    await lab.ask("/a")
    record = record_of(lab)
    assert record.freshness is not None
    assert any(line.startswith(said) for line in record.freshness.said), record.freshness.said


async def test_the_nearest_variant_and_the_header_that_differed() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Language, User-Agent"))
    await lab.ask("/a", "Accept-Language: de\nUser-Agent: one")
    lab.pass_time(1)
    await lab.ask("/a", "Accept-Language: en\nUser-Agent: two")
    record = record_of(lab, "Accept-Language: de\nUser-Agent: two")
    assert (record.lookup, record.nearest, len(record.variants)) == ("vary-miss", 0, 2)
    nearest = record.variants[0]
    assert [(one.header, one.stored, one.request) for one in nearest.differs] == [
        ("accept-language", "en;q=1000", "de;q=1000")
    ]
    assert "accept-language" in record.because[0]
    assert record.see.endswith("#lookup-vary-miss")


async def test_others_cookies_are_not_shown() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Cookie"))
    await lab.ask("/a", "Cookie: session=secret")
    record = record_of(lab, "Cookie: session=mine")
    assert "secret" not in repr(record)
    [differs] = record.variants[0].differs
    assert differs.stored != differs.request


async def test_the_last_refusal_names_header_and_remedy() -> None:
    lab = Lab()
    lab.origin(lab.response("Set-Cookie: session=secret"))
    await lab.ask("/a")
    await lab.ask("/a")
    lab.pass_time(5)
    record = record_of(lab)
    assert record.lookup == "uri-miss"
    assert record.refused is not None
    assert (record.refused.word, record.refused.header, record.refused.value) == ("set-cookie", "set-cookie", "session")
    assert (record.refused.times, record.refused.ago, record.refused.status) == (2, 5, 200)
    assert record.see.endswith("#store-set-cookie")
    assert record.write == ["Cache-Control: public, max-age=600"]


async def test_what_may_have_been_meant() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask("/a?utm_source=x")
    await lab.ask("/a", authority="shop.test:8443")
    hints = " ".join(record_of(lab).hints)
    assert "https://shop.test/a?utm_source=x" in hints
    assert "https://shop.test:8443/a" in hints


async def test_what_became_of_it() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60"))
    await lab.ask("/a")
    await lab.ask("/a", method="DELETE")
    lab.pass_time(5)
    assert record_of(lab).hints == ["it was stored until a DELETE that named this URL took it out, 5 s ago"]
    await lab.ask("/a")
    assert record_of(lab).hints == []
    lab.store.invalidate(URL.encode())
    assert record_of(lab).hints == ["it was stored until a purge took it out, 0 s ago"]
    full = Lab(size=400_000)
    full.origin(full.response("Cache-Control: max-age=60", body=b"x" * 3000))
    for number in range(150):
        for _ in range(2):  # when it is full, what is asked for once is not let in
            await full.ask(f"/{number}")
    assert full.store.statistics().evicted
    assert any("made room for others" in hint for hint in record_of(full).hints)


async def test_what_the_edges_own_options_tell_apart_is_not_blamed_on_vary() -> None:
    lab = Lab(policy=Policy(keying=Keying(headers=["X-Country"], cookies=["lang"])))
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Language"))
    await lab.ask("/a", "X-Country: de\nCookie: lang=de")
    remedy = record_of(lab, "X-Country: fr\nCookie: lang=fr").remedy
    assert "by the cookie lang (--cache-key-cookies) and x-country (--cache-key-headers)." in remedy
    assert "Vary" not in remedy
    remedy = record_of(lab, "X-Country: fr\nCookie: lang=de\nAccept-Language: fr").remedy
    assert "Vary names a field" in remedy


async def test_another_coding_is_nobodys_fault() -> None:
    lab = Lab()
    lab.origin(lab.response("Cache-Control: max-age=60\nVary: Accept-Encoding, Accept-Language"))
    await lab.ask("/a", "Accept-Encoding: gzip")
    record = record_of(lab, "Accept-Encoding: br")
    assert (record.lookup, record.remedy[:18], record.write) == ("vary-miss", "Nothing is amiss: ", [])
    assert "Vary names a field" in record_of(lab, "Accept-Encoding: br\nAccept-Language: de").remedy


async def test_a_url_with_all_its_variants() -> None:
    lab = Lab()
    lab.store._most_variants = 2
    lab.origin(*[lab.response("Cache-Control: max-age=60\nVary: Accept-Language")] * 2)
    await lab.ask("/a", "Accept-Language: de")
    assert record_of(lab).storing == []
    await lab.ask("/a", "Accept-Language: fr")
    assert "crowded: the URL has all the variants" in "".join(record_of(lab).storing)
    assert record_of(lab, "Accept-Language: fr").storing == []


def test_departures_are_bounded() -> None:
    departures = Departures(VirtualClock(), most=3)
    for number in range(10):
        departures.note(b"%d" % number, b"PUT", 1)
        departures.note(b"last", b"", 2)
    assert departures.get(b"8") is not None
    assert departures.get(b"last") == Departure(departures._clock.now(), b"", 2)
    assert departures.get(b"5") is None


def test_the_key_and_how_it_was_made() -> None:
    record = record_of(Lab(), url="HTTPS://Shop.test:443/a?b=1#part")
    assert (record.key.key, record.key.path, record.key.query) == ("https://shop.test/a?b=1", "/a", "b=1")
    assert record.key.made == ["the host Shop.test:443 is shop.test in the key"]


async def test_what_in_the_request_stands_against_storing() -> None:
    record = record_of(Lab(), 'Authorization: x\nCookie: a=b\nCache-Control: no-store\nRange: bytes=0-1\nIf-Range: "a"')
    assert [line.partition(":")[0] for line in record.storing] == [
        "request-no-store", "range", "authorization", "cookie",
    ]  # fmt: skip


async def test_directives_that_are_not_heard() -> None:
    record = record_of(Lab(policy=Policy(directed=False)), "Cache-Control: no-cache")
    assert any("ignores what requests say" in line for line in record.because)
    assert not record_of(Lab(), "Cache-Control: no-cache").because


async def test_what_the_origin_is_asked() -> None:
    lab = Lab()
    assert record_of(lab).origin == ["the origin is asked for the whole"]
    lab.origin(lab.response('Cache-Control: max-age=60\nVary: Accept-Language\nETag: "v"'))
    await lab.ask("/a", "Accept-Language: de")
    [said] = record_of(lab, "Accept-Language: en").origin
    assert "If-None-Match" in said, said
    await lab.ask("/a", "Accept-Language: en")
    assert lab.seen[-1].get(b"if-none-match") == b'"v"'


async def test_if_the_origin_fails() -> None:
    lab = Lab()
    lab.origin(lab.response('Cache-Control: max-age=10, stale-if-error=60\nETag: "v"'))
    await lab.ask("/a")
    lab.pass_time(20)
    assert record_of(lab).origin == [
        'the origin is asked whether what is stored still holds (if-none-match: "v")',
        "if it answers 5xx, what is stored answers (stale-if-error)",
        "if it cannot be reached, what is stored answers (stale-if-unreachable)",
    ]


PART = 'Cache-Control: max-age=10\nETag: "v"\nContent-Range: bytes 0-3/10\nContent-Length: 4'


async def test_what_is_stored_in_part() -> None:
    lab = Lab()
    lab.origin(lab.response(PART, status=206, body=b"0123"))
    await lab.ask("/a", "Range: bytes=0-3")
    within = record_of(lab, "Range: bytes=1-2")
    assert (within.lookup, within.answer, within.origin) == ("hit", 206, [])
    before = state(lab)
    beyond = record_of(lab, "Range: bytes=2-8")
    assert state(lab) == before
    assert (beyond.lookup, beyond.answer) == ("partial", None)
    assert beyond.origin == [
        'the origin is asked for what is missing, in slices (If-Match: "v"), and for all if that fails'
    ]
    assert (await lab.ask("/a", "Range: bytes=2-8")).word("lookup") == "partial"


async def test_which_variants_are_offered_to_the_origin() -> None:
    lab = Lab()
    lab.origin(lab.response('Cache-Control: max-age=10\nVary: Accept-Language\nETag: "de"'))
    await lab.ask("/a", "Accept-Language: de")
    assert record_of(lab, "Accept-Language: fr").origin == [
        'the origin is asked for the whole, unless another variant does as well (If-None-Match: "de")'
    ]
