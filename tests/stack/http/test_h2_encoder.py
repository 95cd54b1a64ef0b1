"""HPACK out, read back by the library's decoder."""

from __future__ import annotations

import hpack
import pytest
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from stack.http.h2_encoder import Encoder, StaticTable, integer

STATIC = StaticTable(HeaderTable.STATIC_TABLE)

NAMES = st.one_of(st.sampled_from([name for name, _ in HeaderTable.STATIC_TABLE]), st.binary(min_size=1, max_size=300))
FIELDS = st.lists(st.one_of(st.sampled_from(HeaderTable.STATIC_TABLE), st.tuples(NAMES, st.binary(max_size=400))))


@given(st.lists(FIELDS, max_size=3))
def test_a_decoder_reads_what_was_meant(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder = Encoder(STATIC), hpack.Decoder()
    decoder.max_header_list_size = 10**7
    for fields in blocks:
        assert decoder.decode(encoder.encode(fields), raw=True) == fields


@pytest.mark.parametrize(
    ("value", "bits", "wire"),
    [
        pytest.param(10, 5, b"\x0a", id="7541-C.1.1"),
        pytest.param(1337, 5, b"\x1f\x9a\x0a", id="7541-C.1.2"),
        pytest.param(42, 8, b"\x2a", id="7541-C.1.3"),
        pytest.param(31, 5, b"\x1f\x00", id="7541-5.1-all-ones"),
    ],
)
def test_integers(value: int, bits: int, wire: bytes) -> None:
    assert integer(value, bits, 0) == wire


@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"set-cookie", b"etag", b"x-api-key"])
def test_literals_are_never_indexed(name: bytes) -> None:
    """RFC 7541 6.2.3: what came as such goes on as such, and any field may have; 7.1.3: nobody on the way keeps it."""
    [field] = hpack.Decoder().decode(Encoder(STATIC).encode([(name, b"secret")]), raw=True)
    assert isinstance(field, hpack.NeverIndexedHeaderTuple)


def test_a_changed_table_size_is_acknowledged_once() -> None:
    """RFC 7541 4.2."""
    encoder = Encoder(STATIC)
    encoder.resized()
    assert encoder.encode([(b":status", b"200")]) == b"\x20\x88"
    assert encoder.encode([(b":status", b"200")]) == b"\x88"
