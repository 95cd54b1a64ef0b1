"""RFC 9112 §7.1, whole and byte by byte."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.chunked import MAX_TRAILERS, Chunked, encode, last
from stack.http.field_lines import FieldParser


def decode(data: bytes, *, step: int) -> tuple[bytes, Chunked]:
    decoder, out, at = Chunked(FieldParser()), b"", 0
    while at < len(data) and not decoder.done:
        out += b"".join(decoder.feed(data[at : at + step]))
        at += step
    return out, decoder


GOOD = [
    pytest.param(b"0\r\n\r\n", b"", b"", id="7.1-empty"),
    pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"", id="7.1-one"),
    pytest.param(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", b"", id="7.1-two"),
    pytest.param(b"00005\r\nhello\r\n000\r\n\r\n", b"hello", b"", id="7.1-leading-zeros"),
    pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b"", id="7.1-upper-hex"),
    pytest.param(b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello", b"", id="7.1.1-extension"),
    pytest.param(b'5 ; a = "x;y\\"" ;c\r\nhello\r\n0\r\n\r\n', b"hello", b"", id="7.1.1-quoted"),
    pytest.param(b"1\r\nx\r\n0\r\n\r\nGET /", b"x", b"GET /", id="7.1-rest"),
    pytest.param(b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\nrest", b"x", b"rest", id="7.1.2-trailer"),
]


@pytest.mark.parametrize(("data", "content", "rest"), GOOD)
def test_whole(data: bytes, content: bytes, rest: bytes) -> None:
    out, decoder = decode(data, step=len(data))
    assert (out, decoder.done, decoder.rest) == (content, True, rest)


@pytest.mark.parametrize(("data", "content", "rest"), GOOD)
def test_byte_by_byte(data: bytes, content: bytes, rest: bytes) -> None:
    out, decoder = decode(data, step=1)
    assert (out, decoder.done) == (content, True)


def test_trailers_are_kept_and_the_forbidden_dropped() -> None:
    _, decoder = decode(b"0\r\nX-Sum: 1 \r\nContent-Length: 3\r\nHost: evil\r\n\r\n", step=999)
    assert decoder.trailers == [(b"x-sum", b"1")]


BAD = [
    pytest.param(b"5\nhello\r\n0\r\n\r\n", id="bare-lf-after-size"),
    pytest.param(b"5\r\nhello\n0\r\n\r\n", id="bare-lf-after-data"),
    pytest.param(b"5\r\nhelloX\r\n0\r\n\r\n", id="longer-than-size"),
    pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", id="sign"),
    pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="0x"),
    pytest.param(b"5_0\r\nhello\r\n0\r\n\r\n", id="underscore"),
    pytest.param(b" 5\r\nhello\r\n0\r\n\r\n", id="leading-space"),
    pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", id="trailing-space"),
    pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="no-size"),
    pytest.param(b"g\r\nhello\r\n0\r\n\r\n", id="no-hex"),
    pytest.param(b"FFFFFFFFFFFFFFFFF\r\n", id="too-large"),
    pytest.param(b"5;\r\nhello\r\n0\r\n\r\n", id="empty-extension"),
    pytest.param(b"5;a\nb\r\nhello\r\n0\r\n\r\n", id="lf-in-extension"),
    pytest.param(b"5;a\rb\r\nhello\r\n0\r\n\r\n", id="cr-in-extension"),
    pytest.param(b"5;" + b"a" * 5000, id="extension-without-end"),
    pytest.param(b"0\r\nX : 1\r\n\r\n", id="trailer-space-before-colon"),
    pytest.param(b"0\r\nX: 1\n\r\n\r\n", id="trailer-bare-lf"),
]


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("step", [1, 9999])
def test_broken(data: bytes, step: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data, step=step)


@given(pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=8), step=st.integers(1, 40))
def test_round_trip(pieces: list[bytes], step: int) -> None:
    out, decoder = decode(b"".join(map(encode, pieces)) + last([(b"x-a", b"b")]), step=step)
    assert (out, decoder.done, decoder.trailers) == (b"".join(pieces), True, [(b"x-a", b"b")])


@given(st.binary(max_size=200), st.integers(1, 30))
def test_no_bytes_do_more_than_raise_value_error(data: bytes, step: int) -> None:
    with contextlib.suppress(ValueError):
        decode(data, step=step)


def test_extensions_are_bounded_by_the_content_there_is() -> None:
    # RFC 9112 §7.1.1: limited in all, to an amount that is reasonable
    with pytest.raises(ValueError, match="more of chunk extensions"):
        Chunked(FieldParser()).feed((b"1;" + b"a" * 60 + b"\r\nx\r\n") * 1000)
    many = b"1000;" + b"a" * 60 + b"\r\n" + b"x" * 4096 + b"\r\n"
    decoder = Chunked(FieldParser())
    for _ in range(1000):
        decoder.feed(many)
    with pytest.raises(ValueError, match="more of chunk extensions"):
        Chunked(FieldParser()).feed(b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("step", [1, 999_999])
def test_the_last_chunk_s_extensions_count_once_however_slowly_its_trailers_come(step: int) -> None:
    data = b"0;" + b"a" * 1000 + b"\r\nX-Sum: " + b"1" * 1000 + b"\r\n\r\n"
    assert decode(data, step=step)[1].trailers == [(b"x-sum", b"1" * 1000)]


@pytest.mark.parametrize("step", [1, 999_999])
@pytest.mark.parametrize(("size", "taken"), [(MAX_TRAILERS, True), (MAX_TRAILERS + 1, False)])
def test_as_much_of_trailers_whole_as_in_pieces(step: int, size: int, taken: bool) -> None:
    data = b"0\r\nX: " + b"1" * (size - 3) + b"\r\n\r\n"
    with contextlib.nullcontext() if taken else pytest.raises(ValueError, match="too large"):
        decode(data, step=step)
