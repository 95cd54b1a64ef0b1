"""Several responses under one URL, and which of them the origin is asked about: RFC 9111 §4.1, §4.3.1."""

from __future__ import annotations

import pytest

from stack.http.message import Request, Response, get
from tests.cdn_edge.lab import Lab


async def test_the_validators_of_the_variant_that_was_selected() -> None:
    lab = Lab()

    def negotiated(request: Request) -> Response:
        language = (get(request.fields, b"accept-language") or b"none").decode()
        tag = f'"{language}"'
        if get(request.fields, b"if-none-match") == tag.encode():
            return lab.response(f"ETag: {tag}", status=304, body=b"")(request)
        text = f"Cache-Control: max-age=60\nVary: Accept-Language\nETag: {tag}"
        return lab.response(text, body=language.encode())(request)

    lab.origin(negotiated)
    for _ in range(2):
        for language in ("de", "en"):
            assert (await lab.ask("/a", f"Accept-Language: {language}")).body == language.encode()
        lab.pass_time(70)
    assert [get(sent.fields, b"if-none-match") for sent in lab.seen] == [None, b'"de"', b'"de"', b'"en"']


async def test_4_3_1_a_304_says_which_variant_does_for_other_request_fields() -> None:
    """RFC 9110 §13.1.2: several entity tags; the 304 has that of what was selected."""
    lab = Lab()
    text = "Cache-Control: max-age=60\nVary: Accept-Language"
    lab.origin(
        lab.response(f'{text}\nETag: "de"', body=b"de"),
        lab.response(f'{text}\nETag: "en"', body=b"en"),
        lab.response(f'{text}\nETag: "en"\nX-New: 1', status=304, body=b""),
    )
    for language in ("de", "en", "fr"):
        reply = await lab.ask("/a", f"Accept-Language: {language}")
    assert lab.seen[2].get(b"if-none-match") == b'"de", "en"'
    assert (reply.status, reply.body, reply.get("x-new")) == (200, b"en", "1")
    assert reply.cache_status == "edge; fwd=vary-miss; fwd-status=304; ttl=60"
    assert lab.store.statistics().objects == 3
    for language, body in (("de", b"de"), ("en", b"en"), ("fr", b"en")):
        reply = await lab.ask("/a", f"Accept-Language: {language}")
        assert (reply.body, reply.is_hit) == (body, True)


NOT_OFFERED = [
    ("weak", "", 'ETag: W/"x"', "Accept-Language: fr"),
    ("none", "", "", "Accept-Language: fr"),
    ("a coding that the client cannot read", "", 'ETag: "x"\nContent-Encoding: gzip', "Accept-Language: fr"),
    ("Authorization", "", 'ETag: "x"', "Accept-Language: fr\nAuthorization: Basic x"),
    ("Range", "", 'ETag: "x"', "Accept-Language: fr\nRange: bytes=0-1"),
]


@pytest.mark.parametrize(("first", "has", "then"), [pytest.param(*row, id=case) for case, *row in NOT_OFFERED])
async def test_4_3_1_what_is_not_offered_for_other_request_fields(first: str, has: str, then: str) -> None:
    lab = Lab()
    lab.origin(lab.response(f"Cache-Control: max-age=60\nVary: Accept-Language\n{has}"))
    await lab.ask("/a", first)
    await lab.ask("/a", then)
    assert lab.seen[1].get(b"if-none-match") is None


async def test_4_3_1_a_304_that_says_no_variant_is_asked_again() -> None:
    lab = Lab()
    text = 'Cache-Control: max-age=60\nVary: Accept-Language\nETag: "de"'
    lab.origin(lab.response(text, body=b"de"), lab.response("", status=304, body=b""), lab.response(text, body=b"fr"))
    await lab.ask("/a", "Accept-Language: de")
    assert (await lab.ask("/a", 'Accept-Language: fr\nIf-None-Match: "mine"')).body == b"fr"
    assert [sent.get(b"if-none-match") for sent in lab.seen] == [None, b'"de"', None]
