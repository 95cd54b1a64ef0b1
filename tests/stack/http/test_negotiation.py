from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.negotiation import coding, prefers_html, weighted

OFFERED = (b"br", b"zstd", b"gzip")


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        pytest.param(None, b"identity", id="9110-12.5.3-absent"),
        pytest.param(b"", b"identity", id="9110-12.5.3-empty-is-identity-only"),
        pytest.param(b"gzip", b"gzip", id="9110-12.5.3-one"),
        pytest.param(b"GZip", b"gzip", id="9110-8.4.1-case-insensitive"),
        pytest.param(b"x-gzip", b"gzip", id="9110-8.4.1.3-x-gzip"),
        pytest.param(b"x-gzip;q=0.5", b"gzip", id="9110-8.4.1.3-x-gzip-weighted"),
        pytest.param(b"x-gzip;q=0, gzip;q=1", b"gzip", id="9110-8.4.1.3-the-name-beats-the-alias"),
        pytest.param(b"gzip, deflate, br, zstd", b"br", id="server-preference-settles-ties"),
        pytest.param(b"gzip, deflate, zstd", b"zstd", id="server-preference-second"),
        pytest.param(b"br;q=0.5, gzip;q=0.5", b"br", id="9110-12.4.2-tie-of-weights"),
        pytest.param(b"br;q=0.8, gzip;q=0.9", b"gzip", id="9110-12.4.2-weight-first"),
        pytest.param(b"br;q=0.8,gzip", b"gzip", id="9110-12.4.2-no-weight-is-1"),
        pytest.param(b"br ; q=0.5 , gzip ;\tQ=1.000", b"gzip", id="9110-5.6.6-white-space"),
        pytest.param(b"br;q=0, gzip", b"gzip", id="9110-12.4.2-weight-0-is-no"),
        pytest.param(b"br;q=0.001", b"br", id="9110-12.4.2-least-weight"),
        pytest.param(b"br;q=0", b"identity", id="9110-12.5.3-identity-remains"),
        pytest.param(b"deflate", b"identity", id="9110-12.5.3-nothing-offered-matches"),
        pytest.param(b"*", b"br", id="9110-12.5.3-any"),
        pytest.param(b"*;q=0.5, br;q=0.1", b"zstd", id="9110-12.5.3-any-is-for-the-unlisted"),
        pytest.param(b"gzip, *;q=0", b"gzip", id="9110-12.5.3-nothing-else"),
        pytest.param(b"*;q=0", None, id="9110-12.5.3-nothing-acceptable"),
        pytest.param(b"identity;q=0", None, id="9110-12.5.3-identity-refused"),
        pytest.param(b"identity;q=0, deflate", None, id="9110-12.5.3-identity-refused-rest-unknown"),
        pytest.param(b"identity;q=0, gzip;q=0.1", b"gzip", id="9110-12.5.3-identity-refused-coded"),
        pytest.param(b"*;q=0, identity", b"identity", id="9110-12.5.3-only-identity"),
        pytest.param(b"identity, gzip;q=0.5", b"identity", id="9110-12.5.3-identity-preferred"),
        pytest.param(b"identity, gzip", b"gzip", id="server-preference-over-identity"),
        pytest.param(b"identity;q=0.5, gzip;q=1.0", b"gzip", id="9110-12.5.3-identity-less"),
        pytest.param(b"gzip;q=2, br;q=0.1", b"br", id="9110-12.4.2-weight-over-1-is-malformed"),
        pytest.param(b"gzip;q=0.1234", b"identity", id="9110-12.4.2-four-digits-are-malformed"),
        pytest.param(b"gzip;q=", b"identity", id="9110-12.4.2-empty-weight-is-malformed"),
        pytest.param(b"gzip;q=-1", b"identity", id="9110-12.4.2-negative-is-malformed"),
        pytest.param(b", ,gzip,", b"gzip", id="9110-5.6.1-empty-elements"),
        pytest.param(b"gzipped, xbr", b"identity", id="whole-names-only"),
    ],
)
def test_coding(accept_encoding: bytes | None, expected: bytes | None) -> None:
    assert coding(accept_encoding, OFFERED) == expected


def test_nothing_offered() -> None:
    assert coding(b"gzip", ()) == b"identity"
    assert coding(b"identity;q=0", ()) is None


@given(st.lists(st.sampled_from([b"gzip", b"br", b"zstd", b"x-gzip", b"deflate", b"*"]), min_size=1, unique=True))
def test_the_short_way_decides_as_the_long_one(names: list[bytes]) -> None:
    assert coding(b", ".join(names), OFFERED) == coding(b", ".join(name + b";q=1" for name in names), OFFERED)


@given(st.binary(max_size=60), st.permutations(OFFERED))
def test_never_raises_and_never_invents(value: bytes, offered: list[bytes]) -> None:
    assert coding(value, offered) in {*offered, b"identity", None}
    prefers_html(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a, b;q=0.5, C;Q=0", {b"a": 1000, b"b": 500, b"c": 0}),
        (b"text/html;level=1;q=0.3", {b"text/html": 300}),
        (b"a;q=1.", {b"a": 1000}),
        (b"a;q=0.", {b"a": 0}),
        (b"a;q=.5", {}),
        (b";q=1", {}),
        (b'a;x="q=0,";q=0.2', {b"a": 200}),
    ],
)
def test_weighted(value: bytes, expected: dict[bytes, int]) -> None:
    assert weighted(value) == expected


FIREFOX = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(None, False, id="9110-12.5.1-absent"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b"*/*", False, id="curl"),
        pytest.param(FIREFOX, True, id="browser"),
        pytest.param(b"Text/HTML", True, id="9110-8.3.1-case-insensitive"),
        pytest.param(b"application/json", False, id="json"),
        pytest.param(b"application/json, text/html;q=0.9", False, id="9110-12.4.2-json-rather"),
        pytest.param(b"application/json;q=0.9, text/html", True, id="9110-12.4.2-html-rather"),
        pytest.param(b"text/html, application/json", False, id="tie-is-json"),
        pytest.param(b"text/html, application/problem+json", False, id="9457-3-problem-json"),
        pytest.param(b"text/html;q=0, */*", False, id="9110-12.4.2-html-refused"),
        pytest.param(b"text/htmlx", False, id="whole-names-only"),
    ],
)
def test_prefers_html(accept: bytes | None, expected: bool) -> None:
    assert prefers_html(accept) is expected
