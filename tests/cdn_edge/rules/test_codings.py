"""RFC 9110 §12.5.3: what clients accept, in classes that never hold what one of them refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_edge.rules.codings import offered
from stack.http.negotiation import coding


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gzip, deflate, br", "br, gzip"),
        ("br, gzip", "br, gzip"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br, gzip"),
        ("gzip, deflate, br, zstd", "zstd, br, gzip"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip,deflate,br,zstd,dcb,dcz", "dcz, dcb, zstd, br, gzip"),
        ("gzip, br;q=0", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("gzip, identity;q=0", "gzip, identity;q=0"),
        ("gzip, *;q=0", "gzip, identity;q=0"),
        ("gzip, identity", "gzip"),
        ("gzip, *", "gzip"),
        ("", "identity"),
        ("identity", "identity"),
        ("identity;q=0.5", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, *;q=0", None),
        ("identity;q=0", None),
        ("*", None),
        ("*, gzip;q=0", None),
        ("deflate", None),
        ("compress, x-own", None),
        ("gzip, br;q=0.5", None),
        ("zstd;q=0.5, gzip", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0.5, *", None),
        ("br, gzip;q=0.1, identity;q=0.5", None),
    ],
)
def test_offered(value: str, expected: str | None) -> None:
    found = offered(value.encode())
    assert found == (None if expected is None else expected.encode())


NAMES = ["gzip", "br", "zstd", "deflate", "identity", "*", "x-gzip"]
WEIGHTS = ["", ";q=0", ";q=0.1", ";q=0.5", ";q=1", "; q=0.000"]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(WEIGHTS)), max_size=5, unique_by=lambda pair: pair[0]),
    st.lists(st.sampled_from([b"gzip", b"br", b"zstd", b"deflate"]), unique=True),
)
def test_what_an_origin_chooses_of_the_class_is_never_what_the_client_refuses(
    members: list[tuple[str, str]], supported: list[bytes]
) -> None:
    value = ", ".join(name + weight for name, weight in members).encode()
    offer = offered(value)
    if offer is None:
        return
    chosen = coding(offer, supported)
    asked = {name.strip(): weight for name, weight in members}
    refused = {name.encode() for name, weight in asked.items() if weight.replace(" ", "") in (";q=0", ";q=0.000")}
    assert chosen not in refused or (chosen == b"gzip" and "x-gzip" in asked)
    if chosen not in (None, b"identity"):
        assert {chosen.decode(), f"x-{chosen.decode()}"} & set(asked)  # type: ignore[union-attr]
    assert offered(offer) == offer


@given(st.permutations(["gzip", "deflate", "br;q=0.9", "*;q=0.1"]))
def test_order_does_not_matter(members: list[str]) -> None:
    assert offered(", ".join(members).encode()) is None
    assert offered(", ".join(members).replace("0.9", "1").encode()) == b"br, gzip"
