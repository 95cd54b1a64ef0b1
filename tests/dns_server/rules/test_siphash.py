"""SipHash-2-4 by the vectors of its authors: key 00 .. 0f, input of the first n octets 00, 01, 02 ..."""

from __future__ import annotations

import pytest

from dns_server.rules.siphash import siphash24


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        (0, "310e0edd47db6f72"), (1, "fd67dc93c539f874"), (7, "37d1018bf50002ab"), (8, "6224939a79f5f593"),
        (15, "e545be4961ca29a1"), (16, "db9bc2577fcc2a3f"), (63, "724506eb4c328a95"),
    ],
)  # fmt: skip
def test_vectors(size: int, digest: str) -> None:
    assert siphash24(bytes(range(16)), bytes(range(size))).hex() == digest
