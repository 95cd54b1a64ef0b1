"""Every coder, against the decoder of its own library: what goes in comes out, and a flush holds nothing back."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.codecs.br import Brotli
from proxy.codecs.coder import Coder
from proxy.codecs.gzip import Gzip
from proxy.codecs.zstd import Zstd
from proxy.compression import AT_ONCE

Decode = Callable[[bytes], bytes]


def _unbr() -> Decode:
    decompressor = brotli.Decompressor()

    def decode(data: bytes) -> bytes:
        out = decompressor.process(data)
        while more := decompressor.process(b""):  # it hands out a bounded amount at a time
            out += more
        return bytes(out)

    return decode


def _unzstd() -> Decode:
    return zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj().decompress  # RFC 9659 §3


def _ungzip() -> Decode:
    return zlib.decompressobj(31).decompress


CODERS: list[tuple[str, Coder, Callable[[], Decode]]] = [
    ("br-0", Brotli(0), _unbr),
    ("br-4", Brotli(4), _unbr),
    ("br-11", Brotli(11), _unbr),
    ("zstd-1", Zstd(1), _unzstd),
    ("zstd-3", Zstd(3), _unzstd),
    ("zstd-19", Zstd(19), _unzstd),
    ("gzip-1", Gzip(1), _ungzip),
    ("gzip-2", Gzip(2), _ungzip),
    ("gzip-6", Gzip(6), _ungzip),
    ("gzip-2 without isal", Gzip(2, isal=False), _ungzip),
]


def _lines(count: int) -> bytes:
    return b"<li>hop</li>\n" * count


each = pytest.mark.parametrize(("coder", "decoder"), [c[1:] for c in CODERS], ids=[c[0] for c in CODERS])
held = pytest.mark.parametrize("held", [False, True], ids=["", "held"])
chunks = st.lists(st.one_of(st.binary(max_size=400), st.integers(1, 5000).map(_lines)))


@each
@given(data=st.one_of(st.binary(max_size=5000), st.integers(0, 20_000).map(_lines)))
@settings(max_examples=25, deadline=None)
def test_once_round_trips(coder: Coder, decoder: Callable[[], Decode], data: bytes) -> None:
    assert decoder()(coder.once(data)) == data


@each
@held
@given(chunks=chunks)
@settings(max_examples=15, deadline=None)
def test_after_each_flush_the_decoder_has_everything(
    coder: Coder, decoder: Callable[[], Decode], held: bool, chunks: list[bytes]
) -> None:
    coding, decode = coder.stream(held=held), decoder()
    fed = decoded = b""
    for chunk in chunks:
        fed += chunk
        decoded += decode(coding.feed(chunk) + coding.flush())
        assert decoded == fed
    decoded += decode(coding.finish())
    assert decoded == fed


@each
@given(chunks=chunks)
@settings(max_examples=10, deadline=None)
def test_a_stream_without_flushes_round_trips(coder: Coder, decoder: Callable[[], Decode], chunks: list[bytes]) -> None:
    coding = coder.stream()
    coded = b"".join(map(coding.feed, chunks)) + coding.finish()
    assert decoder()(coded) == b"".join(chunks)


@each
def test_streams_of_one_coder_interleave(coder: Coder, decoder: Callable[[], Decode]) -> None:
    one, other = coder.stream(), coder.stream()
    first, second = b"", b""
    for n in range(50):
        first += one.feed(b"one %d " % n) + one.flush()
        coder.once(b"a whole body in between %d" % n)
        second += other.feed(b"other %d " % n) + other.flush()
    assert decoder()(first + one.finish()) == b"".join(b"one %d " % n for n in range(50))
    assert decoder()(second + other.finish()) == b"".join(b"other %d " % n for n in range(50))


@each
def test_a_cut_stream_is_visibly_unfinished(coder: Coder, decoder: Callable[[], Decode]) -> None:
    coding = coder.stream()
    cut = coding.feed(b"x" * 1000) + coding.flush()
    whole = cut + coding.finish()
    assert len(whole) > len(cut)


def test_zstd_keeps_to_the_window_every_client_has() -> None:
    """RFC 9659 §3: at most 8 MiB."""
    for level in (1, 3, 19):
        coding = Zstd(level).stream()
        frame = coding.feed(b"x" * (9 << 20)) + coding.finish()
        assert zstandard.get_frame_parameters(frame).window_size <= 8 << 20
        assert zstandard.get_frame_parameters(Zstd(level).once(bytes(AT_ONCE))).window_size <= 8 << 20


def test_gzip_without_isal_is_zlib() -> None:
    assert Gzip(2, isal=False).library == "zlib"
    assert Gzip(6).library == "zlib"
