"""HPACK in, against the library's encoder and decoder."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.http.h2_decoder import BadSection, Decoder, LargeSection
from stack.http.hpack_tables import STATIC_TABLE, huffman


class Long(bytes):
    """Half the table and more, and not all of it in the report of an example."""

    def __repr__(self) -> str:
        return f"{self[:1]!r} * {len(self)}"


NAMES = st.one_of(st.sampled_from([name for name, _ in STATIC_TABLE]), st.binary(max_size=40))
FIELDS = st.lists(
    st.one_of(
        st.sampled_from(list(STATIC_TABLE)),
        st.tuples(NAMES, st.binary(max_size=200)),
        st.just((b"x", Long(b"y" * 3000))),
    ),
    max_size=12,
)


def decoder(max_size: int = 10**7) -> Decoder:
    return Decoder(STATIC_TABLE, huffman, max_size=max_size)


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), max_size=5))
def test_sections_of_the_library_s_encoder(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    """With its table as it fills, overflows and changes its size."""
    ours, theirs = decoder(), hpack.Encoder()
    for fields, compressed, table in blocks:
        if table is not None:
            theirs.header_table_size = table
        plain = [(name, bytes(value)) for name, value in fields]  # the library takes the text of a kind of its own
        assert ours.decode(theirs.encode(plain, huffman=compressed)) == plain


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_mean_what_they_mean_to_the_library(blocks: list[bytes]) -> None:
    ours, theirs = decoder(), hpack.Decoder()
    for block in blocks:
        try:
            expected = theirs.decode(block, raw=True)
        except hpack.HPACKError:
            with pytest.raises(BadSection):
                ours.decode(block)
            return
        assert ours.decode(block) == expected


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x80", id="6.1-index-0"),
        pytest.param(b"\xbe", id="2.3.3-beyond-the-table"),
        pytest.param(b"\xff", id="5.1-integer-cut"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\x01", id="5.1-integer-too-long"),
        pytest.param(b"\x00\x05abc", id="5.2-string-cut"),
        pytest.param(b"\x00\x01a\x82\xff\xff", id="5.2-huffman-end-of-string"),
        pytest.param(b"\x00\x01a\x81\x00", id="5.2-huffman-padding"),
        pytest.param(b"\x82\x20", id="4.2-size-update-behind-a-field"),
        pytest.param(b"\x3f\xe2\x1f", id="6.3-size-above-what-is-allowed"),
    ],
)
def test_a_bad_section(block: bytes) -> None:
    with pytest.raises(BadSection):
        decoder().decode(block)


def test_a_section_that_unfolds_is_stopped() -> None:
    """One stored field of 4,000 bytes, referred to by one byte each."""
    ours = decoder(max_size=65536)
    first = hpack.Encoder().encode([(b"x", b"y" * 4000)], huffman=False)
    assert ours.decode(first) == [(b"x", b"y" * 4000)]
    assert len(ours.decode(b"\xbe" * 16)) == 16
    with pytest.raises(LargeSection):
        ours.decode(b"\xbe" * 17)
